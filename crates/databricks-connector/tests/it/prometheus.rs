//! The Prometheus metrics that the connector registers.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use connector_core::{Connector, Phase};
use databricks_connector::Config;
use databricks_emulator::{Pace, Script};
use serde_json::json;

use crate::harness::{Harness, call, meta, with_token};

/// Sum of the matching series; 0 if there are none. For histograms, the number of observations.
fn value(harness: &Harness, name: &str, labels: &[(&str, &str)]) -> f64 {
    let name = format!("flyte_connector_databricks_{name}");
    let is_match = |series: &str| {
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        let suffix = found.strip_prefix(&name);
        suffix.is_some_and(|suffix| ["", "_total", "_count"].contains(&suffix))
            && labels.iter().all(|(name, value)| rest.contains(&format!("{name}=\"{value}\"")))
    };
    let text = harness.scrape();
    let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    samples
        .filter(|(series, _)| is_match(series))
        .map(|(_, value)| value.parse::<f64>().unwrap())
        .sum()
}

#[track_caller]
fn assert_value(harness: &Harness, name: &str, labels: &[(&str, &str)], wanted: f64) {
    let found = value(harness, name, labels);
    assert!((found - wanted).abs() < f64::EPSILON, "{name} {labels:?} is {found}, not {wanted}");
}

fn endless() -> Script {
    Script { pace: Pace::PerPoll(1_000), ..Script::default() }
}

#[tokio::test]
async fn families_are_exported_with_their_types_once_they_have_series() {
    let harness = Harness::start().await;
    let run = harness.started(Script { pace: Pace::PerPoll(1), ..Script::default() }).await;
    harness.end_of(&run).await;
    let text = harness.scrape();
    let prefix = "# TYPE flyte_connector_databricks_";
    let mut families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(prefix)).collect();
    families.sort_unstable();
    let expected = [
        "breaker_open gauge",
        "breaker_refused counter",
        "budget_per_second gauge",
        "budget_wait_seconds counter",
        "budget_waits counter",
        "calls_in_flight gauge",
        "cancels_given_up counter",
        "orphans_cancelled counter",
        "request_seconds counter",
        "requests counter",
        "retries counter",
        "run_duration_seconds histogram",
        "runs gauge",
        "submit_to_running_seconds histogram",
        "token_refreshes counter",
        "unchecked_successes counter",
    ];
    // These need a rejection, a wait for the rate limit, a retry, or a token that is fetched.
    let optional = ["breaker_refused", "budget_wait", "retries", "token_refreshes"];
    let is_optional = |family: &str| optional.iter().any(|name| family.starts_with(name));
    for family in &families {
        assert!(expected.contains(family), "{family}");
    }
    for family in expected.into_iter().filter(|family| !is_optional(family)) {
        assert!(families.contains(&family), "{family} is not in {families:?}");
    }
}

#[tokio::test]
async fn cancelled_orphans_are_counted_by_cause() {
    let harness = Harness::start().await;
    let first = harness.request("40_executor_first_attempt", json!({}));
    let mut second = first.clone();
    second.execution.task_execution_id.as_mut().unwrap().retry_attempt = 1;
    second.output_prefix.push_str("-2");
    harness.connector.create(first.clone()).await.unwrap();
    for _ in 0..2 {
        harness.connector.cancel_earlier_attempts(second.clone()).await.unwrap();
    }
    assert_value(&harness, "orphans_cancelled", &[("cause", "earlier_attempt")], 1.0);

    // With resource meta, and without.
    let meta = harness.connector.create(second.clone()).await.unwrap();
    harness.connector.cancel_abandoned(second.clone(), Some(meta.clone())).await.unwrap();
    let third = second.with_abandoned_creates(1);
    harness.connector.create(third.clone()).await.unwrap();
    harness.connector.cancel_abandoned(third, None).await.unwrap();
    assert_value(&harness, "orphans_cancelled", &[("cause", "abandoned")], 2.0);
    assert_value(&harness, "orphans_cancelled", &[("cause", "earlier_attempt")], 1.0);
    // A run that Flyte deletes is not an orphan.
    let run = harness.started(endless()).await;
    harness.connector.delete(call(), run).await.unwrap();
    assert_value(&harness, "orphans_cancelled", &[], 3.0);
}

#[tokio::test]
async fn unconfirmed_cancel_is_counted() {
    let without_patience =
        |config: Config| Config { access_token: None, refusal_patience: Duration::ZERO, ..config };
    let harness = Harness::with(without_patience).await;
    assert_value(&harness, "cancels_given_up", &[], 0.0);
    let run = meta(&harness.emulator.http_url(), "12345");
    harness.connector.delete(with_token("dapi-revoked"), run).await.unwrap();
    assert_value(&harness, "cancels_given_up", &[], 1.0);
}

#[tokio::test]
async fn terminated_run_is_counted_once_across_polls() {
    let harness = Harness::start().await;
    let run = harness.started(Script { pace: Pace::PerPoll(1), ..Script::default() }).await;
    harness.end_of(&run).await;
    let phase = harness.get(&run).await.phase.as_str();
    let host = harness.emulator.http_url();
    let labels = [("phase", phase), ("workspace", host.as_str())];
    assert_value(&harness, "run_duration_seconds", &labels, 1.0);
    assert_value(&harness, "run_duration_seconds", &[], 1.0);
    assert_value(&harness, "submit_to_running_seconds", &labels[1..], 1.0);
}

#[tokio::test]
async fn run_is_in_phase_gauge_until_deleted() {
    let harness = Harness::start().await;
    let run = harness.started(endless()).await;
    assert_eq!(harness.get(&run).await.phase, Phase::WaitingForResources);
    assert_value(&harness, "runs", &[("phase", "WaitingForResources")], 1.0);
    harness.connector.delete(call(), run).await.unwrap();
    assert_value(&harness, "runs", &[], 0.0);
}

#[tokio::test]
async fn failed_token_refresh_is_counted() {
    let harness = Harness::with(|config| Config {
        access_token: None,
        access_token_file: Some(PathBuf::from("/nowhere/token")),
        ..config
    })
    .await;
    let mut request = harness.request("40_executor_first_attempt", json!({}));
    // The client retries until the deadline.
    request.deadline = Some(Instant::now() + Duration::from_millis(500));
    harness.connector.create(request).await.unwrap_err();
    let failed = value(&harness, "token_refreshes", &[("kind", "pat"), ("outcome", "failed")]);
    assert!(failed >= 1.0, "{failed}");
    assert_value(&harness, "token_refreshes", &[("outcome", "ok")], 0.0);
}
