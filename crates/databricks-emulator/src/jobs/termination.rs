//! The terminal state that the API shows for an outcome, of a task and of its run.

use crate::jobs::script::{Outcome, Termination};

/// The message for failed user code. The actual error is only in the task's output.
const WORKLOAD_FAILED: &str = "Workload failed, see run output for details";

/// The fields of a terminal state, and the error trace of the task's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TerminalState {
    pub(crate) termination: Termination,
    pub(crate) error_trace: Option<String>,
}

impl TerminalState {
    fn new(
        life_cycle_state: &str,
        result_state: Option<&str>,
        code: &str,
        kind: &str,
        message: &str,
    ) -> Self {
        let termination = Termination {
            life_cycle_state: Some(life_cycle_state.to_owned()),
            result_state: result_state.map(ToOwned::to_owned),
            code: Some(code.to_owned()),
            kind: Some(kind.to_owned()),
            message: Some(message.to_owned()),
            ..Termination::default()
        };
        Self { termination, error_trace: None }
    }

    /// Cancelled by a user (databricks-api.md#cancel). The termination type is SUCCESS (databricks-api.md#status).
    pub(crate) fn cancelled() -> Self {
        let mut state =
            Self::new("TERMINATED", Some("CANCELED"), "USER_CANCELED", "SUCCESS", "Run cancelled.");
        state.termination.user_cancelled_or_timedout = true;
        state
    }

    /// Skipped because a dependency failed (databricks-api.md#status).
    pub(crate) fn upstream_failed() -> Self {
        Self::new("SKIPPED", None, "SKIPPED", "CLIENT_ERROR", "An upstream task failed.")
    }

    /// Returns the terminal state of a task with this outcome.
    pub(crate) fn of_task(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::new("TERMINATED", Some("SUCCESS"), "SUCCESS", "SUCCESS", ""),
            Outcome::Failed { error, error_trace } => {
                let message = format!("{WORKLOAD_FAILED}.");
                let mut state = Self::new(
                    "TERMINATED",
                    Some("FAILED"),
                    "RUN_EXECUTION_ERROR",
                    "CLIENT_ERROR",
                    &message,
                );
                state.termination.error = Some(error.clone());
                state.error_trace = Some(error_trace.clone()).filter(|trace| !trace.is_empty());
                state
            }
            Outcome::Timedout => {
                // The termination type of a timeout is not documented. CLIENT_ERROR, because the user sets the limit.
                let message = "Run exceeded its timeout.";
                let mut state =
                    Self::new("TERMINATED", Some("TIMEDOUT"), "CANCELED", "CLIENT_ERROR", message);
                state.termination.user_cancelled_or_timedout = true;
                state
            }
            Outcome::Canceled => Self::cancelled(),
            Outcome::InternalError { message } => {
                let mut state =
                    Self::new("INTERNAL_ERROR", None, "INTERNAL_ERROR", "INTERNAL_ERROR", message);
                state.termination.error = Some(message.clone());
                state
            }
            Outcome::Skipped => {
                Self::new("SKIPPED", None, "SKIPPED", "CLIENT_ERROR", "Run was skipped.")
            }
            Outcome::Termination(raw) => Self { termination: raw.clone(), error_trace: None },
        }
    }

    /// Returns the terminal state of a run whose deciding task has this outcome.
    ///
    /// It is that of the task, except for failed user code (databricks-api.md#legacy-state).
    pub(crate) fn of_run(outcome: &Outcome, task_key: &str, has_skipped: bool) -> Self {
        let Outcome::Failed { .. } = outcome else { return Self::of_task(outcome) };
        let skipped =
            if has_skipped { " This caused all downstream tasks to get skipped." } else { "" };
        let message = format!("Task {task_key} failed with message: {WORKLOAD_FAILED}.{skipped}");
        Self::new("INTERNAL_ERROR", Some("FAILED"), "RUN_EXECUTION_ERROR", "CLIENT_ERROR", &message)
    }
}

/// True if tasks that depend on a task with this outcome may run.
pub(crate) fn is_success(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Success => true,
        Outcome::Termination(raw) => {
            let is_success = |name: &Option<String>| {
                matches!(name.as_deref(), Some("SUCCESS" | "SUCCESS_WITH_FAILURES"))
            };
            is_success(&raw.result_state) || (raw.result_state.is_none() && is_success(&raw.code))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_user_code_is_an_internal_error_of_the_run_only() {
        let outcome = Outcome::Failed { error: "boom".to_owned(), error_trace: String::new() };
        let task = TerminalState::of_task(&outcome).termination;
        let run = TerminalState::of_run(&outcome, "etl", false).termination;
        assert_eq!(task.life_cycle_state.as_deref(), Some("TERMINATED"));
        assert_eq!(run.life_cycle_state.as_deref(), Some("INTERNAL_ERROR"));
        assert_eq!(
            (&task.result_state, &task.code, &task.kind),
            (&run.result_state, &run.code, &run.kind)
        );
        assert!(run.message.unwrap().starts_with("Task etl failed with message: "));
        assert_eq!((task.error.as_deref(), run.error), (Some("boom"), None));
    }

    #[test]
    fn raw_termination_is_unchanged() {
        let raw = Termination { code: Some("NOVEL".to_owned()), ..Termination::default() };
        let outcome = Outcome::Termination(raw.clone());
        assert_eq!(TerminalState::of_task(&outcome).termination, raw);
        assert_eq!(TerminalState::of_run(&outcome, "etl", true).termination, raw);
    }
}
