mod product;

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;

fn run(value: &Value) -> Run {
    serde_json::from_value(value.clone()).unwrap()
}

#[track_caller]
fn check(value: &Value, expected: Phase) {
    assert_eq!(progress(&run(value)).phase(UserFailures::Retryable), expected, "{value}");
}

fn legacy(life_cycle: &str, result: Option<&str>) -> Value {
    json!({"run_id": 1, "state": {"life_cycle_state": life_cycle, "result_state": result}})
}

fn ended(code: Option<&str>, kind: Option<&str>) -> Value {
    json!({"run_id": 1, "status": {"state": "TERMINATED", "termination_details": {"code": code, "type": kind}}})
}

const RETRYABLE_CODES: [&str; 13] = [
    "INTERNAL_ERROR",
    "DRIVER_ERROR",
    "CLUSTER_ERROR",
    "REPOSITORY_CHECKOUT_FAILED",
    "WORKSPACE_RUN_LIMIT_EXCEEDED",
    "CLUSTER_REQUEST_LIMIT_EXCEEDED",
    "STORAGE_ACCESS_ERROR",
    "LIBRARY_INSTALLATION_ERROR",
    "MAX_CONCURRENT_RUNS_EXCEEDED",
    "MAX_SPARK_CONTEXTS_EXCEEDED",
    "CLOUD_FAILURE",
    "MAX_JOB_QUEUE_SIZE_EXCEEDED",
    "BREAKING_CHANGE",
];

const FINAL_CODES: [&str; 10] = [
    "USER_CANCELED",
    "SKIPPED",
    "INVALID_CLUSTER_REQUEST",
    "FEATURE_DISABLED",
    "UNAUTHORIZED_ERROR",
    "RESOURCE_NOT_FOUND",
    "INVALID_RUN_CONFIGURATION",
    "DISABLED",
    "CLUSTER_TERMINATED_BY_USER",
    "BUDGET_POLICY_LIMIT_EXCEEDED",
];

#[test]
fn a_run_that_is_not_over_has_the_phase_of_its_state_in_both_forms() {
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
        // A result that is there before the end means nothing yet.
        check(&legacy(state, Some("SUCCESS")), phase);
    }
    check(&json!({"run_id": 1}), Phase::Running);
    check(&json!({"run_id": 1, "state": {}, "status": {}}), Phase::Running);
}

