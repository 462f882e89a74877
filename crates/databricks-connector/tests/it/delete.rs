use std::time::Duration;

use connector_core::{Connector, ErrorKind, Phase};
use databricks_connector::Config;
use databricks_emulator::{CannedResponse, Endpoint, Outcome, Pace, Script};

use crate::harness::{Harness, call, call_within, meta, with_token};

fn active() -> Script {
    Script { pace: Pace::Manual, ..Script::default() }
}

#[tokio::test]
async fn active_run_is_cancelled() {
    let harness = Harness::start().await;
    let run = harness.started(active()).await;
    harness.connector.delete(call(), run).await.unwrap();
    assert!(harness.emulator.runs()[0].cancelled);
}

#[tokio::test]
async fn run_that_is_known_to_have_ended_needs_no_request() {
    let harness = Harness::start().await;
    let script = Script { pace: Pace::PerPoll(1), outcome: Outcome::Success, ..Script::default() };
    let run = harness.started(script).await;
    harness.end_of(&run).await;
    let before = harness.emulator.requests().len();
    harness.connector.delete(call(), run).await.unwrap();
    assert_eq!(harness.emulator.requests().len(), before);
}

#[tokio::test]
async fn deleting_unknown_and_expired_runs_succeeds() {
    let harness = Harness::start().await;
    harness.connector.delete(call(), meta(&harness.emulator.http_url(), "12345")).await.unwrap();
    // Databricks removes runs after 60 days; later calls report that they do not exist.
    let expired = harness.started(active()).await;
    harness.emulator.delete_run(harness.emulator.runs()[0].run_id);
    harness.connector.delete(call(), expired).await.unwrap();
}

#[tokio::test]
async fn rejected_cancel_succeeds_only_if_the_run_has_ended() {
    let harness = Harness::start().await;
    let rejected = CannedResponse::json(
        400,
        r#"{"error_code": "INVALID_STATE", "message": "the run cannot be cancelled"}"#,
    );
    let still_active = harness.started(active()).await;
    harness.emulator.answer_next(Endpoint::CancelRun, rejected.clone(), 1);
    let error = harness.connector.delete(call(), still_active).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTask);

    let harness = Harness::start().await;
    let ended =
        harness.started(Script { pace: Pace::Elapsed(Duration::ZERO), ..Script::default() }).await;
    harness.emulator.answer_next(Endpoint::CancelRun, rejected, 1);
    harness.connector.delete(call(), ended).await.unwrap();
}

#[tokio::test]
async fn rejected_credential_is_replaced_by_the_connectors_own() {
    let harness = Harness::start().await;
    let run = harness.started(active()).await;
    harness.connector.delete(with_token("dapi-revoked"), run).await.unwrap();
    assert!(harness.emulator.runs()[0].cancelled);
}

#[tokio::test]
async fn failed_cancel_with_the_own_credential_does_not_reveal_the_rejected_one() {
    let harness = Harness::start().await;
    let run = harness.started(active()).await;
    let (rejected, echo) =
        (r#"{"error_code": "PERMISSION_DENIED"}"#, r#"{"message": "not dapi-revoked"}"#);
    harness.emulator.answer_next(Endpoint::CancelRun, CannedResponse::json(403, rejected), 1);
    harness.emulator.answer_next(Endpoint::CancelRun, CannedResponse::json(400, echo), 1);
    let error = harness.connector.delete(with_token("dapi-revoked"), run).await.unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("not [redacted]") && !text.contains("dapi-revoked"), "{text}");
}

#[tokio::test]
async fn rejected_credentials_are_an_error_until_the_grace_period_expires() {
    let without_own = |grace_period: Duration| {
        move |config: Config| Config {
            access_token: None,
            refusal_patience: grace_period,
            ..config
        }
    };
    let harness = Harness::with(without_own(Duration::from_mins(15))).await;
    let run = meta(&harness.emulator.http_url(), "12345");
    let error =
        harness.connector.delete(with_token("dapi-revoked"), run.clone()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unauthenticated | ErrorKind::Forbidden), "{error:?}");
    let error = harness.connector.delete(call(), run.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);

    let harness = Harness::with(without_own(Duration::ZERO)).await;
    let run = meta(&harness.emulator.http_url(), "12345");
    harness.connector.delete(with_token("dapi-revoked"), run.clone()).await.unwrap();
    harness.connector.delete(call(), run).await.unwrap();
}

#[tokio::test]
async fn run_of_a_failed_task_that_may_be_active_is_cancelled() {
    let harness =
        Harness::with(|config| Config { refusal_patience: Duration::ZERO, ..config }).await;
    let run = harness.started(active()).await;
    let resource = harness.connector.get(with_token("dapi-revoked"), run.clone()).await.unwrap();
    assert_eq!(resource.phase, Phase::Failed, "{}", resource.message);
    harness.connector.delete(with_token("dapi-revoked"), run).await.unwrap();
    assert!(harness.emulator.runs()[0].cancelled, "it is still active and costs money");
}

#[tokio::test]
async fn delete_of_a_failed_task_succeeds_although_the_workspace_is_unreachable() {
    let run = meta("http://127.0.0.1:1", "12345");
    let unreachable = |config: Config| Config {
        instance: Some("http://127.0.0.1:1".to_owned()),
        unreachable_patience: Some(Duration::ZERO),
        ..config
    };
    let harness = Harness::with(unreachable).await;
    let short = || call_within(Duration::from_millis(300));
    let error = harness.connector.delete(short(), run.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let resource = harness.connector.get(short(), run.clone()).await.unwrap();
    assert_eq!(resource.phase, Phase::Failed, "{}", resource.message);
    harness.connector.delete(short(), run).await.unwrap();
}

#[tokio::test]
async fn disallowed_host_is_never_called() {
    let harness = Harness::start().await;
    let before = harness.emulator.requests().len();
    let error = harness
        .connector
        .delete(call(), meta(&harness.emulator.https_host(), "1"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert_eq!(harness.emulator.requests().len(), before);
}

#[tokio::test]
async fn delete_at_a_disallowed_host_succeeds_after_the_grace_period() {
    let harness =
        Harness::with(|config| Config { refusal_patience: Duration::ZERO, ..config }).await;
    let before = harness.emulator.requests().len();
    harness.connector.delete(call(), meta(&harness.emulator.https_host(), "1")).await.unwrap();
    assert_eq!(harness.emulator.requests().len(), before);
}
