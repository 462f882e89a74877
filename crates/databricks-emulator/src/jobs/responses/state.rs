//! The legacy `state` (databricks-api.md#legacy-state) and the current `status` (databricks-api.md#status).

use super::{insert as insert_field, without_nulls};
use crate::jobs::run::CurrentState;
use crate::jobs::script::{LifeCycle, StateForm, Step};
use crate::jobs::termination::TerminalState;
use serde_json::{Map, Value, json};

/// Inserts `state` and `status`, or only one of them as `form` says.
pub(super) fn insert(
    response: &mut Map<String, Value>,
    form: StateForm,
    current: &CurrentState<'_>,
) {
    let (state, status) = match current {
        CurrentState::Active { step, terminal_state } => active(step, *terminal_state),
        CurrentState::Terminated(terminal_state) => terminated(terminal_state),
    };
    if form != StateForm::StatusOnly {
        insert_field(response, "state", without_nulls(state));
    }
    if form != StateForm::LegacyOnly {
        insert_field(response, "status", without_nulls(status));
    }
}

/// Returns `state` and `status`. Absent fields are null.
fn active(step: &Step, terminal_state: Option<&TerminalState>) -> (Value, Value) {
    let message = step.message.as_deref();
    let reason = message.unwrap_or("Queued due to reaching maximum active runs in the workspace.");
    let reason = (step.state == LifeCycle::Queued).then_some(reason);
    let code = step.queue_code.as_deref().unwrap_or("ACTIVE_RUNS_LIMIT_REACHED");
    let state = json!({
        "life_cycle_state": step.state.as_str(), "state_message": message.unwrap_or_default(),
        "user_cancelled_or_timedout": false, "queue_reason": reason,
    });
    let status = json!({
        "state": step.state.status_name(),
        "queue_details": reason.map(|reason| json!({"code": code, "message": reason})),
        "termination_details": terminal_state.and_then(termination_details),
    });
    (state, status)
}

fn terminated(terminal_state: &TerminalState) -> (Value, Value) {
    let end = &terminal_state.termination;
    let state = json!({
        "life_cycle_state": end.life_cycle_state, "result_state": end.result_state,
        "state_message": end.message.as_deref().unwrap_or_default(),
        "user_cancelled_or_timedout": end.user_cancelled_or_timedout,
    });
    let status = json!({
        "state": end.status_state.as_deref().unwrap_or("TERMINATED"),
        "termination_details": termination_details(terminal_state),
    });
    (state, status)
}

fn termination_details(terminal_state: &TerminalState) -> Option<Map<String, Value>> {
    let end = &terminal_state.termination;
    let details = json!({"code": end.code, "type": end.kind, "message": end.message});
    (end.code.is_some() || end.kind.is_some()).then(|| without_nulls(details))
}
