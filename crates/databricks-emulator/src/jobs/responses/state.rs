//! The legacy `state` (databricks-api.md#legacy-state) and the current `status` (databricks-api.md#status).

use super::insert as insert_field;
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
        insert_field(response, "state", state);
    }
    if form != StateForm::LegacyOnly {
        insert_field(response, "status", status);
    }
}

fn active(
    step: &Step,
    terminal_state: Option<&TerminalState>,
) -> (Map<String, Value>, Map<String, Value>) {
    let mut state = Map::new();
    let mut status = Map::new();
    let message = step.message.as_deref();
    insert_field(&mut state, "life_cycle_state", step.state.as_str());
    insert_field(&mut state, "state_message", message.unwrap_or_default());
    insert_field(&mut state, "user_cancelled_or_timedout", false);
    insert_field(&mut status, "state", step.state.status_name());
    if step.state == LifeCycle::Queued {
        let reason =
            message.unwrap_or("Queued due to reaching maximum active runs in the workspace.");
        insert_field(&mut state, "queue_reason", reason);
        let code = step.queue_code.as_deref().unwrap_or("ACTIVE_RUNS_LIMIT_REACHED");
        insert_field(&mut status, "queue_details", json!({"code": code, "message": reason}));
    }
    if let Some(details) = terminal_state.and_then(termination_details) {
        insert_field(&mut status, "termination_details", details);
    }
    (state, status)
}

fn terminated(terminal_state: &TerminalState) -> (Map<String, Value>, Map<String, Value>) {
    let end = &terminal_state.termination;
    let mut state = Map::new();
    for (key, value) in
        [("life_cycle_state", &end.life_cycle_state), ("result_state", &end.result_state)]
    {
        if let Some(value) = value {
            insert_field(&mut state, key, value.as_str());
        }
    }
    insert_field(&mut state, "state_message", end.message.as_deref().unwrap_or_default());
    insert_field(&mut state, "user_cancelled_or_timedout", end.user_cancelled_or_timedout);
    let mut status = Map::new();
    insert_field(&mut status, "state", end.status_state.as_deref().unwrap_or("TERMINATED"));
    if let Some(details) = termination_details(terminal_state) {
        insert_field(&mut status, "termination_details", details);
    }
    (state, status)
}

fn termination_details(terminal_state: &TerminalState) -> Option<Value> {
    let end = &terminal_state.termination;
    let mut details = Map::new();
    for (key, value) in [("code", &end.code), ("type", &end.kind), ("message", &end.message)] {
        if let Some(value) = value {
            insert_field(&mut details, key, value.as_str());
        }
    }
    (end.code.is_some() || end.kind.is_some()).then_some(Value::Object(details))
}
