mod combinations;

use serde_json::{Value, json};

use super::*;
use crate::jobs::TerminationDetails;

fn run(value: &Value) -> Run {
    serde_json::from_value(value.clone()).unwrap()
}

#[track_caller]
fn check(value: &Value, expected: Progress) {
    let run = run(value);
    assert_eq!(run.progress(), expected, "{value}");
    assert_eq!(run.outcome(), expected.outcome(), "{value}");
    assert_eq!(run.has_ended(), expected.has_ended(), "{value}");
}

#[track_caller]
fn check_ended(value: &Value, expected: Outcome) {
    check(value, Progress::Ended(expected));
}

fn legacy(life_cycle: &str, result: Option<&str>) -> Value {
    json!({"run_id": 1, "state": {"life_cycle_state": life_cycle, "result_state": result}})
}

fn ended(code: Option<&str>, kind: Option<&str>) -> Value {
    json!({"run_id": 1, "status": {"state": "TERMINATED", "termination_details": {"code": code, "type": kind}}})
}

#[test]
fn active_run_has_the_progress_of_its_state_in_both_forms() {
    for (state, progress) in [
        ("QUEUED", Progress::Queued),
        ("BLOCKED", Progress::Queued),
        ("PENDING", Progress::Pending),
        ("RUNNING", Progress::Running),
        ("TERMINATING", Progress::Running),
        ("WAITING_FOR_RETRY", Progress::Running),
        ("SOMETHING_NEW", Progress::Running),
    ] {
        check(&json!({"run_id": 1, "status": {"state": state}}), progress);
        check(&legacy(state, None), progress);
        // A result before the end has no meaning.
        check(&legacy(state, Some("SUCCESS")), progress);
    }
    check(&json!({"run_id": 1, "status": {"state": "WAITING"}}), Progress::Queued);
    check(&json!({"run_id": 1}), Progress::Running);
    check(&json!({"run_id": 1, "state": {}, "status": {}}), Progress::Running);
}

#[test]
fn running_run_is_not_running_before_one_of_its_tasks_is() {
    let task = |key: &str, attempt: i64, state: &str| json!({"task_key": key, "attempt_number": attempt, "status": {"state": state}});
    for (tasks, progress) in [
        (json!([task("a", 0, "PENDING")]), Progress::Pending),
        (json!([task("a", 0, "QUEUED")]), Progress::Queued),
        (json!([task("a", 0, "WAITING")]), Progress::Queued),
        (json!([task("a", 0, "BLOCKED"), task("b", 0, "PENDING")]), Progress::Pending),
        (json!([task("a", 0, "PENDING"), task("b", 0, "RUNNING")]), Progress::Running),
        (json!([task("a", 0, "TERMINATED"), task("b", 0, "PENDING")]), Progress::Running),
        (json!([task("a", 0, "TERMINATED"), task("a", 1, "PENDING")]), Progress::Running),
        (json!([task("a", 0, "NEW")]), Progress::Running),
        (json!([]), Progress::Running),
    ] {
        for run in [
            json!({"status": {"state": "RUNNING"}, "tasks": tasks}),
            json!({"state": {"life_cycle_state": "RUNNING"}, "tasks": tasks}),
        ] {
            check(&run, progress);
        }
        // Tasks on a later page can be running.
        let paged = json!({"status": {"state": "RUNNING"}, "tasks": tasks, "next_page_token": "t"});
        check(&paged, Progress::Running);
        check(&json!({"status": {"state": "TERMINATING"}, "tasks": tasks}), Progress::Running);
        check(&json!({"status": {"state": "QUEUED"}, "tasks": tasks}), Progress::Queued);
    }
}

