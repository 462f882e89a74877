use std::fmt::Write as _;

use databricks_client::jobs::{
    LifeCycleState, LifecycleStateV2, ResultState, Run, TerminationCode,
};
use serde_json::{Value, json};

use super::*;

fn phase_of(value: &Value, user_failures: UserFailures) -> Phase {
    let run: Run = serde_json::from_value(value.clone()).unwrap();
    of_progress(run.progress(), user_failures)
}

fn legacy(life_cycle: &str, result: Option<&str>) -> Value {
    json!({"run_id": 1, "state": {"life_cycle_state": life_cycle, "result_state": result}})
}

fn ended(code: Option<&str>, kind: Option<&str>) -> Value {
    json!({"run_id": 1, "status": {"state": "TERMINATED", "termination_details": {"code": code, "type": kind}}})
}

const OUTCOMES: [Outcome; 5] = [
    Outcome::Succeeded,
    Outcome::UserFailure,
    Outcome::PlatformFailure,
    Outcome::PermanentFailure,
    Outcome::UpstreamFailure,
];

#[test]
fn phase_is_terminal_exactly_if_the_run_has_ended() {
    let ended = OUTCOMES.map(Progress::Ended);
    for progress in
        [Progress::Queued, Progress::Pending, Progress::Running].into_iter().chain(ended)
    {
        let phase = of_progress(progress, UserFailures::Retryable);
        assert_eq!(phase.is_terminal(), progress.has_ended(), "{progress:?}");
        // Only a retryable failure can be made permanent.
        let permanent = of_progress(progress, UserFailures::Permanent);
        assert!(
            permanent == phase || (phase == Phase::RetryableFailed && permanent == Phase::Failed),
            "{progress:?}"
        );
    }
}

#[test]
fn state_reported_by_databricks_has_its_phase() {
    let reported = |state: &str| json!({"run_id": 1, "status": {"state": state}});
    for (value, phase) in [
        (reported("QUEUED"), Phase::WaitingForResources),
        (reported("BLOCKED"), Phase::WaitingForResources),
        (reported("PENDING"), Phase::Initializing),
        (reported("SOMETHING_NEW"), Phase::Running),
        (legacy("SOMETHING_NEW", Some("SUCCESS")), Phase::Running),
        (json!({"run_id": 1}), Phase::Running),
        (ended(Some("NEW_CODE"), None), Phase::RetryableFailed),
        (legacy("TERMINATED", Some("NEW_RESULT")), Phase::RetryableFailed),
        (legacy("SKIPPED", None), Phase::Failed),
        (ended(Some("USER_CANCELED"), Some("SUCCESS")), Phase::Failed),
        (legacy("TERMINATED", Some("UPSTREAM_FAILED")), Phase::Failed),
        (legacy("INTERNAL_ERROR", Some("FAILED")), Phase::RetryableFailed),
    ] {
        assert_eq!(phase_of(&value, UserFailures::Retryable), phase, "{value}");
    }
}

#[test]
fn user_failures_can_be_permanent_and_platform_failures_cannot() {
    let phase = |value: &Value| phase_of(value, UserFailures::Permanent);
    assert_eq!(phase(&ended(Some("RUN_EXECUTION_ERROR"), None)), Phase::Failed);
    assert_eq!(phase(&legacy("TERMINATED", Some("TIMEDOUT"))), Phase::Failed);
    assert_eq!(phase(&ended(Some("CLUSTER_ERROR"), None)), Phase::RetryableFailed);
    assert_eq!(phase(&ended(Some("SUCCESS"), None)), Phase::Succeeded);
}

/// Renders docs/reference/states.md: the phase of each known value alone.
fn reference_page() -> String {
    let row = |value: &str, run: &Value| {
        let phases =
            [UserFailures::Retryable, UserFailures::Permanent].map(|choice| phase_of(run, choice));
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
