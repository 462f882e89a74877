//! Every state × result × termination code × type of DA §2, in both forms, against the table of DESIGN §3.2 as it is
//! written there: by class, each value in exactly one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Phase, Progress, RETRYABLE_CODES, UserFailures, progress, run};
use databricks_client::jobs::{
    LifeCycleState, LifecycleStateV2, ResultState, TerminationCode, TerminationType,
};

const WAITING: &[&str] = &["QUEUED", "BLOCKED"];
const PREPARING: &[&str] = &["PENDING"];
const RUNNING: &[&str] = &["RUNNING", "TERMINATING", "WAITING", "WAITING_FOR_RETRY"];
const LEGACY_ENDS: &[&str] = &["TERMINATED", "SKIPPED", "INTERNAL_ERROR"];

const WON: &[&str] = &["SUCCESS", "SUCCESS_WITH_FAILURES"];
const CODES_OF_USERS: &[&str] = &["RUN_EXECUTION_ERROR", "CANCELED"];
/// Somebody's decision, which no fault of the platform changes.
const DECIDED_CODES: &[&str] =
    &["USER_CANCELED", "SKIPPED", "DISABLED", "CLUSTER_TERMINATED_BY_USER"];
const WRONG_CODES: &[&str] = &[
    "INVALID_CLUSTER_REQUEST",
    "FEATURE_DISABLED",
    "UNAUTHORIZED_ERROR",
    "RESOURCE_NOT_FOUND",
    "INVALID_RUN_CONFIGURATION",
    "BUDGET_POLICY_LIMIT_EXCEEDED",
];

const RESULTS_OF_USERS: &[&str] = &["FAILED", "TIMEDOUT"];
const PASSING_RESULTS: &[&str] = &["MAXIMUM_CONCURRENT_RUNS_REACHED"];
const DECIDED_RESULTS: &[&str] = &["CANCELED", "EXCLUDED", "DISABLED"];
const UPSTREAM_RESULTS: &[&str] = &["UPSTREAM_FAILED", "UPSTREAM_CANCELED"];
/// Of clean rooms; nobody says what they mean.
const UNCLEAR_RESULTS: &[&str] = &["EVICTED", "UPSTREAM_EVICTED"];

/// What a code or a result says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Won,
    OfUser,
    OfPlatform,
    Decided,
    Wrong,
    Nothing,
}

fn class_of_code(code: Option<&str>) -> Class {
    match code {
        Some(code) if WON.contains(&code) => Class::Won,
        Some(code) if CODES_OF_USERS.contains(&code) => Class::OfUser,
        Some(code) if RETRYABLE_CODES.contains(&code) => Class::OfPlatform,
        Some(code) if DECIDED_CODES.contains(&code) => Class::Decided,
        Some(code) if WRONG_CODES.contains(&code) => Class::Wrong,
        _ => Class::Nothing,
    }
}

fn class_of_result(result: Option<&str>) -> Class {
    match result {
        Some(result) if WON.contains(&result) => Class::Won,
        Some(result) if RESULTS_OF_USERS.contains(&result) => Class::OfUser,
        Some(result) if PASSING_RESULTS.contains(&result) => Class::OfPlatform,
        Some(result) if DECIDED_RESULTS.contains(&result) => Class::Decided,
        // No failed task can be seen here, so there is no class to take.
        Some(result) if UPSTREAM_RESULTS.contains(&result) => Class::Wrong,
        _ => Class::Nothing,
    }
}

/// The row of DESIGN §3.2 for a run that is over.
fn end(
    code: Option<&str>,
    kind: Option<&str>,
    life_cycle: Option<&str>,
    result: Option<&str>,
) -> Phase {
    let by_code = class_of_code(code);
    let class = if by_code == Class::Nothing { class_of_result(result) } else { by_code };
    let is_fault = matches!(kind, Some("INTERNAL_ERROR" | "CLOUD_FAILURE"));
    let never_ran = class == Class::Nothing && life_cycle == Some("SKIPPED") && result.is_none();
    match class {
        Class::Won => Phase::Succeeded,
        Class::Decided => Phase::Failed,
        _ if is_fault => Phase::RetryableFailed,
        _ if never_ran => Phase::Failed,
        Class::Wrong => Phase::Failed,
        Class::OfUser | Class::OfPlatform | Class::Nothing => Phase::RetryableFailed,
    }
}

/// The row for a state that may not be the end; none for an end.
fn live(state: &str) -> Option<Phase> {
    match state {
        state if WAITING.contains(&state) => Some(Phase::WaitingForResources),
        state if PREPARING.contains(&state) => Some(Phase::Initializing),
        state if RUNNING.contains(&state) => Some(Phase::Running),
        _ => None,
    }
}

