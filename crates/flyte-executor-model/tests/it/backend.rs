//! The traces of a whole Flyte 2 backend (flyte-contract.md#observed-backend).

use crate::scripted::{Stage, errors, fault, linked, response};
use flyte_executor_model::{
    End, ErrorClass, Event, ExecutorSettings, Outputs, Phase, Task, TaskStatus, launch_error,
};
use flyteidl2::core::{TaskTemplate, task_execution::Phase as Wire};
use prost_types::{Struct, Value, value};
use std::collections::BTreeMap;
use std::time::Duration;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn with_secret(name: value::Kind) -> TaskTemplate {
    let of =
        |key: &str, kind| Struct { fields: [(key.to_owned(), Value { kind: Some(kind) })].into() };
    let secrets = value::Kind::StructValue(of("databricks_token", name));
    TaskTemplate { custom: Some(of("secrets", secrets)), ..TaskTemplate::default() }
}

#[test]
fn task_with_a_secret_fails_before_any_call() {
    let labels: BTreeMap<String, String> =
        [("organization", "flyte"), ("domain", "development"), ("project", "flytesnacks")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    let named = with_secret(value::Kind::StringValue("TOKEN".to_owned()));
    let said = launch_error(&named, &labels).unwrap();
    assert!(said.contains("executor's no-op secret manager"), "{said}");
    assert!(
        said.ends_with("\"u__org__flyte__domain__development__project__flytesnacks__key__TOKEN\"")
    );
    // `None` in Python becomes null, which fails too.
    let null = with_secret(value::Kind::NullValue(0));
    assert!(launch_error(&null, &labels).unwrap().ends_with("__key__\""));
    let none = TaskTemplate { custom: Some(Struct::default()), ..TaskTemplate::default() };
    assert_eq!(launch_error(&none, &labels), None);
}

#[test]
fn unavailable_connector_fails_a_task_without_retries() {
    let mut stage = Stage::new(0, vec![response(Wire::Running, "")]);
    stage.create_faults = vec![fault("connection refused")];
    stage.run_to_collection();
    assert_eq!(stage.names(), ["create 0"]);
    assert!(stage.failure().2.ends_with("desc = connection refused"));
}

#[test]
fn retryable_failure_is_deleted_and_created_again_immediately() {
    let gets = vec![response(Wire::RetryableFailed, "spot loss"), response(Wire::Succeeded, "")];
    let mut stage = Stage::new(2, gets);
    stage.run_to_collection();
    assert_eq!(stage.names(), ["create 0", "get 0", "delete 0", "create 1", "get 1", "delete 1"]);
    let (deleted, created) = (stage.calls[2].0, stage.calls[3].0);
    assert!(created < deleted + seconds(1));
    assert_eq!(stage.task.end(), Some(&End::Success));
}

#[test]
fn retryable_failure_of_the_last_attempt_is_permanent() {
    let mut stage = Stage::new(1, vec![response(Wire::RetryableFailed, "spot loss")]);
    stage.run_to_collection();
    assert_eq!(stage.count("create"), 2);
    assert_eq!(stage.failure().2, "failed to run the job: spot loss");
}

#[test]
fn permanent_failure_is_not_retried() {
    for phase in [Wire::Failed, Wire::Aborted] {
        let mut stage = Stage::new(2, vec![response(phase, "no")]);
        stage.run_to_collection();
        assert_eq!(stage.names(), ["create 0", "get 0", "delete 0"]);
    }
}

#[test]
fn each_failed_create_uses_one_attempt_and_deletes_nothing() {
    let mut stage = Stage::new(2, vec![response(Wire::Succeeded, "")]);
    stage.create_faults = vec![fault("one"), fault("two")];
    stage.run_to_collection();
    assert_eq!(stage.names(), ["create 0", "create 1", "create 2", "get 2", "delete 2"]);
}

#[test]
fn create_whose_result_is_not_persisted_is_sent_again() {
    let mut stage = Stage::new(0, vec![response(Wire::Succeeded, "")]);
    stage.unstored = 2;
    stage.run_to_collection();
    assert_eq!(stage.names(), ["create 0", "create 0", "create 0", "get 0", "delete 0"]);
}

#[test]
fn first_poll_follows_the_create_and_others_come_every_thirty_seconds() {
    let mut stage = Stage::new(0, vec![response(Wire::Running, "")]);
    stage.run_until(seconds(100));
    let gets: Vec<u64> = stage
        .calls
        .iter()
        .filter(|(_, name)| name == "get 0")
        .map(|(at, _)| at.as_secs())
        .collect();
    assert_eq!(gets, [0, 30, 60, 90]);
}

#[test]
fn task_stays_running_forever_after_a_long_outage() {
    let mut stage = Stage::new(
        3,
        [vec![response(Wire::Running, "")], errors(6), vec![response(Wire::Succeeded, "")]]
            .concat(),
    );
    stage.run_until(Duration::from_hours(240));
    assert_eq!(stage.count("get"), 7);
    assert_eq!(stage.task.status(), TaskStatus::Frozen);
    assert_eq!(*stage.task.history().transitions().last().unwrap(), Phase::Running);
    // Only an abort ends the task.
    stage.at(Duration::from_hours(241), Event::Abort);
    stage.run_until(Duration::from_hours(242));
    assert_eq!((stage.count("delete"), stage.task.status()), (1, TaskStatus::Collected));
}

#[test]
fn errors_are_counted_per_attempt() {
    let gets = [
        vec![response(Wire::Running, "")],
        errors(5),
        vec![response(Wire::RetryableFailed, "")],
        errors(5),
        vec![response(Wire::Succeeded, "")],
    ];
    let mut stage = Stage::new(1, gets.concat());
    stage.run_to_collection();
    assert_eq!(stage.task.end(), Some(&End::Success));
}

#[test]
fn success_without_outputs_is_four_system_errors_within_a_second() {
    let task = Task::new(ExecutorSettings::default(), 3, Outputs::Missing, None);
    let mut stage = Stage::of(task, vec![response(Wire::Succeeded, "")]);
    stage.run_until(seconds(11));
    let (code, kind, message) = stage.failure();
    assert_eq!((code, kind), ("MaxSystemFailuresExceeded", ErrorClass::System));
    assert!(message.starts_with("failed to read data from dataDir"), "{message}");
    assert_eq!(stage.count("create"), 1);
}

#[test]
fn undefined_phase_is_retried_until_the_task_fails() {
    for phase in [0, 99] {
        let mut unknown = response(Wire::Running, "").unwrap();
        unknown.phase = phase;
        let mut stage = Stage::new(
            3,
            vec![response(Wire::Running, ""), Ok(unknown), response(Wire::Succeeded, "")],
        );
        stage.run_until(seconds(59));
        assert_eq!(stage.failure().0, "MaxSystemFailuresExceeded");
        assert_eq!(stage.count("get"), 2);
    }
}

#[test]
fn delete_of_an_abort_is_repeated_every_ten_seconds_until_it_succeeds() {
    let mut stage = Stage::new(2, vec![response(Wire::Running, "")]);
    stage.delete_faults = (0..100).map(|_| fault("no")).collect();
    stage.at(seconds(45), Event::Abort);
    stage.run_to_collection();
    let deletes: Vec<Duration> =
        stage.calls.iter().filter(|(_, name)| name == "delete 0").map(|(at, _)| *at).collect();
    assert_eq!(deletes.len(), 101);
    assert!(
        deletes.windows(2).all(|pair| pair[1].abs_diff(pair[0]).as_secs() == 10),
        "{deletes:?}"
    );
    assert_eq!((stage.task.end(), stage.count("create")), (Some(&End::Aborted), 1));
}

#[test]
fn abort_before_launch_makes_no_call() {
    let mut stage = Stage::new(2, vec![response(Wire::Running, "")]);
    stage.create_faults = (0..3).map(|_| fault("no")).collect();
    stage.at(Duration::ZERO, Event::Abort);
    stage.run_to_collection();
    assert_eq!(stage.names(), ["create 0"]);
    assert_eq!(stage.task.end(), Some(&End::Aborted));
}

#[test]
fn ended_task_is_deleted_an_hour_later_until_that_succeeds() {
    let mut stage = Stage::new(0, vec![response(Wire::Succeeded, "")]);
    stage.delete_faults = vec![fault("no"), fault("no")];
    stage.run_until(Duration::from_mins(59));
    assert_eq!((stage.count("delete"), stage.task.status()), (0, TaskStatus::Ended));
    stage.run_to_collection();
    assert_eq!(stage.count("delete"), 3);
    assert!(
        stage.calls.iter().find(|(_, name)| name == "delete 0").unwrap().0
            >= Duration::from_hours(1)
    );
}

#[test]
fn failed_delete_between_attempts_is_not_repeated() {
    let gets = vec![response(Wire::RetryableFailed, ""), response(Wire::Succeeded, "")];
    let mut stage = Stage::new(1, gets);
    stage.delete_faults = vec![fault("no")];
    stage.run_to_collection();
    assert_eq!(stage.names(), ["create 0", "get 0", "delete 0", "create 1", "get 1", "delete 1"]);
}

#[test]
fn only_the_first_reason_of_each_phase_is_stored() {
    let gets = vec![
        response(Wire::Queued, "q"),
        response(Wire::WaitingForResources, "w"),
        response(Wire::WaitingForResources, "w2"),
        response(Wire::Initializing, "i"),
        response(Wire::Running, "r"),
        response(Wire::Running, "r2"),
        response(Wire::Failed, "the reason"),
    ];
    let mut stage = Stage::new(0, gets);
    stage.run_to_collection();
    let history = stage.task.history();
    assert_eq!(history.reasons(), ["Allocation token required", "launched", "w", "i"]);
    assert_eq!(
        history.transitions(),
        [
            Phase::Queued,
            Phase::WaitingForResources,
            Phase::Initializing,
            Phase::Running,
            Phase::PermanentFailure
        ]
    );
    assert_eq!(stage.failure().2, "failed to run the job: the reason");
}

#[test]
fn links_are_merged_by_name_and_the_latest_wins() {
    let gets = vec![linked(Wire::Running, "https://a"), linked(Wire::Succeeded, "https://b")];
    let mut stage = Stage::new(0, gets);
    stage.run_to_collection();
    let links: Vec<&str> = stage.task.history().links().map(|link| link.uri.as_str()).collect();
    assert_eq!(links, ["https://b"]);
}

#[test]
fn restart_during_a_create_sends_it_again_for_the_same_attempt() {
    let mut stage = Stage::new(0, vec![response(Wire::Succeeded, "")]);
    // The response would arrive a millisecond after the call.
    stage.at(Duration::from_micros(500), Event::Restarted);
    stage.run_to_collection();
    assert_eq!(stage.names(), ["create 0", "create 0", "get 0", "delete 0"]);
}

#[test]
fn restart_keeps_the_error_count() {
    let gets = [
        vec![response(Wire::Running, "")],
        errors(5),
        vec![response(Wire::Running, "")],
        errors(9),
    ];
    let mut stage = Stage::new(0, gets.concat());
    stage.at(seconds(200), Event::Restarted);
    stage.run_until(Duration::from_hours(2));
    // Six errors in total. The restart discards the responses, so the attempt fails instead of freezing.
    assert_eq!(stage.count("get"), 8);
    assert_eq!(stage.failure().0, "AutoRefreshCacheFailed");
}

#[test]
fn restart_repeats_the_delete_in_flight_and_keeps_the_collection() {
    let mut stage = Stage::new(0, vec![response(Wire::Running, "")]);
    stage.at(seconds(40), Event::Abort);
    stage.at(seconds(40) + Duration::from_micros(500), Event::Restarted);
    stage.run_to_collection();
    assert_eq!(stage.count("delete"), 2);

    let mut ended = Stage::new(0, vec![response(Wire::Succeeded, "")]);
    ended.at(seconds(600), Event::Restarted);
    ended.run_to_collection();
    assert_eq!(ended.names(), ["create 0", "get 0", "delete 0"]);
}
