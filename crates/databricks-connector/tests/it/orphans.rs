//! Orphaned runs: those of earlier attempts and of abandoned submissions.

use connector_core::{Connector, CreateContext};
use databricks_emulator::{Calls, CannedResponse, Endpoint, Fault, FaultPlan, FaultRule, When};
use serde_json::json;

use crate::harness::{Harness, stored};

/// Returns the first and the second attempt of the same action.
fn attempts(harness: &Harness, conf: &serde_json::Value) -> [CreateContext; 2] {
    let first = harness.request("40_executor_first_attempt", conf.clone());
    let mut second = first.clone();
    second.execution.task_execution_id.as_mut().unwrap().retry_attempt = 1;
    second.output_prefix = format!("{}/2", first.output_prefix.strip_suffix("/1").unwrap());
    [first, second]
}

/// Whether each run was cancelled, in submission order.
fn cancelled(harness: &Harness) -> Vec<bool> {
    harness.emulator.runs().iter().map(|run| run.cancelled).collect()
}

#[tokio::test]
async fn next_attempt_cancels_active_runs_of_earlier_attempts() {
    for conf in [json!({}), json!({"run_name": "nightly"})] {
        let harness = Harness::start().await;
        let [first, second] = attempts(&harness, &conf);
        harness.connector.create(first.clone()).await.unwrap();
        harness.connector.create(second.clone()).await.unwrap();
        // The first attempt has no earlier ones.
        harness.connector.cancel_earlier_attempts(first).await.unwrap();
        assert_eq!(cancelled(&harness), [false, false], "{conf}");
        // Its own run is not cancelled.
        harness.connector.cancel_earlier_attempts(second).await.unwrap();
        assert_eq!(cancelled(&harness), [true, false], "{conf}");
    }
}

#[tokio::test]
async fn runs_of_other_actions_and_installations_are_not_cancelled() {
    let harness = Harness::start().await;
    let [first, second] = attempts(&harness, &json!({}));
    let mut action = first.clone();
    action.execution.environment_variables.insert("ACTION_NAME".to_owned(), "a7".to_owned());
    let mut installation = first;
    installation.output_prefix = installation.output_prefix.replacen("s3://", "s3://other-", 1);
    harness.connector.create(action).await.unwrap();
    harness.connector.create(installation).await.unwrap();
    harness.connector.create(second.clone()).await.unwrap();
    harness.connector.cancel_earlier_attempts(second).await.unwrap();
    assert_eq!(cancelled(&harness), [false, false, false]);
}

#[tokio::test]
async fn failed_search_for_earlier_runs_is_an_error_and_can_be_repeated() {
    let harness = Harness::start().await;
    let [first, second] = attempts(&harness, &json!({}));
    harness.connector.create(first).await.unwrap();
    harness.emulator.answer_next(Endpoint::ListRuns, CannedResponse::json(403, "{}"), 1);
    harness.connector.cancel_earlier_attempts(second.clone()).await.unwrap_err();
    assert_eq!(cancelled(&harness), [false]);
    harness.connector.cancel_earlier_attempts(second).await.unwrap();
    assert_eq!(cancelled(&harness), [true]);
}

#[tokio::test]
async fn failed_cancel_does_not_keep_other_orphans_alive() {
    let harness = Harness::start().await;
    let [first, second] = attempts(&harness, &json!({}));
    for abandoned in 0..3 {
        harness.connector.create(first.clone().with_abandoned_creates(abandoned)).await.unwrap();
    }
    // The search returns the latest run first.
    let uncancellable = harness.emulator.runs()[2].run_id;
    harness.emulator.inject(FaultRule::on_calls(
        Calls::to([Endpoint::CancelRun]).of_run(uncancellable),
        When::Always(Fault::Answer(CannedResponse::json(403, "{}"))),
    ));
    harness.connector.cancel_earlier_attempts(second.clone()).await.unwrap_err();
    assert_eq!(cancelled(&harness), [true, true, false]);
    harness.emulator.set_faults(FaultPlan::default());
    harness.connector.cancel_earlier_attempts(second).await.unwrap();
    assert_eq!(cancelled(&harness), [true, true, true]);
}

#[tokio::test]
async fn abandoned_run_is_cancelled_and_not_returned_again() {
    let harness = Harness::start().await;
    let [first, _] = attempts(&harness, &json!({}));
    let meta = harness.connector.create(first.clone()).await.unwrap();
    harness.connector.cancel_abandoned(first.clone(), Some(meta.clone())).await.unwrap();
    assert_eq!(cancelled(&harness), [true]);
    let again = first.with_abandoned_creates(1);
    assert_ne!(stored(&harness.connector.create(again).await.unwrap()), stored(&meta));
}

#[tokio::test]
async fn unanswered_submission_is_found_and_cancelled() {
    let harness = Harness::start().await;
    let [first, _] = attempts(&harness, &json!({}));
    harness.connector.create(first.clone()).await.unwrap();
    harness.connector.cancel_abandoned(first.clone(), None).await.unwrap();
    assert_eq!(cancelled(&harness), [true]);
    // Nothing is left to find; a request without an execution cannot be identified.
    harness.connector.cancel_abandoned(first.clone(), None).await.unwrap();
    let mut unnamed = first;
    unnamed.execution = flyteidl2::connector::TaskExecutionMetadata::default();
    harness.connector.cancel_abandoned(unnamed, None).await.unwrap();
}

#[tokio::test]
async fn search_for_an_abandoned_run_does_not_cancel_its_replacement() {
    for conf in [json!({}), json!({"run_name": "nightly"})] {
        let harness = Harness::start().await;
        let [first, second] = attempts(&harness, &conf);
        harness.connector.create(first.clone()).await.unwrap();
        // Flyte requested the same attempt again after it was abandoned, and got another run.
        let again = first.clone().with_abandoned_creates(1);
        harness.connector.create(again.clone()).await.unwrap();
        harness.connector.cancel_abandoned(first, None).await.unwrap();
        assert_eq!(cancelled(&harness), [true, false], "{conf}");
        harness.connector.cancel_abandoned(again, None).await.unwrap();
        assert_eq!(cancelled(&harness), [true, true], "{conf}");
        // The next attempt finds all that are left.
        let third = attempts(&harness, &conf)[0].clone().with_abandoned_creates(2);
        harness.connector.create(third).await.unwrap();
        harness.connector.cancel_earlier_attempts(second).await.unwrap();
        assert_eq!(cancelled(&harness), [true, true, true], "{conf}");
    }
}

#[tokio::test]
async fn error_says_whether_the_run_may_have_started() {
    for (status, may_have_started) in [(403, false), (400, false), (503, true)] {
        let harness = Harness::start().await;
        let [mut first, _] = attempts(&harness, &json!({}));
        first.deadline = Some(std::time::Instant::now() + std::time::Duration::from_millis(600));
        harness.emulator.answer_next(Endpoint::SubmitRun, CannedResponse::json(status, "{}"), 10);
        let error = harness.connector.create(first).await.unwrap_err();
        assert_eq!(error.may_have_started(), may_have_started, "{status}: {error:?}");
    }
}