#[test]
fn a_current_state_wins_over_the_legacy_one() {
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
fn every_termination_code_has_its_phase_without_a_type() {
    for code in ["SUCCESS", "SUCCESS_WITH_FAILURES"] {
        check(&ended(Some(code), None), Phase::Succeeded);
    }
    for code in RETRYABLE_CODES.iter().chain(&["RUN_EXECUTION_ERROR", "CANCELED"]) {
        check(&ended(Some(code), None), Phase::RetryableFailed);
        check(&ended(Some(code), Some("CLIENT_ERROR")), Phase::RetryableFailed);
    }
    for code in FINAL_CODES {
        check(&ended(Some(code), None), Phase::Failed);
        check(&ended(Some(code), Some("CLIENT_ERROR")), Phase::Failed);
    }
    for kind in [None, Some("SUCCESS"), Some("CLIENT_ERROR"), Some("NEW_TYPE")] {
        check(&ended(None, kind), Phase::RetryableFailed);
        check(&ended(Some("NEW_CODE"), kind), Phase::RetryableFailed);
    }
}

#[test]
fn a_fault_of_the_platform_or_the_cloud_may_be_tried_again_whatever_the_code() {
    for kind in ["INTERNAL_ERROR", "CLOUD_FAILURE"] {
        for code in RETRYABLE_CODES.iter().chain(&[
            "RUN_EXECUTION_ERROR",
            "CANCELED",
            "INVALID_CLUSTER_REQUEST",
            "NEW_CODE",
        ]) {
            check(&ended(Some(code), Some(kind)), Phase::RetryableFailed);
        }
        check(&ended(Some("SUCCESS"), Some(kind)), Phase::Succeeded);
        // Somebody's decision is not a fault.
        for code in ["USER_CANCELED", "SKIPPED", "DISABLED", "CLUSTER_TERMINATED_BY_USER"] {
            check(&ended(Some(code), Some(kind)), Phase::Failed);
        }
    }
}

#[test]
fn a_cancelled_run_is_no_success_although_its_type_says_so() {
    check(&ended(Some("USER_CANCELED"), Some("SUCCESS")), Phase::Failed);
    check(&ended(Some("RUN_EXECUTION_ERROR"), Some("SUCCESS")), Phase::RetryableFailed);
}

#[test]
fn every_legacy_result_has_its_phase() {
    for (result, phase) in [
        (Some("SUCCESS"), Phase::Succeeded),
        (Some("SUCCESS_WITH_FAILURES"), Phase::Succeeded),
        (Some("FAILED"), Phase::RetryableFailed),
        (Some("TIMEDOUT"), Phase::RetryableFailed),
        (Some("CANCELED"), Phase::Failed),
        (Some("MAXIMUM_CONCURRENT_RUNS_REACHED"), Phase::RetryableFailed),
        (Some("EXCLUDED"), Phase::Failed),
        (Some("UPSTREAM_FAILED"), Phase::Failed),
        (Some("UPSTREAM_CANCELED"), Phase::Failed),
        (Some("DISABLED"), Phase::Failed),
        (Some("NEW_RESULT"), Phase::RetryableFailed),
        (None, Phase::RetryableFailed),
    ] {
        check(&legacy("TERMINATED", result), phase);
        check(&legacy("INTERNAL_ERROR", result), phase);
    }
    check(&legacy("SKIPPED", None), Phase::Failed);
}

#[test]
fn the_code_decides_before_the_legacy_result() {
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

/// DA §2.1 trap 1: what a real workspace reports for a task whose code failed.
#[test]
fn a_failed_task_under_an_internal_error_of_the_run_is_the_users_failure() {
    let value = json!({
        "run_id": 1,
        "state": {"life_cycle_state": "INTERNAL_ERROR", "result_state": "FAILED", "state_message": "Task a failed with message: x"},
        "status": {"state": "TERMINATED", "termination_details": {"code": "RUN_EXECUTION_ERROR", "type": "CLIENT_ERROR"}},
    });
    assert_eq!(progress(&run(&value)), Progress::Ended(Outcome::UserFailure));
    assert_eq!(
        progress(&run(&legacy("INTERNAL_ERROR", Some("FAILED")))),
        Progress::Ended(Outcome::UserFailure)
    );
    assert_eq!(
        progress(&run(&legacy("INTERNAL_ERROR", None))),
        Progress::Ended(Outcome::PlatformFailure)
    );
}

#[test]
fn a_run_that_an_upstream_task_stopped_takes_the_class_of_that_task() {
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
    let fine = json!({"task_key": "first", "run_id": 2, "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}});
    check(&with_upstream(fine), Phase::Failed);
}

#[test]
fn user_failures_can_be_made_permanent_and_the_platforms_cannot() {
    let phase = |value: &Value| progress(&run(value)).phase(UserFailures::Permanent);
    assert_eq!(phase(&ended(Some("RUN_EXECUTION_ERROR"), None)), Phase::Failed);
    assert_eq!(phase(&legacy("TERMINATED", Some("TIMEDOUT"))), Phase::Failed);
    assert_eq!(phase(&ended(Some("CLUSTER_ERROR"), None)), Phase::RetryableFailed);
    assert_eq!(phase(&ended(Some("SUCCESS"), None)), Phase::Succeeded);
}

/// Every value that is known today and the phase it becomes by itself, as `docs/reference/states.md` shows them.
fn reference_page() -> String {
    let row = |value: &str, run: &Value| {
        let phases = [UserFailures::Retryable, UserFailures::Permanent]
            .map(|choice| progress(&self::run(run)).phase(choice));
        let name = |phase: Phase| flyteidl2::core::task_execution::Phase::from(phase).as_str_name();
        let told = match phases {
            [phase, same] if phase == same => name(phase).to_owned(),
            [phase, other] => {
                format!("{}; {} with `--user-failures permanent`", name(phase), name(other))
            }
        };
        format!("| {value} | {told} |\n")
    };
    let mut page = "# States\n\nEvery value that Databricks is known to use, and the phase that it becomes by itself.\n\
        A test of `databricks-connector` writes this page and compares it with the code.\n\
        [phases.md](../phases.md) says what happens when values come together.\n"
        .to_owned();
    let mut table = |title: &str, values: &[&str], of: &dyn Fn(&str) -> Value| {
        let _never = write!(page, "\n## {title}\n\n| value | phase |\n| --- | --- |\n");
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
fn the_reference_page_says_what_the_code_does() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/states.md");
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    let wanted = reference_page();
    assert!(page == wanted, "{} is stale; it should be:\n{wanted}", path.display());
}
