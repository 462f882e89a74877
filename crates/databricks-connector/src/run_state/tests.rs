mod combinations;

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;

fn run(value: &Value) -> Run {
    serde_json::from_value(value.clone()).unwrap()
}

#[track_caller]
fn check(value: &Value, expected: Phase) {
    assert_eq!(run_progress(&run(value)).phase(UserFailures::Retryable), expected, "{value}");
}

fn legacy(life_cycle: &str, result: Option<&str>) -> Value {
    json!({"run_id": 1, "state": {"life_cycle_state": life_cycle, "result_state": result}})
}

fn ended(code: Option<&str>, kind: Option<&str>) -> Value {
    json!({"run_id": 1, "status": {"state": "TERMINATED", "termination_details": {"code": code, "type": kind}}})
}

#[test]
fn active_run_has_the_phase_of_its_state_in_both_forms() {
    for (state, phase) in [
        ("QUEUED", Phase::WaitingForResources),
        ("BLOCKED", Phase::WaitingForResources),
        ("PENDING", Phase::Initializing),
        ("RUNNING", Phase::Running),
        ("TERMINATING", Phase::Running),
        ("WAITING", Phase::Running),
        ("WAITING_FOR_RETRY", Phase::Running),
        ("SOMETHING_NEW", Phase::Running),
    ] {
        check(&json!({"run_id": 1, "status": {"state": state}}), phase);
        check(&legacy(state, None), phase);
        // A result before the end has no meaning.
        check(&legacy(state, Some("SUCCESS")), phase);
    }
    check(&json!({"run_id": 1}), Phase::Running);
    check(&json!({"run_id": 1, "state": {}, "status": {}}), Phase::Running);
}

