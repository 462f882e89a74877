use std::time::Duration;

use connector_core::{CallContext, Connector, ErrorKind, Phase};
use databricks_connector::Config;
use databricks_emulator::{
    CannedResponse, ClusterTermination, Endpoint, LifeCycle, Outcome, Pace, Script, Step,
    TaskScript, Termination,
};
use serde_json::json;

use crate::harness::{Harness, call, call_within, meta, with_token};

fn script(outcome: Outcome) -> Script {
    Script { pace: Pace::PerPoll(1), outcome, ..Script::default() }
}

#[tokio::test]
async fn run_moves_through_its_phases_and_succeeds() {
    let harness = Harness::start().await;
    let run = harness.started(script(Outcome::Success)).await;
    let mut phases = Vec::new();
    for _ in 0..10 {
        let resource = harness.get(&run).await;
        assert_eq!(resource.links[0].name, "Databricks Console");
        assert!(resource.links[0].uri.contains("/run/"), "{:?}", resource.links);
        if phases.last() != Some(&resource.phase) {
            phases.push(resource.phase);
        }
        if resource.phase.is_terminal() {
            break;
        }
    }
    assert_eq!(
        phases,
        [Phase::WaitingForResources, Phase::Initializing, Phase::Running, Phase::Succeeded]
    );
}

#[tokio::test]
async fn message_of_a_failed_run_has_the_error_of_its_task() {
    let harness = Harness::start().await;
    let outcome = Outcome::Failed {
        error: "ValueError: n must be positive".to_owned(),
        error_trace: "Traceback\n  line 3".to_owned(),
    };
    let run = harness.started(script(outcome)).await;
    let end = harness.end_of(&run).await;
    assert_eq!(end.phase, Phase::RetryableFailed);
    assert_eq!(
        end.message,
        "ValueError: n must be positive [RUN_EXECUTION_ERROR]\nTraceback\n  line 3"
    );
}

#[tokio::test]
async fn user_failures_can_be_made_permanent() {
    let harness = Harness::with(|config| Config {
        user_failures: databricks_connector::UserFailures::Permanent,
        ..config
    })
    .await;
    let outcome = Outcome::Failed { error: "E".to_owned(), error_trace: String::new() };
    let run = harness.started(script(outcome)).await;
    assert_eq!(harness.end_of(&run).await.phase, Phase::Failed);
}

#[tokio::test]
async fn unreadable_reason_keeps_the_run_running_for_two_polls() {
    let harness = Harness::start().await;
    let outcome = Outcome::Failed { error: "ValueError".to_owned(), error_trace: String::new() };
    let script = script(outcome).with_steps([Step::new(LifeCycle::Running)]);
    let run = harness.started(script).await;
    // More failures than the attempts of all polls together.
    harness.emulator.answer_next(Endpoint::GetRunOutput, CannedResponse::json(503, ""), 100);
    let mut phases = Vec::new();
    for _ in 0..12 {
        let resource = harness.connector.get(quick(), run.clone()).await.unwrap();
        phases.push(resource.phase);
        if resource.phase.is_terminal() {
            assert!(resource.message.contains("RUN_EXECUTION_ERROR"), "{}", resource.message);
            break;
        }
    }
    let waits = phases.iter().rev().skip(1).take_while(|phase| **phase == Phase::Running).count();
    assert_eq!(phases.last(), Some(&Phase::RetryableFailed));
    assert!(waits >= 2, "{phases:?}");
}

/// Starts a run whose driver and job cluster run out of memory.
async fn lost_driver(harness: &Harness) -> databricks_connector::RunMeta {
    let script = Script {
        cluster_termination: Some(ClusterTermination {
            code: "DRIVER_OUT_OF_MEMORY".to_owned(),
            kind: "CLIENT_ERROR".to_owned(),
            parameters: [("instance_id".to_owned(), "i-1".to_owned())].into(),
        }),
        ..script(Outcome::Termination(Termination {
            life_cycle_state: Some("TERMINATED".to_owned()),
            result_state: Some("FAILED".to_owned()),
            code: Some("DRIVER_ERROR".to_owned()),
            kind: Some("CLIENT_ERROR".to_owned()),
            message: Some("The driver is gone".to_owned()),
            ..Termination::default()
        }))
    };
    harness.started(script).await
}