#[test]
fn known_current_state_takes_precedence_over_the_legacy_one() {
    let both = |state: &str, life_cycle: &str| {
        let mut value = legacy(life_cycle, Some("SUCCESS"));
        value["status"] = json!({ "state": state });
        value
    };
    check(&both("QUEUED", "PENDING"), Progress::Queued);
    check(&both("RUNNING", "TERMINATED"), Progress::Running);
    check_ended(&both("SOMETHING_NEW", "TERMINATED"), Outcome::Succeeded);
}

#[test]
fn cancelled_run_with_type_success_is_not_a_success() {
    check_ended(&ended(Some("USER_CANCELED"), Some("SUCCESS")), Outcome::PermanentFailure);
    check_ended(&ended(Some("RUN_EXECUTION_ERROR"), Some("SUCCESS")), Outcome::UserFailure);
}

#[test]
fn ended_run_without_a_known_code_or_result_is_a_platform_failure() {
    for kind in [None, Some("SUCCESS"), Some("CLIENT_ERROR"), Some("NEW_TYPE")] {
        check_ended(&ended(None, kind), Outcome::PlatformFailure);
        check_ended(&ended(Some("NEW_CODE"), kind), Outcome::PlatformFailure);
    }
    for life_cycle in ["TERMINATED", "INTERNAL_ERROR"] {
        check_ended(&legacy(life_cycle, None), Outcome::PlatformFailure);
        check_ended(&legacy(life_cycle, Some("NEW_RESULT")), Outcome::PlatformFailure);
    }
    check_ended(&legacy("SKIPPED", None), Outcome::PermanentFailure);
}

#[test]
fn termination_code_takes_precedence_over_the_legacy_result() {
    for (code, result, outcome) in [
        ("CANCELED", "CANCELED", Outcome::UserFailure),
        ("CANCELED", "TIMEDOUT", Outcome::UserFailure),
        ("USER_CANCELED", "CANCELED", Outcome::PermanentFailure),
        ("RUN_EXECUTION_ERROR", "FAILED", Outcome::UserFailure),
        ("INVALID_CLUSTER_REQUEST", "FAILED", Outcome::PermanentFailure),
        ("NEW_CODE", "SUCCESS", Outcome::Succeeded),
        ("NEW_CODE", "CANCELED", Outcome::PermanentFailure),
    ] {
        let mut value = ended(Some(code), Some("CLIENT_ERROR"));
        value["state"] = json!({"life_cycle_state": "TERMINATED", "result_state": result});
        check_ended(&value, outcome);
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
    check_ended(&value, Outcome::UserFailure);
    check_ended(&legacy("INTERNAL_ERROR", Some("FAILED")), Outcome::UserFailure);
    check_ended(&legacy("INTERNAL_ERROR", None), Outcome::PlatformFailure);
}

#[test]
fn run_stopped_by_an_upstream_task_has_the_outcome_of_that_task() {
    let upstream = |result: &str| {
        let mut value = legacy("TERMINATED", Some("UPSTREAM_FAILED"));
        value["tasks"] = json!([
            {"task_key": "first", "run_id": 2, "state": {"life_cycle_state": "TERMINATED", "result_state": result}},
            {"task_key": "last", "run_id": 3, "state": {"life_cycle_state": "SKIPPED", "result_state": "UPSTREAM_FAILED"}},
        ]);
        value
    };
    check_ended(&upstream("FAILED"), Outcome::UserFailure);
    check_ended(&upstream("CANCELED"), Outcome::PermanentFailure);
    check_ended(&upstream("SUCCESS"), Outcome::UpstreamFailure);
}

#[test]
fn attempt_has_ended_once_its_run_has() {
    let mut value = legacy("TERMINATED", Some("SUCCESS"));
    value["tasks"] = json!([{"task_key": "a", "state": {"life_cycle_state": "RUNNING"}}]);
    let ended = run(&value);
    let task = &ended.tasks[0];
    assert_eq!((task.progress(), task.outcome()), (Progress::Running, None));
    assert!(task.has_ended_in(&ended) && !task.has_ended_in(&run(&legacy("RUNNING", None))));
}
