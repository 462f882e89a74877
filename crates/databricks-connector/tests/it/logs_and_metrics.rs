use connector_core::{Connector, ErrorKind, LogsRequest, MetricsRequest};
use databricks_connector::Config;
use databricks_emulator::{Outcome, Pace, Script};
use serde_json::json;

use crate::setup::{TOKEN, World, call, with_token};

fn script() -> Script {
    Script {
        pace: Pace::PerPoll(1),
        outcome: Outcome::Failed {
            error: "ValueError".to_owned(),
            error_trace: "trace".to_owned(),
        },
        logs: "one\ntwo\n".to_owned(),
        ..Script::default()
    }
}

#[tokio::test]
async fn a_call_without_a_connection_uses_the_credential_last_seen_for_the_run() {
    let world = World::with(|config| Config { access_token: None, ..config }).await;
    let mut cx = world.request("40_executor_first_attempt", json!({}));
    cx.connection = with_token(TOKEN).connection;
    let run = world.connector.create(cx).await.unwrap();
    world.connector.logs(call(), run.clone(), LogsRequest::default()).await.unwrap();
    world.connector.metrics(call(), run.clone(), MetricsRequest::default()).await.unwrap();

    // Another process has not seen it.
    let stranger = World::with(|config| Config {
        access_token: None,
        instance: Some(world.emulator.http_url()),
        ..config
    })
    .await;
    let error = stranger.connector.logs(call(), run, LogsRequest::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
}

#[tokio::test]
async fn an_unknown_metric_is_refused_with_the_known_ones() {
    let world = World::start().await;
    let run = world.started(script()).await;
    let request = MetricsRequest { names: vec!["nope".to_owned()], ..MetricsRequest::default() };
    let error = world.connector.metrics(call(), run, request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.hint().unwrap().contains("databricks_run_duration_seconds"));
}
