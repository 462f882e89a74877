use super::*;
use flyte_executor_model::{CallFailure, ErrorClass, TaskError, Try};
use tonic::Code;

const GRACE: Duration = Duration::from_secs(1);

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn scenario(outcomes: &[RunOutcome]) -> TaskScenario {
    TaskScenario {
        executor_kind: ExecutorKind::Stock,
        retries: u32::try_from(outcomes.len()).unwrap() - 1,
        outcomes: outcomes.to_vec(),
        abort_after: None,
        unstored: 0,
        restart_after: None,
    }
}

/// A create of an attempt at a replica.
fn create(attempt: u32, replica: u16, try_outcome: TryOutcome) -> TracedCall {
    let outcome = if try_outcome == TryOutcome::Responded(Code::Ok) {
        Ok(CallOutput::Launched(b"{}".to_vec()))
    } else {
        Err(CallFailure { code: "Unavailable".to_owned(), message: String::new() })
    };
    TracedCall {
        began: Duration::ZERO,
        took: Duration::ZERO,
        method: Method::Create,
        attempt,
        tries: vec![Try { replica: address(replica), outcome: try_outcome }],
        outcome,
        stored: true,
    }
}

fn record(scenario: TaskScenario, end: Option<End>, calls: Vec<TracedCall>) -> TaskRecord {
    let attempt = calls.iter().map(|call| call.attempt).max().unwrap_or_default();
    let status = if end.is_some() { TaskStatus::Collected } else { TaskStatus::Active };
    TaskRecord {
        scenario,
        began: Instant::now(),
        finished: Finished { status, end, attempt, calls },
    }
}

fn success(calls: Vec<TracedCall>) -> TaskRecord {
    record(scenario(&[RunOutcome::Success; 3]), Some(End::Success), calls)
}

#[expect(clippy::unnecessary_wraps, reason = "an end, which a task may lack")]
fn failed(message: &str) -> Option<End> {
    let message = message.to_owned();
    Some(End::Failure(TaskError { code: "TaskFailedWithError", class: ErrorClass::User, message }))
}

/// Runs of task 1 with these attempts and states.
async fn runs(of: &[(u32, &str)]) -> Vec<RunSummary> {
    let emulator = databricks_emulator::Emulator::builder().token("t").start().await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (attempt, _) in of {
        let body = serde_json::json!({
            "run_name": task_requests::run_name(1, *attempt),
            "tasks": [{"task_key": "t", "existing_cluster_id": "0801-120000-abcdefgh",
                       "notebook_task": {"notebook_path": "/x"}}],
        });
        let url = format!("{}/api/2.2/jobs/runs/submit", emulator.http_url());
        let response = client.post(url).bearer_auth("t").json(&body).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
    let mut runs = emulator.runs();
    for (run, (_, state)) in runs.iter_mut().zip(of) {
        run.life_cycle = (*state).to_owned();
    }
    runs
}

fn observed(record: TaskRecord, kills: &[u16]) -> Observations {
    let killed = record.began + Duration::from_millis(1);
    Observations {
        tasks: [(1, record)].into(),
        kills: kills.iter().map(|port| (address(*port), killed)).collect(),
        abandon_grace: GRACE,
        ..Observations::default()
    }
}

fn faults(observed: &Observations, left: &[RunSummary]) -> Vec<String> {
    observed.check(left).0.into_iter().map(|violation| violation.what).collect()
}

#[test]
fn end_of_the_task_must_match_its_run() {
    let ok = TryOutcome::Responded(Code::Ok);
    for (outcome, end, fault) in [
        (RunOutcome::Success, Some(End::Success), ""),
        (RunOutcome::NoFiles, Some(End::Success), "succeeded, but its run was NoFiles"),
        (RunOutcome::CodeFailed, failed("failed to run the job: x"), ""),
        (RunOutcome::CodeFailed, failed("failed to read data"), "failed unexpectedly"),
        (RunOutcome::Success, failed("failed to run the job: x"), "failed, but its run succeeded"),
        (RunOutcome::Success, failed("failed to create task from connector"), ""),
        (RunOutcome::Success, Some(End::Aborted), "was aborted unexpectedly"),
        (RunOutcome::Success, None, "did not finish in time"),
    ] {
        let record = record(scenario(&[outcome]), end, vec![create(0, 1, ok.clone())]);
        let found = faults(&observed(record, &[]), &[]).join("");
        assert!(if fault.is_empty() { found.is_empty() } else { found.contains(fault) }, "{found}");
    }
    let mut frozen = success(vec![]);
    frozen.finished.status = TaskStatus::Frozen;
    assert_eq!(faults(&observed(frozen, &[]), &[]).len(), 1);
}

#[tokio::test]
async fn two_terminated_runs_of_one_attempt_are_a_violation() {
    let left = runs(&[(0, "TERMINATED"), (0, "TERMINATED"), (1, "TERMINATED")]).await;
    let found = faults(&observed(success(vec![]), &[]), &left);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("attempt 0 has 2 runs"), "{found:?}");
}