#[test]
fn known_current_state_takes_precedence_over_the_legacy_one() {
    check(
        &json!({"run_id": 1, "status": {"state": "QUEUED"}, "state": {"life_cycle_state": "PENDING"}}),
        Phase::WaitingForResources,
    );
    check(
        &json!({"run_id": 1, "status": {"state": "SOMETHING_NEW"}, "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}}),
        Phase::Succeeded,
    );
}

#[test]
fn cancelled_run_with_type_success_is_not_a_success() {
    check(&ended(Some("USER_CANCELED"), Some("SUCCESS")), Phase::Failed);
    check(&ended(Some("RUN_EXECUTION_ERROR"), Some("SUCCESS")), Phase::RetryableFailed);
}

#[test]
fn ended_run_without_a_known_code_or_result_is_retryable() {
    for kind in [None, Some("SUCCESS"), Some("CLIENT_ERROR"), Some("NEW_TYPE")] {
        check(&ended(None, kind), Phase::RetryableFailed);
        check(&ended(Some("NEW_CODE"), kind), Phase::RetryableFailed);
    }
    for life_cycle in ["TERMINATED", "INTERNAL_ERROR"] {
        check(&legacy(life_cycle, None), Phase::RetryableFailed);
        check(&legacy(life_cycle, Some("NEW_RESULT")), Phase::RetryableFailed);
    }
    check(&legacy("SKIPPED", None), Phase::Failed);
}

#[test]
fn termination_code_takes_precedence_over_the_legacy_result() {
    for (code, result, phase) in [
        ("CANCELED", "CANCELED", Phase::RetryableFailed),
        ("CANCELED", "TIMEDOUT", Phase::RetryableFailed),
        ("USER_CANCELED", "CANCELED", Phase::Failed),
        ("RUN_EXECUTION_ERROR", "FAILED", Phase::RetryableFailed),
        ("INVALID_CLUSTER_REQUEST", "FAILED", Phase::Failed),
        ("NEW_CODE", "SUCCESS", Phase::Succeeded),
        ("NEW_CODE", "CANCELED", Phase::Failed),
    ] {
        let mut value = ended(Some(code), Some("CLIENT_ERROR"));
        value["state"] = json!({"life_cycle_state": "TERMINATED", "result_state": result});
        check(&value, phase);
    }
}

/// What a real workspace reports for a task whose code failed (databricks-api.md#legacy-state).
#[test]
fn failed_task_of_a_run_with_internal_error_is_a_user_failure() {
    let value = json!({
        "run_id": 1,
        "state": {"life_cycle_state": "INTERNAL_ERROR", "result_state": "FAILED", "state_message": "Task a failed with message: x"},
        "status": {"state": "TERMINATED", "termination_details": {"code": "RUN_EXECUTION_ERROR", "type": "CLIENT_ERROR"}},
    });
    assert_eq!(run_progress(&run(&value)), Progress::Ended(Outcome::UserFailure));
    assert_eq!(
        run_progress(&run(&legacy("INTERNAL_ERROR", Some("FAILED")))),
        Progress::Ended(Outcome::UserFailure)
    );
    assert_eq!(
        run_progress(&run(&legacy("INTERNAL_ERROR", None))),
        Progress::Ended(Outcome::PlatformFailure)
    );
}

#[test]
fn run_stopped_by_an_upstream_task_has_the_outcome_of_that_task() {
    let with_upstream = |task: Value| {
        let mut value = legacy("TERMINATED", Some("UPSTREAM_FAILED"));
        value["tasks"] = json!([
            task,
            {"task_key": "last", "run_id": 3, "state": {"life_cycle_state": "SKIPPED", "result_state": "UPSTREAM_FAILED"}},
        ]);
        value
    };
    let failed = json!({"task_key": "first", "run_id": 2, "state": {"life_cycle_state": "TERMINATED", "result_state": "FAILED"}});
    check(&with_upstream(failed), Phase::RetryableFailed);
    let cancelled = json!({"task_key": "first", "run_id": 2, "state": {"life_cycle_state": "TERMINATED", "result_state": "CANCELED"}});
    check(&with_upstream(cancelled), Phase::Failed);
    let succeeded = json!({"task_key": "first", "run_id": 2, "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}});
    check(&with_upstream(succeeded), Phase::Failed);
}

#[test]
fn user_failures_can_be_permanent_and_platform_failures_cannot() {
    let phase = |value: &Value| run_progress(&run(value)).phase(UserFailures::Permanent);
    assert_eq!(phase(&ended(Some("RUN_EXECUTION_ERROR"), None)), Phase::Failed);
    assert_eq!(phase(&legacy("TERMINATED", Some("TIMEDOUT"))), Phase::Failed);
    assert_eq!(phase(&ended(Some("CLUSTER_ERROR"), None)), Phase::RetryableFailed);
    assert_eq!(phase(&ended(Some("SUCCESS"), None)), Phase::Succeeded);
}

/// Renders docs/reference/states.md: the phase of each known value alone.
fn reference_page() -> String {
    let row = |value: &str, run: &Value| {
        let phases = [UserFailures::Retryable, UserFailures::Permanent]
            .map(|choice| run_progress(&self::run(run)).phase(choice));
        let name = |phase: Phase| flyteidl2::core::task_execution::Phase::from(phase).as_str_name();
        let phase = match phases {
            [phase, same] if phase == same => name(phase).to_owned(),
            [phase, other] => {
                format!("{}; {} with `--user-failures permanent`", name(phase), name(other))
            }
        };
        format!("| {value} | {phase} |\n")
    };
    let mut page = "# States\n\nEvery known value of a Databricks run state, and the Flyte phase of a run that reports only this value.\n\
        A test of `databricks-connector` compares this page with the code.\n\
        [phases.md](../phases.md) describes combinations of values.\n"
        .to_owned();
    let mut table = |title: &str, values: &[&str], of: &dyn Fn(&str) -> Value| {
        let _infallible = write!(page, "\n## {title}\n\n| value | phase |\n| --- | --- |\n");
        for value in values {
            page += &row(value, &of(value));
        }
    };
    table(
        "`status.state`",
        LifecycleStateV2::KNOWN,
        &|value| json!({"run_id": 1, "status": {"state": value}}),
    );
    table(
        "`status.termination_details.code`, once `status.state` is TERMINATED",
        TerminationCode::KNOWN,
        &|value| ended(Some(value), None),
    );
    table("`state.life_cycle_state`, without `status`", LifeCycleState::KNOWN, &|value| {
        legacy(value, None)
    });
    table(
        "`state.result_state`, once `state.life_cycle_state` is TERMINATED, without `status`",
        ResultState::KNOWN,
        &|value| legacy("TERMINATED", Some(value)),
    );
    page
}

#[test]
fn reference_page_matches_the_code() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/states.md");
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    let expected = reference_page();
    assert!(page == expected, "{} is stale; expected:\n{expected}", path.display());
}
