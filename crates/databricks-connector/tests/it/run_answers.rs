//! What answers about a run say, in every form in which a workspace sends them.

use std::time::Duration;

use connector_core::{Connector, LogsRequest, Phase};
use databricks_connector::{Config, RunMeta};
use databricks_emulator::{CannedResponse, Endpoint, Script};
use serde_json::{Value, json};

use crate::{
    harness::{Harness, call, call_within},
    logs,
};

/// Starts a run whose workspace answers the next reads of runs with these bodies, the last one for ever.
async fn answering(harness: &Harness, runs: &[Value]) -> RunMeta {
    let meta = harness.started(Script::success()).await;
    answer(harness, Endpoint::GetRun, runs);
    meta
}

fn answer(harness: &Harness, endpoint: Endpoint, bodies: &[Value]) {
    for (n, body) in bodies.iter().enumerate() {
        let times = if n + 1 == bodies.len() { 1_000 } else { 1 };
        harness.emulator.answer_next(endpoint, CannedResponse::json(200, body.to_string()), times);
    }
}

fn bytes(body: &[u8]) -> CannedResponse {
    CannedResponse::json(200, body.to_vec())
}

fn failed_task(key: &str, run_id: i64) -> Value {
    json!({"task_key": key, "run_id": run_id, "state": {"life_cycle_state": "TERMINATED",
        "result_state": "FAILED", "state_message": "Workload failed, see run output for details"}})
}

fn failed_run(tasks: &[Value]) -> Value {
    json!({"run_id": 7, "tasks": tasks, "state": {"life_cycle_state": "INTERNAL_ERROR",
        "result_state": "FAILED", "state_message": "the run's own words"}})
}

#[tokio::test]
async fn waiting_run_waits_for_resources_with_its_reason() {
    for (run, phase, reason) in [
        (
            json!({"status": {"state": "WAITING", "queue_details": {"message": "cheap hours"}}}),
            Phase::WaitingForResources,
            "cheap hours",
        ),
        (
            json!({"status": {"state": "WAITING"}, "state": {"life_cycle_state": "WAITING"}}),
            Phase::WaitingForResources,
            "holds the run back",
        ),
        (
            json!({"status": {"state": "RUNNING"}, "tasks": [{"task_key": "a",
                "status": {"state": "PENDING"}, "state": {"state_message": "Waiting for cluster"}}]}),
            Phase::Initializing,
            "Waiting for cluster",
        ),
        (
            json!({"state": {"life_cycle_state": "RUNNING", "state_message": "In run"}, "tasks": [
                {"task_key": "a", "state": {"life_cycle_state": "QUEUED", "queue_reason": "full"}}]}),
            Phase::WaitingForResources,
            "full",
        ),
    ] {
        let harness = Harness::start().await;
        let meta = answering(&harness, std::slice::from_ref(&run)).await;
        let resource = harness.get(&meta).await;
        assert_eq!(resource.phase, phase, "{run}");
        assert!(resource.message.contains(reason), "{run}: {}", resource.message);
    }
}

#[tokio::test]
async fn deleted_run_is_recognised_in_any_wording() {
    for (status, body) in [
        (400, json!({"error_code": "INVALID_PARAMETER_VALUE", "message": "运行 7 不存在"})),
        (404, json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "gone"})),
        (404, json!({"error_code": "NOT_FOUND"})),
        (400, json!({"message": "Run 7 does not exist."})),
    ] {
        let patient =
            Harness::with(|config| Config { vanished_patience: Duration::ZERO, ..config });
        let harness = patient.await;
        let meta = harness.started(Script::success()).await;
        let gone = CannedResponse::json(status, body.to_string());
        harness.emulator.answer_next(Endpoint::GetRun, gone.clone(), 100);
        harness.emulator.answer_next(Endpoint::CancelRun, gone, 100);
        harness.connector.delete(call(), meta.clone()).await.unwrap();
        assert_eq!(harness.get(&meta).await.phase, Phase::RetryableFailed, "{body}");
        harness.connector.delete(call(), meta).await.unwrap();
    }
}

