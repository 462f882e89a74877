use std::time::Duration;

use connector_core::{Connector, ErrorKind, Phase};
use databricks_connector::Config;
use databricks_emulator::{
    CannedResponse, ClusterTermination, Endpoint, LifeCycle, Outcome, Pace, Script, Step,
    TaskScript, Termination,
};
use serde_json::json;

use crate::setup::{World, call, meta, with_token};

fn script(outcome: Outcome) -> Script {
    Script { pace: Pace::PerPoll(1), outcome, ..Script::default() }
}

#[tokio::test]
async fn a_run_moves_through_its_phases_and_succeeds() {
    let world = World::start().await;
    let run = world.started(script(Outcome::Success)).await;
    let mut phases = Vec::new();
    for _ in 0..10 {
        let resource = world.get(&run).await;
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

/// Polls until the run is over.
async fn end_of(world: &World, run: &databricks_connector::RunMeta) -> connector_core::Resource {
    for _ in 0..20 {
        let resource = world.get(run).await;
        if resource.phase.is_terminal() {
            return resource;
        }
    }
    panic!("the run does not end");
}

#[tokio::test]
async fn a_failed_run_tells_the_error_of_its_task() {
    let world = World::start().await;
    let outcome = Outcome::Failed {
        error: "ValueError: n must be positive".to_owned(),
        error_trace: "Traceback\n  line 3".to_owned(),
    };
    let run = world.started(script(outcome)).await;
    let end = end_of(&world, &run).await;
    assert_eq!(end.phase, Phase::RetryableFailed);
    assert_eq!(
        end.message,
        "ValueError: n must be positive [RUN_EXECUTION_ERROR]\nTraceback\n  line 3"
    );
}

#[tokio::test]
async fn user_failures_can_be_made_permanent() {
    let world = World::with(|config| Config {
        user_failures: databricks_connector::UserFailures::Permanent,
        ..config
    })
    .await;
    let outcome = Outcome::Failed { error: "E".to_owned(), error_trace: String::new() };
    let run = world.started(script(outcome)).await;
    assert_eq!(end_of(&world, &run).await.phase, Phase::Failed);
}

#[tokio::test]
async fn a_reason_that_cannot_be_read_keeps_the_run_running_for_two_polls() {
    let world = World::start().await;
    let outcome = Outcome::Failed { error: "ValueError".to_owned(), error_trace: String::new() };
    let script = script(outcome).with_steps([Step::new(LifeCycle::Running)]);
    let run = world.started(script).await;
    // More refusals than the client has tries in all polls together.
    world.emulator.answer_next(Endpoint::GetRunOutput, CannedResponse::json(503, ""), 100);
    let mut phases = Vec::new();
    for _ in 0..12 {
        let resource = world.connector.get(quick(), run.clone()).await.unwrap();
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

/// A run that lost its driver, on a cluster of its own that ended like this.
async fn lost_driver(world: &World) -> databricks_connector::RunMeta {
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
    world.started(script).await
}

#[tokio::test]
async fn a_failed_run_tells_how_its_cluster_ended() {
    let world = World::start().await;
    let run = lost_driver(&world).await;
    let end = end_of(&world, &run).await;
    assert_eq!(end.phase, Phase::RetryableFailed);
    let told = "The driver is gone [DRIVER_ERROR]\nits cluster ended with DRIVER_OUT_OF_MEMORY (instance_id: i-1)\n\
        hint: the driver ran out of memory";
    assert!(end.message.starts_with(told), "{}", end.message);
    let reads = |path: &str| {
        world.emulator.requests().iter().filter(|request| request.path.ends_with(path)).count()
    };
    assert_eq!(reads("/clusters/get"), 1);
}

#[tokio::test]
async fn a_cluster_that_cannot_be_read_changes_nothing_and_costs_no_poll() {
    for answer in [
        CannedResponse::json(503, ""),
        CannedResponse::json(403, r#"{"error_code": "PERMISSION_DENIED", "message": "no"}"#),
        CannedResponse::json(200, "[]"),
    ] {
        let world = World::start().await;
        let run = lost_driver(&world).await;
        world.emulator.answer_next(Endpoint::GetCluster, answer, 100);
        let mut phases = Vec::new();
        let end = loop {
            let resource = world.connector.get(quick(), run.clone()).await.unwrap();
            phases.push(resource.phase);
            if resource.phase.is_terminal() {
                break resource;
            }
        };
        assert_eq!(phases.len(), 4, "{phases:?}");
        assert!(
            end.message.starts_with("The driver is gone [DRIVER_ERROR]\nhint: the driver was lost"),
            "{}",
            end.message
        );
    }
}

#[tokio::test]
async fn of_many_failed_tasks_five_are_read_and_what_was_read_is_told() {
    let world = World::start().await;
    world.emulator.set_script(
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
    let mut cx = world.request("40_executor_first_attempt", json!({}));
    let mut custom = cx.custom().unwrap();
    custom.insert("databricksConf".to_owned(), json!({"run_name": "scripted", "tasks": tasks}));
    cx.template.custom = Some(connector_core::value::struct_from_json(&custom));
    let run = world.connector.create(cx).await.unwrap();
    let end = end_of(&world, &run).await;
    assert!(end.message.contains("task t4: error 4 [RUN_EXECUTION_ERROR]"), "{}", end.message);
    assert!(end.message.contains("and 2 more failed tasks"), "{}", end.message);
    let outputs =
        |request: &databricks_emulator::RecordedRequest| request.path.ends_with("/get-output");
    assert_eq!(world.emulator.requests().iter().filter(|request| outputs(request)).count(), 5);
}

/// A caller with little time, so that a lasting fault is answered soon.
fn quick() -> connector_core::CallContext {
    call().with_deadline(Some(std::time::Instant::now() + Duration::from_millis(400)))
}

#[tokio::test]
async fn what_may_pass_is_an_answer_with_the_last_known_phase() {
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
        let world = World::start().await;
        let run = world.started(script(Outcome::Success)).await;
        assert_eq!(world.get(&run).await.phase, Phase::WaitingForResources);
        world.emulator.answer_next(Endpoint::GetRun, answer.clone(), 100);
        let resource = world.connector.get(quick(), run.clone()).await.unwrap();
        assert_eq!(resource.phase, Phase::WaitingForResources, "{answer:?}");
        assert!(
            resource.message.starts_with("no news of the run for 0 s: reading the run"),
            "{}",
            resource.message
        );
    }
}

#[tokio::test]
async fn a_workspace_that_does_not_answer_is_no_error() {
    let world = World::start().await;
    let run = world.started(script(Outcome::Success)).await;
    world.emulator.shutdown().await;
    let resource = world.connector.get(quick(), run).await.unwrap();
    assert_eq!(resource.phase, Phase::Running);
    assert!(resource.message.contains("no news of the run"), "{}", resource.message);
}

#[tokio::test]
async fn a_refused_token_is_borne_and_then_ends_the_task_for_good() {
    let world = World::start().await;
    let run = world.started(script(Outcome::Success)).await;
    let resource = world.connector.get(with_token("dapi-canary"), run).await.unwrap();
    assert_eq!(resource.phase, Phase::Running);
    assert!(
        resource.message.contains("the task's secret `databricks_token`"),
        "{}",
        resource.message
    );
    assert!(!resource.message.contains("canary"), "{}", resource.message);

    let world = World::with(|config| Config { refusal_patience: Duration::ZERO, ..config }).await;
    let run = world.started(script(Outcome::Success)).await;
    let resource = world.connector.get(with_token("dapi-canary"), run).await.unwrap();
    assert_eq!(resource.phase, Phase::Failed);
    assert!(resource.message.contains("the run itself may still be alive"), "{}", resource.message);
}

#[tokio::test]
async fn a_token_that_no_header_can_carry_is_refused_without_a_call() {
    let world = World::with(|config| Config { refusal_patience: Duration::ZERO, ..config }).await;
    let run = world.started(script(Outcome::Success)).await;
    let before = world.emulator.requests().len();
    let resource = world.connector.get(with_token("dapi-can\u{7}ary"), run).await.unwrap();
    assert_eq!(resource.phase, Phase::Failed);
    assert!(!resource.message.contains("ary"), "{}", resource.message);
    assert_eq!(world.emulator.requests().len(), before);
}

#[tokio::test]
async fn a_run_that_is_gone_is_borne_and_then_may_be_started_again() {
    let world = World::start().await;
    let run = world.started(script(Outcome::Success)).await;
    world.emulator.delete_run(world.emulator.runs()[0].run_id);
    assert_eq!(world.get(&run).await.phase, Phase::Running);

    let world = World::with(|config| Config { vanished_patience: Duration::ZERO, ..config }).await;
    let unknown = meta(&world.emulator.http_url(), "12345");
    let resource = world.get(&unknown).await;
    assert_eq!(resource.phase, Phase::RetryableFailed);
    assert!(resource.message.contains("does not exist"), "{}", resource.message);
}

#[tokio::test]
async fn a_host_that_is_not_allowed_is_never_called() {
    let world = World::start().await;
    let before = world.emulator.requests().len();
    // The workspace's other listener: reachable, and not on the list.
    let foreign = meta(&world.emulator.https_host(), "12345");
    let resource = world.get(&foreign).await;
    assert_eq!(resource.phase, Phase::Running);
    assert!(resource.message.contains("FLYTE_DATABRICKS_ALLOWED_HOSTS"), "{}", resource.message);
    assert_eq!(world.emulator.requests().len(), before);
}

#[tokio::test]
async fn meta_without_an_address_is_the_only_error() {
    let world = World::start().await;
    let error = world.connector.get(call(), meta("https://user:pw@host", "1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidMeta);
    assert!(!format!("{error:?}").contains("pw@"), "{error:?}");
}
