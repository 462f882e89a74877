//! Runs that belong to nobody.

use connector_core::{Connector, CreateContext};
use databricks_emulator::{Calls, CannedResponse, Endpoint, Fault, FaultPlan, FaultRule, When};
use serde_json::json;

use crate::setup::{World, stored};

/// The first and the second attempt of the same action, in this workspace.
fn attempts(world: &World, conf: &serde_json::Value) -> [CreateContext; 2] {
    let first = world.request("40_executor_first_attempt", conf.clone());
    let mut second = first.clone();
    second.execution.task_execution_id.as_mut().unwrap().retry_attempt = 1;
    second.output_prefix = format!("{}/2", first.output_prefix.strip_suffix("/1").unwrap());
    [first, second]
}

/// The ids of runs that were asked to end, in the order of the runs.
fn cancelled(world: &World) -> Vec<bool> {
    world.emulator.runs().iter().map(|run| run.cancelled).collect()
}

#[tokio::test]
async fn the_next_attempt_cancels_what_an_earlier_one_left_alive() {
    for conf in [json!({}), json!({"run_name": "nightly"})] {
        let world = World::start().await;
        let [first, second] = attempts(&world, &conf);
        world.connector.create(first.clone()).await.unwrap();
        world.connector.create(second.clone()).await.unwrap();
        // A first attempt has none before it, and looks for none.
        world.connector.cancel_earlier_attempts(first).await.unwrap();
        assert_eq!(cancelled(&world), [false, false], "{conf}");
        // Its own run is left alone.
        world.connector.cancel_earlier_attempts(second).await.unwrap();
        assert_eq!(cancelled(&world), [true, false], "{conf}");
    }
}

#[tokio::test]
async fn runs_of_other_actions_and_other_installations_are_left_alone() {
    let world = World::start().await;
    let [first, second] = attempts(&world, &json!({}));
    let mut action = first.clone();
    action.execution.environment_variables.insert("ACTION_NAME".to_owned(), "a7".to_owned());
    let mut installation = first;
    installation.output_prefix = installation.output_prefix.replacen("s3://", "s3://other-", 1);
    world.connector.create(action).await.unwrap();
    world.connector.create(installation).await.unwrap();
    world.connector.create(second.clone()).await.unwrap();
    world.connector.cancel_earlier_attempts(second).await.unwrap();
    assert_eq!(cancelled(&world), [false, false, false]);
}

#[tokio::test]
async fn a_look_for_earlier_runs_that_failed_says_so_and_can_be_repeated() {
    let world = World::start().await;
    let [first, second] = attempts(&world, &json!({}));
    world.connector.create(first).await.unwrap();
    world.emulator.answer_next(Endpoint::ListRuns, CannedResponse::json(403, "{}"), 1);
    world.connector.cancel_earlier_attempts(second.clone()).await.unwrap_err();
    assert_eq!(cancelled(&world), [false]);
    world.connector.cancel_earlier_attempts(second).await.unwrap();
    assert_eq!(cancelled(&world), [true]);
}

#[tokio::test]
async fn a_run_that_cannot_be_cancelled_shields_no_other() {
    let world = World::start().await;
    let [first, second] = attempts(&world, &json!({}));
    for abandoned in 0..3 {
        world.connector.create(first.clone().with_abandoned_creates(abandoned)).await.unwrap();
    }
    // The latest is the first that is found.
    let shield = world.emulator.runs()[2].run_id;
    world.emulator.inject(FaultRule::on_calls(
        Calls::to([Endpoint::CancelRun]).of_run(shield),
        When::Always(Fault::Answer(CannedResponse::json(403, "{}"))),
    ));
    world.connector.cancel_earlier_attempts(second.clone()).await.unwrap_err();
    assert_eq!(cancelled(&world), [true, true, false]);
    world.emulator.set_faults(FaultPlan::default());
    world.connector.cancel_earlier_attempts(second).await.unwrap();
    assert_eq!(cancelled(&world), [true, true, true]);
}

#[tokio::test]
async fn a_run_that_came_too_late_is_cancelled_and_does_not_come_back() {
    let world = World::start().await;
    let [first, _] = attempts(&world, &json!({}));
    let meta = world.connector.create(first.clone()).await.unwrap();
    world.connector.cancel_abandoned(first.clone(), Some(meta.clone())).await.unwrap();
    assert_eq!(cancelled(&world), [true]);
    let again = first.with_abandoned_creates(1);
    assert_ne!(stored(&world.connector.create(again).await.unwrap()), stored(&meta));
}

#[tokio::test]
async fn a_submission_that_was_never_answered_is_found_and_cancelled() {
    let world = World::start().await;
    let [first, _] = attempts(&world, &json!({}));
    world.connector.create(first.clone()).await.unwrap();
    world.connector.cancel_abandoned(first.clone(), None).await.unwrap();
    assert_eq!(cancelled(&world), [true]);
    // Nothing is left to find, and a request without an execution cannot be told from others.
    world.connector.cancel_abandoned(first.clone(), None).await.unwrap();
    let mut unnamed = first;
    unnamed.execution = flyteidl2::connector::TaskExecutionMetadata::default();
    world.connector.cancel_abandoned(unnamed, None).await.unwrap();
}

#[tokio::test]
async fn a_late_look_for_a_lost_run_leaves_the_one_that_took_its_place() {
    for conf in [json!({}), json!({"run_name": "nightly"})] {
        let world = World::start().await;
        let [first, second] = attempts(&world, &conf);
        world.connector.create(first.clone()).await.unwrap();
        // Flyte asked for the same attempt again after it had been given up, and got another run.
        let again = first.clone().with_abandoned_creates(1);
        world.connector.create(again.clone()).await.unwrap();
        world.connector.cancel_abandoned(first, None).await.unwrap();
        assert_eq!(cancelled(&world), [true, false], "{conf}");
        world.connector.cancel_abandoned(again, None).await.unwrap();
        assert_eq!(cancelled(&world), [true, true], "{conf}");
        // The next attempt finds whichever is left.
        let third = attempts(&world, &conf)[0].clone().with_abandoned_creates(2);
        world.connector.create(third).await.unwrap();
        world.connector.cancel_earlier_attempts(second).await.unwrap();
        assert_eq!(cancelled(&world), [true, true, true], "{conf}");
    }
}

#[tokio::test]
async fn an_error_says_whether_the_run_may_have_been_started() {
    for (status, may_have_started) in [(403, false), (400, false), (503, true)] {
        let world = World::start().await;
        let [mut first, _] = attempts(&world, &json!({}));
        first.deadline = Some(std::time::Instant::now() + std::time::Duration::from_millis(600));
        world.emulator.answer_next(Endpoint::SubmitRun, CannedResponse::json(status, "{}"), 10);
        let error = world.connector.create(first).await.unwrap_err();
        assert_eq!(error.may_have_started(), may_have_started, "{status}: {error:?}");
    }
}
