//! The legacy `state` and the current `status` (DA §2.1, §2.2).

use super::insert as set;
use crate::ending::Ending;
use crate::script::{LifeCycle, StateForm, Step};
use crate::workspace::Standing;
use serde_json::{Map, Value, json};

/// Writes the two descriptions of where a run or a task is, or the one that the form leaves.
pub(super) fn insert(answer: &mut Map<String, Value>, form: StateForm, standing: &Standing<'_>) {
    let (state, status) = match standing {
        Standing::On { step, known } => on_step(step, *known),
        Standing::Ended(ending) => ended(ending),
    };
    if form != StateForm::StatusOnly {
        set(answer, "state", state);
    }
    if form != StateForm::LegacyOnly {
        set(answer, "status", status);
    }
}

fn on_step(step: &Step, known: Option<&Ending>) -> (Map<String, Value>, Map<String, Value>) {
    let mut state = Map::new();
    let mut status = Map::new();
    let message = step.message.as_deref();
    set(&mut state, "life_cycle_state", step.state.as_str());
    set(&mut state, "state_message", message.unwrap_or_default());
    set(&mut state, "user_cancelled_or_timedout", false);
    set(&mut status, "state", step.state.status_name());
    if step.state == LifeCycle::Queued {
        let reason =
            message.unwrap_or("Queued due to reaching maximum active runs in the workspace.");
        set(&mut state, "queue_reason", reason);
        let code = step.queue_code.as_deref().unwrap_or("ACTIVE_RUNS_LIMIT_REACHED");
        set(&mut status, "queue_details", json!({"code": code, "message": reason}));
    }
    if let Some(details) = known.and_then(termination_details) {
        set(&mut status, "termination_details", details);
    }
    (state, status)
}

fn ended(ending: &Ending) -> (Map<String, Value>, Map<String, Value>) {
    let end = &ending.state;
    let mut state = Map::new();
    for (key, value) in
        [("life_cycle_state", &end.life_cycle_state), ("result_state", &end.result_state)]
    {
        if let Some(value) = value {
            set(&mut state, key, value.as_str());
        }
    }
    set(&mut state, "state_message", end.message.as_deref().unwrap_or_default());
    set(&mut state, "user_cancelled_or_timedout", end.user_cancelled_or_timedout);
    let mut status = Map::new();
    set(&mut status, "state", end.status_state.as_deref().unwrap_or("TERMINATED"));
    if let Some(details) = termination_details(ending) {
        set(&mut status, "termination_details", details);
    }
    (state, status)
}

fn termination_details(ending: &Ending) -> Option<Value> {
    let end = &ending.state;
    let mut details = Map::new();
    for (key, value) in [("code", &end.code), ("type", &end.kind), ("message", &end.message)] {
        if let Some(value) = value {
            set(&mut details, key, value.as_str());
        }
    }
    (end.code.is_some() || end.kind.is_some()).then_some(Value::Object(details))
}