/// Counts violations and reasons for an active run of attempt 0.
async fn leftover(calls: Vec<TracedCall>, kills: &[u16]) -> (usize, RunCounts) {
    let left = runs(&[(0, "QUEUED")]).await;
    let (violations, counts) = observed(success(calls), kills).check(&left);
    (violations.len(), RunCounts { all: 0, ..counts })
}

#[tokio::test]
async fn active_run_needs_a_valid_reason() {
    let (ok, broken) = (|| TryOutcome::Responded(Code::Ok), || TryOutcome::Broken);
    let refused = || TryOutcome::Responded(Code::Unavailable);
    let none = RunCounts::default();
    let before_answer = RunCounts { killed_before_response: 1, ..none };
    let before_cancelling = RunCounts { killed_before_cancelling: 1, ..none };
    let lost = RunCounts { lost_by_executor: 1, ..none };
    let unstored = || TracedCall { stored: false, ..create(0, 1, ok()) };
    let before_search = RunCounts { killed_before_search: 1, ..none };
    for (what, calls, kills, expected) in [
        ("the executor had it", vec![create(0, 1, ok())], &[1][..], (1, none)),
        ("killed during the create", vec![create(0, 1, broken())], &[1], (0, before_answer)),
        ("broken without a kill", vec![create(0, 1, broken())], &[], (1, none)),
        ("refused", vec![create(0, 1, refused())], &[2], (1, none)),
        ("refused and killed", vec![create(0, 1, refused())], &[1], (0, before_cancelling)),
        ("searched for", vec![create(0, 1, broken()), create(1, 2, ok())], &[1], (1, none)),
        (
            "searching server killed",
            vec![create(0, 1, broken()), create(1, 2, ok())],
            &[1, 2],
            (0, before_search),
        ),
        (
            "both killed",
            vec![create(0, 1, broken()), create(1, 2, broken())],
            &[1, 2],
            (0, before_answer),
        ),
        ("lost and refused", vec![unstored(), create(0, 2, refused())], &[], (0, lost)),
        ("lost and repeated", vec![unstored(), create(0, 2, ok())], &[], (1, none)),
    ] {
        assert_eq!(leftover(calls, kills).await, expected, "{what}");
    }
}

#[tokio::test]
async fn run_aborted_while_the_executor_restarts_is_lost_by_the_executor() {
    let aborted = |restart_after| {
        let scenario = TaskScenario { restart_after, ..scenario(&[RunOutcome::Success]) };
        let scenario = TaskScenario { abort_after: Some(Duration::ZERO), ..scenario };
        observed(record(scenario, Some(End::Aborted), vec![]), &[])
    };
    let left = runs(&[(0, "QUEUED")]).await;
    assert_eq!(aborted(Some(Duration::ZERO)).check(&left).1.lost_by_executor, 1);
    assert_eq!(faults(&aborted(None), &left).len(), 1);
}

#[tokio::test]
async fn late_kill_is_no_valid_reason() {
    let record = success(vec![create(0, 1, TryOutcome::Responded(Code::Unavailable))]);
    let mut observed = observed(record, &[]);
    let late = observed.tasks[&1].began + GRACE + CANCEL_TIMEOUT + Duration::from_secs(1);
    observed.kills.insert(address(1), late);
    assert_eq!(faults(&observed, &runs(&[(0, "QUEUED")]).await).len(), 1);
}

#[tokio::test]
async fn cancelled_or_terminated_run_is_not_active() {
    let mut left = runs(&[(0, "QUEUED"), (1, "TERMINATED"), (2, "INTERNAL_ERROR")]).await;
    assert!(is_active(&left[0]) && !is_active(&left[1]) && !is_active(&left[2]));
    left[0].cancelled = true;
    assert!(!is_active(&left[0]));
}
