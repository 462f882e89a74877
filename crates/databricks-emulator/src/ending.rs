//! How a scripted outcome reads in the answers, for a task and for the run around it. Pure.

use crate::script::{Outcome, Termination};

/// What the service says of a task whose code failed; the reason itself is only in the task's output.
const WORKLOAD_FAILED: &str = "Workload failed, see run output for details";

/// A terminal state, field by field as the answers carry it, and what the output of the task tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) state: Termination,
    pub(crate) error_trace: Option<String>,
}

impl Ending {
    fn new(
        life_cycle_state: &str,
        result_state: Option<&str>,
        code: &str,
        kind: &str,
        message: &str,
    ) -> Self {
        let state = Termination {
            life_cycle_state: Some(life_cycle_state.to_owned()),
            result_state: result_state.map(ToOwned::to_owned),
            code: Some(code.to_owned()),
            kind: Some(kind.to_owned()),
            message: Some(message.to_owned()),
            ..Termination::default()
        };
        Self { state, error_trace: None }
    }

    /// Cancelled by a user (DA §3.2). That the type is SUCCESS is DA §2.2 trap 4.
    pub(crate) fn cancelled() -> Self {
        let mut ending =
            Self::new("TERMINATED", Some("CANCELED"), "USER_CANCELED", "SUCCESS", "Run cancelled.");
        ending.state.user_cancelled_or_timedout = true;
        ending
    }

    /// Never ran because a task before it did not succeed (DA §2.2 trap 5).
    pub(crate) fn upstream_failed() -> Self {
        Self::new("SKIPPED", None, "SKIPPED", "CLIENT_ERROR", "An upstream task failed.")
    }

    /// How a task with this outcome ends.
    pub(crate) fn of_task(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::new("TERMINATED", Some("SUCCESS"), "SUCCESS", "SUCCESS", ""),
            Outcome::Failed { error, error_trace } => {
                let message = format!("{WORKLOAD_FAILED}.");
                let mut ending = Self::new(
                    "TERMINATED",
                    Some("FAILED"),
                    "RUN_EXECUTION_ERROR",
                    "CLIENT_ERROR",
                    &message,
                );
                ending.state.error = Some(error.clone());
                ending.error_trace = Some(error_trace.clone()).filter(|trace| !trace.is_empty());
                ending
            }
            Outcome::Timedout => {
                // No source gives the type of a timed-out run; it is the user's own limit.
                let message = "Run exceeded its timeout.";
                let mut ending =
                    Self::new("TERMINATED", Some("TIMEDOUT"), "CANCELED", "CLIENT_ERROR", message);
                ending.state.user_cancelled_or_timedout = true;
                ending
            }
            Outcome::Canceled => Self::cancelled(),
            Outcome::InternalError { message } => {
                let mut ending =
                    Self::new("INTERNAL_ERROR", None, "INTERNAL_ERROR", "INTERNAL_ERROR", message);
                ending.state.error = Some(message.clone());
                ending
            }
            Outcome::Skipped => {
                Self::new("SKIPPED", None, "SKIPPED", "CLIENT_ERROR", "Run was skipped.")
            }
            Outcome::Termination(state) => Self { state: state.clone(), error_trace: None },
        }
    }

    /// How the run ends whose deciding task has this outcome: as the task, but for failing user code (DA §2.1 trap 1).
    pub(crate) fn of_run(outcome: &Outcome, task_key: &str, has_skipped: bool) -> Self {
        let Outcome::Failed { .. } = outcome else { return Self::of_task(outcome) };
        let skipped =
            if has_skipped { " This caused all downstream tasks to get skipped." } else { "" };
        let message = format!("Task {task_key} failed with message: {WORKLOAD_FAILED}.{skipped}");
        Self::new("INTERNAL_ERROR", Some("FAILED"), "RUN_EXECUTION_ERROR", "CLIENT_ERROR", &message)
    }
}

/// Whether what comes after a task with this outcome may run.
pub(crate) fn succeeded(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Success => true,
        Outcome::Termination(state) => {
            let won = |name: &Option<String>| {
                matches!(name.as_deref(), Some("SUCCESS" | "SUCCESS_WITH_FAILURES"))
            };
            won(&state.result_state) || (state.result_state.is_none() && won(&state.code))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_user_code_is_an_internal_error_of_the_run_only() {
        let outcome = Outcome::Failed { error: "boom".to_owned(), error_trace: String::new() };
        let task = Ending::of_task(&outcome).state;
        let run = Ending::of_run(&outcome, "etl", false).state;
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
    fn a_raw_termination_stays_as_it_is() {
        let raw = Termination { code: Some("NOVEL".to_owned()), ..Termination::default() };
        let outcome = Outcome::Termination(raw.clone());
        assert_eq!(Ending::of_task(&outcome).state, raw);
        assert_eq!(Ending::of_run(&outcome, "etl", true).state, raw);
    }
}
