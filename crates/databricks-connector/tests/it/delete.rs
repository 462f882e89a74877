use std::time::Duration;

use connector_core::{Connector, ErrorKind, Phase};
use databricks_connector::Config;
use databricks_emulator::{CannedResponse, Endpoint, Outcome, Pace, Script};

use crate::setup::{World, call, meta, with_token};

fn endless() -> Script {
    Script { pace: Pace::Manual, ..Script::default() }
}

#[tokio::test]
async fn a_live_run_is_cancelled() {
    let world = World::start().await;
    let run = world.started(endless()).await;
    world.connector.delete(call(), run).await.unwrap();
    assert!(world.emulator.runs()[0].cancelled);
}

#[tokio::test]
async fn a_run_that_this_process_saw_end_is_left_alone() {
    let world = World::start().await;
    let script = Script { pace: Pace::PerPoll(1), outcome: Outcome::Success, ..Script::default() };
    let run = world.started(script).await;
    while !world.get(&run).await.phase.is_terminal() {}
    let before = world.emulator.requests().len();
    world.connector.delete(call(), run).await.unwrap();
    assert_eq!(world.emulator.requests().len(), before);
}

#[tokio::test]
async fn unknown_and_expired_runs_are_a_success() {
    let world = World::start().await;
    world.connector.delete(call(), meta(&world.emulator.http_url(), "12345")).await.unwrap();
}

#[tokio::test]
async fn a_refused_cancel_is_decided_by_a_read() {
    let world = World::start().await;
    let refused = CannedResponse::json(
        400,
        r#"{"error_code": "INVALID_STATE", "message": "the run cannot be cancelled"}"#,
    );
    let alive = world.started(endless()).await;
    world.emulator.answer_next(Endpoint::CancelRun, refused.clone(), 1);
    let error = world.connector.delete(call(), alive).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTask);

    let world = World::start().await;
    let over =
        world.started(Script { pace: Pace::Elapsed(Duration::ZERO), ..Script::default() }).await;
    world.emulator.answer_next(Endpoint::CancelRun, refused, 1);
    world.connector.delete(call(), over).await.unwrap();
}

#[tokio::test]
async fn the_connectors_own_credential_stands_in_for_a_refused_one() {
    let world = World::start().await;
    let run = world.started(endless()).await;
    world.connector.delete(with_token("dapi-revoked"), run).await.unwrap();
    assert!(world.emulator.runs()[0].cancelled);
}

#[tokio::test]
async fn refused_credentials_are_an_error_while_somebody_may_mend_them_and_then_no_more() {
    let without_own = |patience: Duration| {
        move |config: Config| Config { access_token: None, refusal_patience: patience, ..config }
    };
    let world = World::with(without_own(Duration::from_mins(15))).await;
    let run = meta(&world.emulator.http_url(), "12345");
    let error = world.connector.delete(with_token("dapi-revoked"), run.clone()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unauthenticated | ErrorKind::Forbidden), "{error:?}");
    let error = world.connector.delete(call(), run.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);

    let world = World::with(without_own(Duration::ZERO)).await;
    let run = meta(&world.emulator.http_url(), "12345");
    world.connector.delete(with_token("dapi-revoked"), run.clone()).await.unwrap();
    world.connector.delete(call(), run).await.unwrap();
}

#[tokio::test]
async fn a_run_that_was_given_up_is_cancelled_all_the_same() {
    let world = World::with(|config| Config { refusal_patience: Duration::ZERO, ..config }).await;
    let run = world.started(endless()).await;
    let told = world.connector.get(with_token("dapi-revoked"), run.clone()).await.unwrap();
    assert_eq!(told.phase, Phase::Failed, "{}", told.message);
    world.connector.delete(with_token("dapi-revoked"), run).await.unwrap();
    assert!(world.emulator.runs()[0].cancelled, "it is still alive, and somebody pays for it");
}

#[tokio::test]
async fn a_run_that_was_given_up_and_cannot_be_reached_is_not_asked_for_ever() {
    let run = meta("http://127.0.0.1:1", "12345");
    let at_nobody = |config: Config| Config {
        instance: Some("http://127.0.0.1:1".to_owned()),
        unreachable_patience: Some(Duration::ZERO),
        ..config
    };
    let world = World::with(at_nobody).await;
    let short =
        || call().with_deadline(Some(std::time::Instant::now() + Duration::from_millis(300)));
    let error = world.connector.delete(short(), run.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let told = world.connector.get(short(), run.clone()).await.unwrap();
    assert_eq!(told.phase, Phase::Failed, "{}", told.message);
    world.connector.delete(short(), run).await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_not_allowed_is_never_called() {
    let world = World::start().await;
    let before = world.emulator.requests().len();
    let error =
        world.connector.delete(call(), meta(&world.emulator.https_host(), "1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert_eq!(world.emulator.requests().len(), before);
}

#[tokio::test]
async fn a_host_that_stays_refused_does_not_keep_a_task_from_being_deleted() {
    let world = World::with(|config| Config { refusal_patience: Duration::ZERO, ..config }).await;
    let before = world.emulator.requests().len();
    world.connector.delete(call(), meta(&world.emulator.https_host(), "1")).await.unwrap();
    assert_eq!(world.emulator.requests().len(), before);
}