#[tokio::test]
async fn lost_workspace_ends_like_a_rejected_host() {
    for response in [
        CannedResponse::html(404, "<html><title>Not Found</title></html>"),
        CannedResponse::json(
            403,
            r#"{"error_code": "X", "message": "Workspace 7 is not active."}"#,
        ),
        CannedResponse::json(400, r#"{"message": "workspace is NOT ACTIVE"}"#),
    ] {
        let impatient =
            Harness::with(|config| Config { refusal_patience: Duration::ZERO, ..config });
        for (harness, phase) in
            [(Harness::start().await, Phase::Running), (impatient.await, Phase::Failed)]
        {
            let meta = harness.started(Script::success()).await;
            harness.emulator.answer_next(Endpoint::GetRun, response.clone(), 100);
            harness.emulator.answer_next(Endpoint::CancelRun, response.clone(), 100);
            let resource = harness.get(&meta).await;
            assert_eq!(resource.phase, phase, "{}", resource.message);
            let deleted = harness.connector.delete(call(), meta).await;
            assert_eq!(deleted.is_ok(), phase == Phase::Failed, "{deleted:?}");
        }
    }
}

#[tokio::test]
async fn damaged_field_does_not_hide_the_end_of_a_run() {
    for body in [
        &br#"{"state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS", "state_message": "\ud800"}}"#[..],
        b"{\"run_name\": \"caf\xe9\", \"status\": {\"state\": \"TERMINATED\", \"termination_details\": {\"code\": \"SUCCESS\"}}}",
        b"\xef\xbb\xbf{\"status\": {\"state\": \"TERMINATED\", \"termination_details\": {\"code\": \"SUCCESS\"}}}",
        br#"{"run_page_url": 7, "start_time": "x", "tasks": [{"run_id": -1, "task_key": []}], "status": {"state": "TERMINATED", "termination_details": {"code": "SUCCESS"}}}"#,
        br#"{"status": 7, "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}, "tasks": {}}"#,
    ] {
        let harness = Harness::start().await;
        let meta = harness.started(Script::success()).await;
        harness.emulator.answer_next(Endpoint::GetRun, bytes(body), 100);
        let resource = harness.get(&meta).await;
        let text = String::from_utf8_lossy(body);
        assert_eq!(resource.phase, Phase::Succeeded, "{text}: {}", resource.message);
    }
}

#[tokio::test]
async fn answer_without_a_state_is_a_failed_poll() {
    for body in [json!({}), json!({"run_id": 7, "status": {"state": 7}, "state": "TERMINATED"})] {
        let harness = Harness::start().await;
        let meta = harness.started(Script::success()).await;
        assert_eq!(harness.get(&meta).await.phase, Phase::WaitingForResources);
        answer(&harness, Endpoint::GetRun, &[body]);
        let resource = harness.get(&meta).await;
        assert_eq!(resource.phase, Phase::WaitingForResources);
        assert!(resource.message.contains("contains no state"), "{}", resource.message);
    }
}

#[tokio::test]
async fn ended_run_with_an_unreadable_page_ends_within_two_polls() {
    // Not retried, because that would take longer than the call.
    let unavailable = CannedResponse::json(503, "").with_header("retry-after", "60");
    for (page, polls) in [(unavailable, 3), (bytes(b"{]"), 1)] {
        let harness = Harness::start().await;
        let mut run = failed_run(&[failed_task("a", 11)]);
        run["next_page_token"] = json!("p2");
        let meta = harness.started(Script::success()).await;
        answer(&harness, Endpoint::GetRunOutput, &[json!({"error": "ValueError: bad"})]);
        let mut phases = Vec::new();
        let mut message = String::new();
        for _ in 0..polls {
            let first = CannedResponse::json(200, run.to_string());
            harness.emulator.answer_next(Endpoint::GetRun, first, 1);
            // Every attempt of the later page.
            harness.emulator.answer_next(Endpoint::GetRun, page.clone(), 1);
            let cx = call_within(Duration::from_secs(5));
            let resource = harness.connector.get(cx, meta.clone()).await.unwrap();
            phases.push(resource.phase);
            message = resource.message;
        }
        assert_eq!(phases.pop(), Some(Phase::RetryableFailed), "{message}");
        assert!(phases.iter().all(|phase| *phase == Phase::Running), "{phases:?}");
        assert!(message.starts_with("ValueError: bad"), "{message}");
        assert!(message.contains("not all tasks of the run could be read"), "{message}");
    }
}

#[tokio::test]
async fn state_of_a_run_with_too_many_tasks_is_kept() {
    let harness = Harness::start().await;
    let tasks: Vec<Value> = (1..=10_001).map(|n| failed_task(&format!("t{n}"), n)).collect();
    let meta = answering(&harness, &[failed_run(&tasks)]).await;
    let resource = harness.get(&meta).await;
    assert_eq!(resource.phase, Phase::RetryableFailed);
    assert!(resource.message.starts_with("the run's own words [FAILED]"), "{}", resource.message);
    assert!(resource.message.contains("too many tasks"), "{}", resource.message);
}

#[tokio::test]
async fn error_of_a_task_beyond_page_20_is_read() {
    let harness = Harness::start().await;
    let pages: Vec<Value> = (0..25_i64)
        .map(|page| {
            let task = |n: i64| {
                let id = page * 100 + n + 1;
                let key = format!("t{id}");
                if id == 2_250 {
                    return failed_task(&key, id);
                }
                json!({"task_key": key, "run_id": id,
                    "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}})
            };
            let mut run = failed_run(&(0..100).map(task).collect::<Vec<_>>());
            run["next_page_token"] =
                json!(if page == 24 { String::new() } else { format!("p{page}") });
            run
        })
        .collect();
    let meta = answering(&harness, &pages).await;
    answer(&harness, Endpoint::GetRunOutput, &[json!({"error": "the real error"})]);
    let resource = harness.get(&meta).await;
    assert_eq!(resource.phase, Phase::RetryableFailed);
    assert!(resource.message.starts_with("task t2250: the real error"), "{}", resource.message);
}

#[tokio::test]
async fn errors_of_iterations_and_of_started_runs_reach_the_user() {
    let harness = Harness::start().await;
    let mut each = failed_task("each", 11);
    each["for_each_task"] = json!({"inputs": "[1, 2]", "stats": {"error_message_stats": [
        {"error_message": "KeyError: 'sales'", "count": 2, "termination_category": "x"}]}});
    let meta = answering(&harness, &[failed_run(&[each])]).await;
    answer(&harness, Endpoint::GetRunOutput, &[json!({})]);
    let resource = harness.get(&meta).await;
    assert!(
        resource.message.contains("2 iterations failed with: KeyError: 'sales'"),
        "{}",
        resource.message
    );

    let harness = Harness::start().await;
    let outer = failed_run(&[failed_task("flyte_task", 11)]);
    let inner = failed_run(&[failed_task("x", 21)]);
    let meta = answering(&harness, &[outer, inner]).await;
    let outputs =
        [json!({"run_job_output": {"run_id": 20}}), json!({"error": "KeyError: 'region'"})];
    answer(&harness, Endpoint::GetRunOutput, &outputs);
    let resource = harness.get(&meta).await;
    assert_eq!(resource.phase, Phase::RetryableFailed);
    assert!(resource.message.contains("KeyError: 'region'"), "{}", resource.message);
}

#[tokio::test]
async fn runs_that_start_each_other_endlessly_have_a_bounded_reason() {
    let harness = Harness::start().await;
    let tasks: Vec<Value> = (1..=5).map(|n| failed_task(&format!("t{n}"), n)).collect();
    let meta = answering(&harness, &[failed_run(&tasks)]).await;
    answer(&harness, Endpoint::GetRunOutput, &[json!({"run_job_output": {"run_id": 20}})]);
    let resource = harness.get(&meta).await;
    assert_eq!(resource.phase, Phase::RetryableFailed);
    let reads = harness.emulator.requests().into_iter().filter(|request| {
        request.path.ends_with("/runs/get") || request.path.ends_with("/runs/get-output")
    });
    assert!(reads.count() <= 16);
}

#[tokio::test]
async fn error_with_stray_bytes_in_the_log_is_reported() {
    let harness = Harness::start().await;
    let meta = answering(&harness, &[failed_run(&[failed_task("a", 11)])]).await;
    let output = bytes(b"{\"error\": \"ValueError: bad\", \"logs\": \"caf\xe9\\n\"}");
    harness.emulator.answer_next(Endpoint::GetRunOutput, output, 100);
    let resource = harness.get(&meta).await;
    assert!(resource.message.contains("ValueError: bad"), "{}", resource.message);
    let log = log(&harness, &meta, 5).await;
    assert!(log.iter().any(|line| line.contains("caf\u{fffd}")), "{log:?}");
}

/// Returns the lines of a log that ends within this number of pages.
async fn log(harness: &Harness, meta: &RunMeta, pages: usize) -> Vec<String> {
    let mut token = String::new();
    let mut lines = Vec::new();
    for _ in 0..pages {
        let request = LogsRequest::new(0, token);
        let cx = call_within(Duration::from_millis(600));
        let page = harness.connector.get_logs(cx, meta.clone(), request).await.unwrap();
        lines.extend(page.lines.into_iter().map(|line| line.message));
        match page.next_token {
            Some(next) => token = next,
            None => return lines,
        }
    }
    panic!("the log has not ended: {lines:?}");
}

#[tokio::test]
async fn log_of_an_ended_run_whose_output_cannot_be_read_ends_and_says_why() {
    for response in [bytes(b"[]"), bytes(b"{\"logs\": ]}"), bytes(b"{\"logs\": \"cut")] {
        let harness = logs::start().await;
        let meta = answering(&harness, &[failed_run(&[failed_task("a", 11)])]).await;
        harness.emulator.answer_next(Endpoint::GetRunOutput, response, 100);
        let log = log(&harness, &meta, 8).await;
        assert!(log.iter().any(|line| line.contains("the output cannot be read")), "{log:?}");
        assert!(log.last().unwrap().contains("ended: the run's own words"), "{log:?}");
    }
}

#[tokio::test]
async fn cut_trace_starts_at_a_whole_frame() {
    let harness = Harness::start().await;
    let meta = answering(&harness, &[failed_run(&[failed_task("a", 11)])]).await;
    let frame = |path: &str| {
        format!("  File \"{path}\", line 3, in run\n    sys.exit(3)\n    ^^^^^^^^^^^\n")
    };
    let library = frame("/databricks/python/lib/python3.11/site-packages/x.py");
    let trace = format!(
        "Traceback (most recent call last):\n{}{}SystemExit: 3",
        frame("/Workspace/job.py"),
        library.repeat(20)
    );
    let output = json!({"error": "SystemExit: 3", "error_trace": trace});
    answer(&harness, Endpoint::GetRunOutput, &[output]);
    let message = harness.get(&meta).await.message;
    let lines: Vec<&str> = message.lines().collect();
    assert!(lines[1].contains("omitted") || lines[1].starts_with("Traceback"), "{message}");
    assert!(lines[2].starts_with("  File \"/Workspace/job.py\""), "{message}");
    assert!(message.contains("lines omitted"), "{message}");
}