#[tokio::test]
async fn message_of_a_failed_run_has_the_termination_of_its_cluster() {
    let harness = Harness::start().await;
    let run = lost_driver(&harness).await;
    let end = harness.end_of(&run).await;
    assert_eq!(end.phase, Phase::RetryableFailed);
    let expected = "The driver is gone [DRIVER_ERROR]\nits cluster terminated with DRIVER_OUT_OF_MEMORY (instance_id: i-1)\n\
        hint: the driver ran out of memory";
    assert!(end.message.starts_with(expected), "{}", end.message);
    let reads = |path: &str| {
        harness.emulator.requests().iter().filter(|request| request.path.ends_with(path)).count()
    };
    assert_eq!(reads("/clusters/get"), 1);
}

#[tokio::test]
async fn unreadable_cluster_does_not_change_the_phase_or_delay_it() {
    for answer in [
        CannedResponse::json(503, ""),
        CannedResponse::json(403, r#"{"error_code": "PERMISSION_DENIED", "message": "no"}"#),
        CannedResponse::json(200, "[]"),
    ] {
        let harness = Harness::start().await;
        let run = lost_driver(&harness).await;
        harness.emulator.answer_next(Endpoint::GetCluster, answer, 100);
        let mut phases = Vec::new();
        for _ in 0..3 {
            phases.push(harness.connector.get(quick(), run.clone()).await.unwrap().phase);
        }
        assert!(phases.iter().all(|phase| !phase.is_terminal()), "{phases:?}");
        let end = harness.connector.get(quick(), run.clone()).await.unwrap();
        assert!(end.phase.is_terminal(), "{:?}", end.phase);
        assert!(
            end.message.starts_with("The driver is gone [DRIVER_ERROR]\nhint: the driver was lost"),
            "{}",
            end.message
        );
    }
}

#[tokio::test]
async fn errors_of_at_most_five_failed_tasks_are_read() {
    let harness = Harness::start().await;
    harness.emulator.set_script(
        "scripted",
        Script {
            tasks: (0..7)
                .map(|n| {
                    let outcome =
                        Outcome::Failed { error: format!("error {n}"), error_trace: String::new() };
                    (
                        format!("t{n}"),
                        TaskScript { outcome: Some(outcome), ..TaskScript::default() },
                    )
                })
                .collect(),
            ..script(Outcome::Success)
        },
    );
    let tasks: Vec<_> = (0..7)
        .map(|n| {
            json!({"task_key": format!("t{n}"), "existing_cluster_id": "c",
        "notebook_task": {"notebook_path": "/n"}})
        })
        .collect();
    let conf = json!({"run_name": "scripted", "tasks": tasks});
    let cx = harness.request_with_conf("40_executor_first_attempt", &conf);
    let run = harness.connector.create(cx).await.unwrap();
    let end = harness.end_of(&run).await;
    assert!(end.message.contains("task t4: error 4 [RUN_EXECUTION_ERROR]"), "{}", end.message);
    assert!(end.message.contains("and 2 more failed tasks"), "{}", end.message);
    let outputs =
        |request: &databricks_emulator::RecordedRequest| request.path.ends_with("/get-output");
    assert_eq!(harness.emulator.requests().iter().filter(|request| outputs(request)).count(), 5);
}

/// A call with a short deadline, so that a persistent failure is reported soon.
fn quick() -> CallContext {
    call_within(Duration::from_millis(400))
}

#[tokio::test]
async fn transient_failure_keeps_the_last_known_phase() {
    for answer in [
        CannedResponse::json(500, "{}"),
        CannedResponse::json(503, ""),
        CannedResponse::json(429, ""),
        CannedResponse::html(404, "<html>not here</html>"),
        CannedResponse::html(200, "<html>login</html>"),
        CannedResponse::json(200, "[]"),
        CannedResponse::json(200, "{"),
        CannedResponse::json(400, "{}"),
        CannedResponse::json(302, "").with_header("location", "https://elsewhere.example/"),
    ] {
        let harness = Harness::start().await;
        let run = harness.started(script(Outcome::Success)).await;
        assert_eq!(harness.get(&run).await.phase, Phase::WaitingForResources);
        harness.emulator.answer_next(Endpoint::GetRun, answer.clone(), 100);
        let resource = harness.connector.get(quick(), run.clone()).await.unwrap();
        assert_eq!(resource.phase, Phase::WaitingForResources, "{answer:?}");
        assert!(
            resource.message.starts_with("the run could not be read for 0 s: reading the run"),
            "{}",
            resource.message
        );
    }
}

#[tokio::test]
async fn unreachable_workspace_is_not_an_error() {
    let harness = Harness::start().await;
    let run = harness.started(script(Outcome::Success)).await;
    harness.emulator.shutdown().await;
    let resource = harness.connector.get(quick(), run).await.unwrap();
    assert_eq!(resource.phase, Phase::Running);
    assert!(resource.message.contains("the run could not be read"), "{}", resource.message);
}

#[tokio::test]
async fn rejected_token_fails_the_task_after_the_grace_period() {
    let harness = Harness::start().await;
    let run = harness.started(script(Outcome::Success)).await;
    let resource = harness.connector.get(with_token("dapi-canary"), run).await.unwrap();
    assert_eq!(resource.phase, Phase::Running);
    assert!(
        resource.message.contains("the task's secret `databricks_token`"),
        "{}",
        resource.message
    );
    assert!(!resource.message.contains("canary"), "{}", resource.message);

    let harness =
        Harness::with(|config| Config { refusal_patience: Duration::ZERO, ..config }).await;
    let run = harness.started(script(Outcome::Success)).await;
    let resource = harness.connector.get(with_token("dapi-canary"), run).await.unwrap();
    assert_eq!(resource.phase, Phase::Failed);
    assert!(
        resource.message.contains("the run itself may still be active"),
        "{}",
        resource.message
    );
}

#[tokio::test]
async fn token_with_invalid_characters_is_rejected_without_a_request() {
    let harness =
        Harness::with(|config| Config { refusal_patience: Duration::ZERO, ..config }).await;
    let run = harness.started(script(Outcome::Success)).await;
    let before = harness.emulator.requests().len();
    let resource = harness.connector.get(with_token("dapi-can\u{7}ary"), run).await.unwrap();
    assert_eq!(resource.phase, Phase::Failed);
    assert!(!resource.message.contains("ary"), "{}", resource.message);
    assert_eq!(harness.emulator.requests().len(), before);
}

#[tokio::test]
async fn missing_run_is_retryable_after_the_grace_period() {
    let harness = Harness::start().await;
    let run = harness.started(script(Outcome::Success)).await;
    harness.emulator.delete_run(harness.emulator.runs()[0].run_id);
    assert_eq!(harness.get(&run).await.phase, Phase::Running);

    let harness =
        Harness::with(|config| Config { vanished_patience: Duration::ZERO, ..config }).await;
    let unknown = meta(&harness.emulator.http_url(), "12345");
    let resource = harness.get(&unknown).await;
    assert_eq!(resource.phase, Phase::RetryableFailed);
    assert!(resource.message.contains("does not exist"), "{}", resource.message);
}

#[tokio::test]
async fn disallowed_host_is_never_called() {
    let harness = Harness::start().await;
    let before = harness.emulator.requests().len();
    // The workspace's other listener: reachable, but not an allowed host.
    let foreign = meta(&harness.emulator.https_host(), "12345");
    let resource = harness.get(&foreign).await;
    assert_eq!(resource.phase, Phase::Running);
    assert!(resource.message.contains("FLYTE_DATABRICKS_ALLOWED_HOSTS"), "{}", resource.message);
    assert_eq!(harness.emulator.requests().len(), before);
}

#[tokio::test]
async fn invalid_host_in_the_meta_is_the_only_error() {
    let harness = Harness::start().await;
    let error = harness.connector.get(call(), meta("https://user:pw@host", "1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidMeta);
    assert!(!format!("{error:?}").contains("pw@"), "{error:?}");
}
