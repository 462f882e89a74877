//! The traces of flyte-contract.md#observed-plugin: the executor's plugin with a scripted connector, polled and reconciled
//! every 5 s.

use crate::scripted::{Stage, errors, fault, response};
use flyte_executor_model::{
    Attempt, ErrorClass, ExecutorSettings, NextPoll, Outputs, Phase, Report, launch_error,
};
use flyte_executor_model::{CallFailure, Task};
use flyteidl2::connector::Resource;
use flyteidl2::core::{TaskTemplate, task_execution::Phase as Wire};
use std::collections::BTreeMap;

/// The number of `GetTask` calls, and the report of each reconciliation.
struct TracedCall {
    gets: usize,
    looks: Vec<Result<Report, String>>,
    attempt: Attempt,
}

impl TracedCall {
    fn phases(&self) -> Vec<Phase> {
        self.looks.iter().flatten().map(|report| report.phase).collect()
    }

    fn last(&self) -> &Report {
        self.looks.last().unwrap().as_ref().unwrap()
    }
}

/// Simulates this number of 5 s intervals. The last response is repeated.
fn trace(turns: usize, mut gets: Vec<Result<Resource, CallFailure>>) -> TracedCall {
    let settings = ExecutorSettings::default();
    let mut attempt = Attempt::new(b"meta".to_vec());
    let (mut calls, mut looks) = (0, Vec::new());
    for _ in 0..turns {
        if attempt.poll(&settings) == NextPoll::Get {
            calls += 1;
            let response = if gets.len() > 1 { gets.remove(0) } else { gets[0].clone() };
            attempt.got(response.as_ref().cloned());
        }
        looks.push(attempt.report(Outputs::Present));
    }
    TracedCall { gets: calls, looks, attempt }
}

fn ok(phase: Wire) -> Vec<Result<Resource, CallFailure>> {
    vec![response(phase, "")]
}

#[test]
fn sixth_error_freezes_a_running_task() {
    let gets = [ok(Wire::Running), errors(3), ok(Wire::Running), errors(3), ok(Wire::Succeeded)];
    // 8 polls, then the 75 s during which the real executor was observed.
    let traced = trace(8 + 15, gets.concat());
    assert_eq!(traced.gets, 8);
    assert_eq!(traced.last().phase, Phase::Running);
    assert!(traced.attempt.is_frozen());
}

#[test]
fn five_errors_do_not_stop_polling() {
    let gets = [
        ok(Wire::Running),
        errors(3),
        ok(Wire::Running),
        errors(2),
        ok(Wire::Running),
        ok(Wire::Running),
        ok(Wire::Succeeded),
    ];
    let traced = trace(20, gets.concat());
    assert_eq!(traced.gets, 10);
    assert_eq!(traced.last().phase, Phase::Success);
    assert!(!traced.attempt.is_frozen());
}

#[test]
fn six_errors_before_any_response_are_a_permanent_failure() {
    let traced = trace(10, [errors(6), ok(Wire::Running)].concat());
    assert_eq!(traced.gets, 6);
    let error = traced.last().error.clone().unwrap();
    assert_eq!(traced.last().phase, Phase::PermanentFailure);
    assert_eq!((error.code, error.class), ("AutoRefreshCacheFailed", ErrorClass::User));
    assert!(error.message.ends_with("rpc error: code = Unavailable desc = error 6"), "{error:?}");
}

#[test]
fn phases_are_mapped_and_reasons_are_kept_except_for_running() {
    let gets = vec![
        response(Wire::Queued, "a"),
        response(Wire::Queued, ""),
        response(Wire::WaitingForResources, "b"),
        response(Wire::WaitingForResources, ""),
        response(Wire::WaitingForResources, "c"),
        response(Wire::Initializing, "d"),
        response(Wire::Running, "e"),
        response(Wire::Succeeded, ""),
    ];
    let traced = trace(8, gets);
    assert_eq!(
        traced.phases(),
        [
            Phase::Queued,
            Phase::Queued,
            Phase::WaitingForResources,
            Phase::WaitingForResources,
            Phase::WaitingForResources,
            Phase::Initializing,
            Phase::Running,
            Phase::Success,
        ]
    );
    let reasons: Vec<&str> =
        traced.looks.iter().flatten().map(|report| report.reason.as_str()).collect();
    assert_eq!(reasons, ["a", "", "b", "", "c", "d", "", ""]);
}

#[test]
fn undefined_phase_is_one_system_error() {
    let gets = [Wire::Running, Wire::Running, Wire::Undefined, Wire::Running, Wire::Succeeded];
    let traced = trace(5, gets.map(|phase| response(phase, "")).into());
    assert_eq!(traced.phases(), [Phase::Running, Phase::Running, Phase::Running, Phase::Success]);
    let faults: Vec<&String> = traced.looks.iter().filter_map(|look| look.as_ref().err()).collect();
    assert_eq!(faults, ["unknown execution phase [UNDEFINED]."]);
}

#[test]
fn failed_create_is_a_retryable_failure_without_a_second_try() {
    let mut stage = Stage::new(0, ok(Wire::Running));
    stage.create_faults =
        vec![CallFailure { code: "ResourceExhausted".to_owned(), message: "full".to_owned() }];
    stage.run_to_collection();
    assert_eq!(stage.names(), ["create 0"]);
    assert_eq!(
        stage.failure(),
        (
            "TaskFailedWithError",
            ErrorClass::User,
            "failed to create task from connector with rpc error: code = ResourceExhausted desc = full"
        )
    );
}

#[test]
fn retryable_failure_has_its_message() {
    let traced = trace(3, vec![response(Wire::RetryableFailed, "spot loss")]);
    assert_eq!(traced.gets, 1);
    assert_eq!(traced.last().phase, Phase::RetryableFailure);
    assert_eq!(traced.last().error.as_ref().unwrap().message, "failed to run the job: spot loss");
}

#[test]
fn template_without_custom_fails_before_any_call() {
    let refusal = launch_error(&TaskTemplate::default(), &BTreeMap::new());
    assert_eq!(
        refusal.as_deref(),
        Some("failed to unmarshal connection from task template custom: nil Struct Object passed")
    );
    let task = Task::new(ExecutorSettings::default(), 1, Outputs::Present, refusal.clone());
    let mut stage = Stage::of(task, vec![Err(fault("never asked"))]);
    stage.run_to_collection();
    assert_eq!(stage.names(), [""; 0]);
    assert_eq!(stage.failure().2, refusal.unwrap());
}
