//! FC §8.1, row by row: the executor's own plugin against a scripted connector. As there, the plugin alone was driven:
//! it is polled and looked at every 5 s.

use crate::scripted::{Stage, answer, errors, fault};
use flyte_executor_model::{
    Attempt, Kind, Outputs, Phase, Polling, Report, Settings, refusal_before_any_call,
};
use flyte_executor_model::{Fault, Task};
use flyteidl2::connector::Resource;
use flyteidl2::core::{TaskTemplate, task_execution::Phase as Wire};
use std::collections::BTreeMap;

/// What came of a row: how often `GetTask` was called, and what each look at the plugin gave.
struct Traced {
    gets: usize,
    looks: Vec<Result<Report, String>>,
    attempt: Attempt,
}

impl Traced {
    fn phases(&self) -> Vec<Phase> {
        self.looks.iter().flatten().map(|report| report.phase).collect()
    }

    fn last(&self) -> &Report {
        self.looks.last().unwrap().as_ref().unwrap()
    }
}

/// Plays so many turns of 5 s; the last answer is repeated.
fn trace(turns: usize, mut gets: Vec<Result<Resource, Fault>>) -> Traced {
    let settings = Settings::default();
    let mut attempt = Attempt::new(b"meta".to_vec());
    let (mut calls, mut looks) = (0, Vec::new());
    for _ in 0..turns {
        if attempt.poll(&settings) == Polling::Get {
            calls += 1;
            let answer = if gets.len() > 1 { gets.remove(0) } else { gets[0].clone() };
            attempt.got(answer.as_ref().cloned());
        }
        looks.push(attempt.look(Outputs::Fine));
    }
    Traced { gets: calls, looks, attempt }
}

fn ok(phase: Wire) -> Vec<Result<Resource, Fault>> {
    vec![answer(phase, "")]
}

#[test]
fn the_sixth_error_freezes_a_task_that_was_running() {
    let gets = [ok(Wire::Running), errors(3), ok(Wire::Running), errors(3), ok(Wire::Succeeded)];
    // 8 polls, and then the 75 s in which the real one was watched.
    let traced = trace(8 + 15, gets.concat());
    assert_eq!(traced.gets, 8);
    assert_eq!(traced.last().phase, Phase::Running);
    assert!(traced.attempt.is_frozen());
}

#[test]
fn five_errors_are_survived() {
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
fn six_errors_before_any_answer_are_a_permanent_failure() {
    let traced = trace(10, [errors(6), ok(Wire::Running)].concat());
    assert_eq!(traced.gets, 6);
    let error = traced.last().error.clone().unwrap();
    assert_eq!(traced.last().phase, Phase::PermanentFailure);
    assert_eq!((error.code, error.kind), ("AutoRefreshCacheFailed", Kind::User));
    assert!(error.message.ends_with("rpc error: code = Unavailable desc = error 6"), "{error:?}");
}

#[test]
fn phases_follow_and_every_reason_but_that_of_running_is_handed_on() {
    let gets = vec![
        answer(Wire::Queued, "a"),
        answer(Wire::Queued, ""),
        answer(Wire::WaitingForResources, "b"),
        answer(Wire::WaitingForResources, ""),
        answer(Wire::WaitingForResources, "c"),
        answer(Wire::Initializing, "d"),
        answer(Wire::Running, "e"),
        answer(Wire::Succeeded, ""),
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
fn an_undefined_phase_is_one_error_of_the_plugin_and_passes_at_the_next_poll() {
    let gets = [Wire::Running, Wire::Running, Wire::Undefined, Wire::Running, Wire::Succeeded];
    let traced = trace(5, gets.map(|phase| answer(phase, "")).into());
    assert_eq!(traced.phases(), [Phase::Running, Phase::Running, Phase::Running, Phase::Success]);
    let faults: Vec<&String> = traced.looks.iter().filter_map(|look| look.as_ref().err()).collect();
    assert_eq!(faults, ["unknown execution phase [UNDEFINED]."]);
}

#[test]
fn a_refused_create_is_a_retryable_failure_at_once_with_no_second_try_in_the_attempt() {
    let mut stage = Stage::new(0, ok(Wire::Running));
    stage.create_faults =
        vec![Fault { code: "ResourceExhausted".to_owned(), message: "full".to_owned() }];
    stage.run_to_collection();
    assert_eq!(stage.names(), ["create 0"]);
    assert_eq!(
        stage.failure(),
        (
            "TaskFailedWithError",
            Kind::User,
            "failed to create task from connector with rpc error: code = ResourceExhausted desc = full"
        )
    );
}

#[test]
fn a_retryable_failure_carries_its_message() {
    let traced = trace(3, vec![answer(Wire::RetryableFailed, "spot loss")]);
    assert_eq!(traced.gets, 1);
    assert_eq!(traced.last().phase, Phase::RetryableFailure);
    assert_eq!(traced.last().error.as_ref().unwrap().message, "failed to run the job: spot loss");
}

#[test]
fn a_template_without_custom_fails_before_any_call() {
    let refusal = refusal_before_any_call(&TaskTemplate::default(), &BTreeMap::new());
    assert_eq!(
        refusal.as_deref(),
        Some("failed to unmarshal connection from task template custom: nil Struct Object passed")
    );
    let task = Task::new(Settings::default(), 1, Outputs::Fine, refusal.clone());
    let mut stage = Stage::of(task, vec![Err(fault("never asked"))]);
    stage.run_to_collection();
    assert_eq!(stage.names(), [""; 0]);
    assert_eq!(stage.failure().2, refusal.unwrap());
}