/// Every known value, one of tomorrow, and none.
fn all(known: &'static [&'static str]) -> Vec<Option<&'static str>> {
    known.iter().copied().map(Some).chain([Some("A_VALUE_OF_TOMORROW"), None]).collect()
}

fn status(state: Option<&str>, code: Option<&str>, kind: Option<&str>) -> Value {
    json!({"state": state, "termination_details": {"code": code, "type": kind}})
}

fn legacy(life_cycle: Option<&str>, result: Option<&str>) -> Value {
    json!({"life_cycle_state": life_cycle, "result_state": result})
}

#[track_caller]
fn check(value: &Value, expected: Phase) {
    let progress: Progress = progress(&run(value));
    assert_eq!(progress.phase(UserFailures::Retryable), expected, "{value}");
    // What is made permanent is a user's failure alone.
    let permanent = progress.phase(UserFailures::Permanent);
    assert!(
        permanent == expected || expected == Phase::RetryableFailed && permanent == Phase::Failed
    );
}

#[test]
fn every_known_value_is_in_exactly_one_class() {
    let same = |known: &[&str], classes: &[&[&str]]| {
        let listed: Vec<&str> = classes.concat();
        let unique: BTreeSet<&str> = listed.iter().copied().collect();
        assert_eq!(unique.len(), listed.len(), "a value is listed twice: {listed:?}");
        assert_eq!(unique, known.iter().copied().collect::<BTreeSet<&str>>());
    };
    let codes = [WON, CODES_OF_USERS, &RETRYABLE_CODES, DECIDED_CODES, WRONG_CODES];
    same(TerminationCode::KNOWN, &codes);
    let results = [
        WON,
        RESULTS_OF_USERS,
        PASSING_RESULTS,
        DECIDED_RESULTS,
        UPSTREAM_RESULTS,
        UNCLEAR_RESULTS,
    ];
    same(ResultState::KNOWN, &results);
    let current = ["RUNNING", "TERMINATING", "WAITING"];
    same(LifecycleStateV2::KNOWN, &[WAITING, PREPARING, &current, &["TERMINATED"]]);
    let running = ["RUNNING", "TERMINATING", "WAITING_FOR_RETRY"];
    same(LifeCycleState::KNOWN, &[WAITING, PREPARING, &running, LEGACY_ENDS]);
}

#[test]
fn every_state_code_and_type_of_the_current_form() {
    for state in all(LifecycleStateV2::KNOWN) {
        for code in all(TerminationCode::KNOWN) {
            for kind in all(TerminationType::KNOWN) {
                let expected = match state {
                    Some("TERMINATED") => end(code, kind, None, None),
                    other => other.and_then(live).unwrap_or(Phase::Running),
                };
                check(&json!({"run_id": 1, "status": status(state, code, kind)}), expected);
            }
        }
    }
}

#[test]
fn every_life_cycle_and_result_of_the_legacy_form() {
    for life_cycle in all(LifeCycleState::KNOWN) {
        for result in all(ResultState::KNOWN) {
            let expected = match life_cycle {
                Some(state) if LEGACY_ENDS.contains(&state) => end(None, None, life_cycle, result),
                other => other.and_then(live).unwrap_or(Phase::Running),
            };
            check(&json!({"run_id": 1, "state": legacy(life_cycle, result)}), expected);
        }
    }
}

/// Some 100,000 combinations. A known current state decides whether the run is over; the code, where it is known, how.
#[test]
fn every_combination_of_both_forms() {
    for state in all(LifecycleStateV2::KNOWN) {
        for life_cycle in all(LifeCycleState::KNOWN) {
            let is_known = state.is_some_and(|state| LifecycleStateV2::KNOWN.contains(&state));
            let decides = if is_known { state } else { life_cycle };
            let is_over = decides.is_some_and(|state| LEGACY_ENDS.contains(&state));
            for code in all(TerminationCode::KNOWN) {
                for kind in all(TerminationType::KNOWN) {
                    for result in all(ResultState::KNOWN) {
                        let expected = if is_over {
                            end(code, kind, life_cycle, result)
                        } else {
                            decides.and_then(live).unwrap_or(Phase::Running)
                        };
                        let value = json!({
                            "run_id": 1,
                            "status": status(state, code, kind),
                            "state": legacy(life_cycle, result),
                        });
                        check(&value, expected);
                    }
                }
            }
        }
    }
}
