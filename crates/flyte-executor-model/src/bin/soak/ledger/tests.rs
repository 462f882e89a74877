use super::*;
use flyte_executor_model::{Fault, Kind, TaskError, Try};
use tonic::Code;

const GRACE: Duration = Duration::from_secs(1);

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn role(fortunes: &[Fortune]) -> Role {
    Role {
        flavour: Flavour::Stock,
        retries: u32::try_from(fortunes.len()).unwrap() - 1,
        fortunes: fortunes.to_vec(),
        abort_after: None,
        unstored: 0,
        restart_after: None,
    }
}

/// A create of that attempt at that replica.
fn create(attempt: u32, replica: u16, ended: Ended) -> Traced {
    let outcome = if ended == Ended::Answered(Code::Ok) {
        Ok(Outcome::Launched(b"{}".to_vec()))
    } else {
        Err(Fault { code: "Unavailable".to_owned(), message: String::new() })
    };
    Traced {
        began: Duration::ZERO,
        took: Duration::ZERO,
        verb: Verb::Create,
        attempt,
        tries: vec![Try { replica: address(replica), ended }],
        outcome,
        stored: true,
    }
}

fn record(role: Role, end: Option<End>, calls: Vec<Traced>) -> Record {
    let attempt = calls.iter().map(|call| call.attempt).max().unwrap_or_default();
    let standing = if end.is_some() { Standing::Collected } else { Standing::Underway };
    Record { role, began: Instant::now(), finished: Finished { standing, end, attempt, calls } }
}

fn success(calls: Vec<Traced>) -> Record {
    record(role(&[Fortune::Success; 3]), Some(End::Success), calls)
}

#[expect(clippy::unnecessary_wraps, reason = "an end, which a task may lack")]
fn failed(message: &str) -> Option<End> {
    let message = message.to_owned();
    Some(End::Failure(TaskError { code: "TaskFailedWithError", kind: Kind::User, message }))
}

/// Runs as a workspace tells them: of that attempt of task 1, in that state.
async fn runs(of: &[(u32, &str)]) -> Vec<RunSummary> {
    let emulator = databricks_emulator::Emulator::builder().token("t").start().await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (attempt, _) in of {
        let body = serde_json::json!({
            "run_name": job::run_name(1, *attempt),
            "tasks": [{"task_key": "t", "existing_cluster_id": "0801-120000-abcdefgh",
                       "notebook_task": {"notebook_path": "/x"}}],
        });
        let url = format!("{}/api/2.2/jobs/runs/submit", emulator.http_url());
        let answer = client.post(url).bearer_auth("t").json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let mut runs = emulator.runs();
    for (run, (_, state)) in runs.iter_mut().zip(of) {
        run.life_cycle = (*state).to_owned();
    }
    runs
}

fn ledger(record: Record, kills: &[u16]) -> Ledger {
    let killed = record.began + Duration::from_millis(1);
    Ledger {
        tasks: [(1, record)].into(),
        kills: kills.iter().map(|port| (address(*port), killed)).collect(),
        abandon_grace: GRACE,
        ..Ledger::default()
    }
}

fn faults(ledger: &Ledger, left: &[RunSummary]) -> Vec<String> {
    ledger.close(left).0.into_iter().map(|violation| violation.what).collect()
}

#[test]
fn an_end_must_be_that_of_the_run() {
    let ok = Ended::Answered(Code::Ok);
    for (fortune, end, fault) in [
        (Fortune::Success, Some(End::Success), ""),
        (Fortune::Silent, Some(End::Success), "succeeded, but its run was Silent"),
        (Fortune::CodeFailed, failed("failed to run the job: x"), ""),
        (Fortune::CodeFailed, failed("failed to read data"), "failed in an unforeseen way"),
        (Fortune::Success, failed("failed to run the job: x"), "failed, but its run succeeded"),
        (Fortune::Success, failed("failed to create task from connector"), ""),
        (Fortune::Success, Some(End::Aborted), "was aborted by nobody"),
        (Fortune::Success, None, "was not finished in its time"),
    ] {
        let record = record(role(&[fortune]), end, vec![create(0, 1, ok.clone())]);
        let found = faults(&ledger(record, &[]), &[]).join("");
        assert!(if fault.is_empty() { found.is_empty() } else { found.contains(fault) }, "{found}");
    }
    let mut frozen = success(vec![]);
    frozen.finished.standing = Standing::Frozen;
    assert_eq!(faults(&ledger(frozen, &[]), &[]).len(), 1);
}

#[tokio::test]
async fn an_attempt_with_two_runs_is_told_even_when_both_are_over() {
    let left = runs(&[(0, "TERMINATED"), (0, "TERMINATED"), (1, "TERMINATED")]).await;
    let told = faults(&ledger(success(vec![]), &[]), &left);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("attempt 0 has 2 runs"), "{told:?}");
}

