use std::{collections::BTreeMap, time::Duration};

use connector_core::{Connector, ErrorKind, LogsRequest, MetricsRequest};
use databricks_connector::{Config, RunMeta};
use databricks_emulator::{CannedResponse, Endpoint, Outcome, Pace, Script};
use serde_json::json;

use crate::harness::{Harness, TOKEN, call, with_token};

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
async fn call_without_connection_uses_the_credential_last_used_for_the_run() {
    let harness = Harness::with(|config| Config { access_token: None, ..config }).await;
    let mut cx = harness.request("40_executor_first_attempt", json!({}));
    cx.connection = with_token(TOKEN).connection;
    let run = harness.connector.create(cx).await.unwrap();
    harness.connector.get_logs(call(), run.clone(), LogsRequest::default()).await.unwrap();
    harness.connector.get_metrics(call(), run.clone(), MetricsRequest::default()).await.unwrap();

    // Another process does not know it.
    let other = Harness::with(|config| Config {
        access_token: None,
        instance: Some(harness.emulator.http_url()),
        ..config
    })
    .await;
    let error = other.connector.get_logs(call(), run, LogsRequest::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
}

#[tokio::test]
async fn unknown_metric_is_rejected_with_the_known_ones() {
    let harness = Harness::start().await;
    let run = harness.started(script()).await;
    let request = MetricsRequest::new(vec!["nope".to_owned()]);
    let error = harness.connector.get_metrics(call(), run, request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.hint().unwrap().contains("databricks_run_duration_seconds"));
}

/// Returns the last value of every series of the run, by name and labels.
async fn last_values(harness: &Harness, run: &RunMeta, names: &[&str]) -> BTreeMap<String, String> {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let request = MetricsRequest::new(names);
    let metrics = harness.connector.get_metrics(call(), run.clone(), request).await.unwrap();
    let mut values = BTreeMap::new();
    for metric in metrics {
        for series in metric.series {
            let labels: Vec<&str> = series.labels.values().map(String::as_str).collect();
            let name = [&[metric.name.as_str()], labels.as_slice()].concat().join(" ");
            values.insert(name, series.samples.last().unwrap().value.to_string());
        }
    }
    values
}

#[tokio::test]
async fn series_follow_the_run_and_remain_after_its_end() {
    let harness = Harness::start().await;
    let run = harness.started(script()).await;
    let names = ["databricks_run_tasks", "databricks_task_attempts", "databricks_cluster_workers"];
    let mut seen = Vec::new();
    for _ in 0..4 {
        let values = last_values(&harness, &run, &names).await;
        let states = ["waiting", "preparing", "running", "failed"];
        let state = states
            .into_iter()
            .find(|state| values[&format!("databricks_run_tasks {state}")] == "1");
        let workers =
            values.iter().find(|(name, _)| name.starts_with("databricks_cluster_workers"));
        seen.push((state.unwrap(), workers.map(|(_, workers)| workers.clone())));
    }
    let zero = Some("0".to_owned());
    assert_eq!(
        seen,
        [
            ("waiting", None),
            ("preparing", zero.clone()),
            ("running", Some("1".to_owned())),
            ("failed", zero),
        ]
    );
    let everything = last_values(&harness, &run, &[]).await;
    let of_task = |metric: &str| everything.keys().any(|name| name.starts_with(metric));
    for metric in ["attempts", "setup_duration_seconds 1", "execution_duration_seconds 1"] {
        let metric = format!("databricks_task_{metric} ");
        assert!(of_task(&metric), "{metric} is not in {everything:?}");
    }
}

#[tokio::test]
async fn unreadable_cluster_is_omitted_unless_its_metric_is_requested() {
    let harness = Harness::start().await;
    let run = harness.started(script()).await;
    for _ in 0..2 {
        harness.get(&run).await;
    }
    let refused =
        CannedResponse::json(403, r#"{"error_code": "PERMISSION_DENIED", "message": "no"}"#);
    harness.emulator.answer_next(Endpoint::ListClusterEvents, refused, 2);
    let values = last_values(&harness, &run, &[]).await;
    assert!(values.keys().all(|name| !name.starts_with("databricks_cluster")), "{values:?}");
    assert!(values.contains_key("databricks_run_duration_seconds"));
    let names = vec!["databricks_cluster_workers".to_owned()];
    let request = MetricsRequest::new(names);
    let error = harness.connector.get_metrics(call(), run, request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn invalid_step_is_rejected_before_any_request() {
    let harness = Harness::start().await;
    let run = harness.started(script()).await;
    let before = harness.emulator.requests().len();
    let request = MetricsRequest::default().with_step(Some(Duration::ZERO));
    let error = harness.connector.get_metrics(call(), run, request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert_eq!(harness.emulator.requests().len(), before);
}
