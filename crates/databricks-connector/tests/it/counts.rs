//! What the connector counts of its runs and its tokens.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use connector_core::{Connector, Phase};
use databricks_connector::Config;
use databricks_emulator::{Pace, Script};
use serde_json::json;

use crate::setup::{World, call, meta, with_token};

/// Sum of the matching series; 0 if there are none. For histograms, the number of observations.
fn told(world: &World, name: &str, labels: &[(&str, &str)]) -> f64 {
    let name = format!("flyte_connector_databricks_{name}");
    let is_match = |series: &str| {
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        let suffix = found.strip_prefix(&name);
        suffix.is_some_and(|suffix| ["", "_total", "_count"].contains(&suffix))
            && labels.iter().all(|(name, value)| rest.contains(&format!("{name}=\"{value}\"")))
    };
    let text = world.scrape();
    let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    samples
        .filter(|(series, _)| is_match(series))
        .map(|(_, value)| value.parse::<f64>().unwrap())
        .sum()
}

#[track_caller]
fn assert_told(world: &World, name: &str, labels: &[(&str, &str)], wanted: f64) {
    let found = told(world, name, labels);
    assert!((found - wanted).abs() < f64::EPSILON, "{name} {labels:?} is {found}, not {wanted}");
}

fn endless() -> Script {
    Script { pace: Pace::PerPoll(1_000), ..Script::default() }
}

#[tokio::test]
async fn every_orphan_that_is_cancelled_is_counted_by_its_cause() {
    let world = World::start().await;
    let first = world.request("40_executor_first_attempt", json!({}));
    let mut second = first.clone();
    second.execution.task_execution_id.as_mut().unwrap().retry_attempt = 1;
    second.output_prefix.push_str("-2");
    world.connector.create(first.clone()).await.unwrap();
    for _ in 0..2 {
        world.connector.cancel_earlier_attempts(second.clone()).await.unwrap();
    }
    assert_told(&world, "orphans_cancelled", &[("cause", "earlier_attempt")], 1.0);

    // With its meta, and without.
    let meta = world.connector.create(second.clone()).await.unwrap();
    world.connector.cancel_abandoned(second.clone(), Some(meta.clone())).await.unwrap();
    let third = second.with_abandoned_creates(1);
    world.connector.create(third.clone()).await.unwrap();
    world.connector.cancel_abandoned(third, None).await.unwrap();
    assert_told(&world, "orphans_cancelled", &[("cause", "abandoned")], 2.0);
    assert_told(&world, "orphans_cancelled", &[("cause", "earlier_attempt")], 1.0);
    // What Flyte itself deletes is nobody's orphan.
    let run = world.started(endless()).await;
    world.connector.delete(call(), run).await.unwrap();
    assert_told(&world, "orphans_cancelled", &[], 3.0);
}

#[tokio::test]
async fn a_cancel_that_is_given_up_is_counted() {
    let without_patience =
        |config: Config| Config { access_token: None, refusal_patience: Duration::ZERO, ..config };
    let world = World::with(without_patience).await;
    assert_told(&world, "cancels_given_up", &[], 0.0);
    let run = meta(&world.emulator.http_url(), "12345");
    world.connector.delete(with_token("dapi-revoked"), run).await.unwrap();
    assert_told(&world, "cancels_given_up", &[], 1.0);
}

#[tokio::test]
async fn an_ended_run_is_counted_once_however_often_it_is_asked_for() {
    let world = World::start().await;
    let run = world.started(Script { pace: Pace::PerPoll(1), ..Script::default() }).await;
    while !world.get(&run).await.phase.is_terminal() {}
    let phase = format!("{:?}", world.get(&run).await.phase);
    let host = world.emulator.http_url();
    let labels = [("phase", phase.as_str()), ("workspace", host.as_str())];
    assert_told(&world, "run_duration_seconds", &labels, 1.0);
    assert_told(&world, "run_duration_seconds", &[], 1.0);
    assert_told(&world, "submit_to_running_seconds", &labels[1..], 1.0);
}

#[tokio::test]
async fn a_run_is_in_its_phase_until_it_is_deleted() {
    let world = World::start().await;
    let run = world.started(endless()).await;
    assert_eq!(world.get(&run).await.phase, Phase::WaitingForResources);
    assert_told(&world, "runs", &[("phase", "WaitingForResources")], 1.0);
    world.connector.delete(call(), run).await.unwrap();
    assert_told(&world, "runs", &[], 0.0);
}

#[tokio::test]
async fn a_token_that_cannot_be_had_is_counted_as_a_failure() {
    let world = World::with(|config| Config {
        access_token: None,
        access_token_file: Some(PathBuf::from("/nowhere/token")),
        ..config
    })
    .await;
    let mut request = world.request("40_executor_first_attempt", json!({}));
    // It is tried again while there is time.
    request.deadline = Some(Instant::now() + Duration::from_millis(500));
    world.connector.create(request).await.unwrap_err();
    let failed = told(&world, "token_refreshes", &[("kind", "pat"), ("outcome", "failed")]);
    assert!(failed >= 1.0, "{failed}");
    assert_told(&world, "token_refreshes", &[("outcome", "ok")], 0.0);
}