/// What the ledger makes of a run of attempt 0 that is left alive.
async fn leftover(calls: Vec<Traced>, kills: &[u16]) -> (usize, Runs) {
    let left = runs(&[(0, "QUEUED")]).await;
    let (violations, figures) = ledger(success(calls), kills).close(&left);
    (violations.len(), Runs { all: 0, ..figures })
}

#[tokio::test]
async fn a_run_that_is_left_alive_is_excused_by_kills_alone() {
    let (ok, broken) = (|| Ended::Answered(Code::Ok), || Ended::Broken);
    let refused = || Ended::Answered(Code::Unavailable);
    let nobody = Runs::default();
    let before_answer = Runs { killed_before_answer: 1, ..nobody };
    let before_giving_up = Runs { killed_before_giving_up: 1, ..nobody };
    let lost = Runs { lost_by_the_executor: 1, ..nobody };
    let unstored = || Traced { stored: false, ..create(0, 1, ok()) };
    let before_looking = Runs { killed_before_looking: 1, ..nobody };
    for (what, calls, kills, expected) in [
        ("the executor had it", vec![create(0, 1, ok())], &[1][..], (1, nobody)),
        ("killed at it", vec![create(0, 1, broken())], &[1], (0, before_answer)),
        ("broken by nobody", vec![create(0, 1, broken())], &[], (1, nobody)),
        ("refused", vec![create(0, 1, refused())], &[2], (1, nobody)),
        ("refused and killed", vec![create(0, 1, refused())], &[1], (0, before_giving_up)),
        ("looked for", vec![create(0, 1, broken()), create(1, 2, ok())], &[1], (1, nobody)),
        (
            "looker killed",
            vec![create(0, 1, broken()), create(1, 2, ok())],
            &[1, 2],
            (0, before_looking),
        ),
        (
            "both killed",
            vec![create(0, 1, broken()), create(1, 2, broken())],
            &[1, 2],
            (0, before_answer),
        ),
        ("lost and refused", vec![unstored(), create(0, 2, refused())], &[], (0, lost)),
        ("lost and had again", vec![unstored(), create(0, 2, ok())], &[], (1, nobody)),
    ] {
        assert_eq!(leftover(calls, kills).await, expected, "{what}");
    }
}

#[tokio::test]
async fn a_run_of_a_task_that_was_aborted_while_its_executor_was_away_is_the_executors() {
    let aborted = |restart_after| {
        let role = Role { restart_after, ..role(&[Fortune::Success]) };
        let role = Role { abort_after: Some(Duration::ZERO), ..role };
        ledger(record(role, Some(End::Aborted), vec![]), &[])
    };
    let left = runs(&[(0, "QUEUED")]).await;
    assert_eq!(aborted(Some(Duration::ZERO)).close(&left).1.lost_by_the_executor, 1);
    assert_eq!(faults(&aborted(None), &left).len(), 1);
}

#[tokio::test]
async fn a_kill_long_after_is_no_excuse() {
    let record = success(vec![create(0, 1, Ended::Answered(Code::Unavailable))]);
    let mut ledger = ledger(record, &[]);
    let late = ledger.tasks[&1].began + GRACE + GIVING_UP + Duration::from_secs(1);
    ledger.kills.insert(address(1), late);
    assert_eq!(faults(&ledger, &runs(&[(0, "QUEUED")]).await).len(), 1);
}

#[tokio::test]
async fn a_run_that_was_cancelled_or_is_over_is_not_alive() {
    let mut left = runs(&[(0, "QUEUED"), (1, "TERMINATED"), (2, "INTERNAL_ERROR")]).await;
    assert!(is_alive(&left[0]) && !is_alive(&left[1]) && !is_alive(&left[2]));
    left[0].cancelled = true;
    assert!(!is_alive(&left[0]));
}
