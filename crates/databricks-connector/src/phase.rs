//! The Flyte phase of the progress of a Databricks run (docs/phases.md, docs/reference/states.md). Pure.
//!
//! [`databricks_client::jobs::Run::progress`] judges the states that Databricks reports; `crate::get::terminal_rules`
//! considers the output files.

#![deny(clippy::wildcard_enum_match_arm)]

use connector_core::Phase;
use databricks_client::jobs::{Outcome, Progress};

/// The phase of a task whose own code failed or whose run timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserFailures {
    /// `RETRYABLE_FAILED`: Flyte retries if the task asks for retries, as it does for any exception.
    #[default]
    Retryable,
    /// `FAILED`: no further attempt.
    Permanent,
}

/// Returns the phase of a run with this progress.
pub(crate) fn of_progress(progress: Progress, user_failures: UserFailures) -> Phase {
    match progress {
        Progress::Queued => Phase::WaitingForResources,
        Progress::Pending => Phase::Initializing,
        Progress::Running => Phase::Running,
        Progress::Ended(outcome) => of_outcome(outcome, user_failures),
    }
}

/// Returns the phase of a run that ended with this outcome.
pub(crate) fn of_outcome(outcome: Outcome, user_failures: UserFailures) -> Phase {
    match outcome {
        Outcome::Succeeded => Phase::Succeeded,
        Outcome::PlatformFailure => Phase::RetryableFailed,
        Outcome::PermanentFailure | Outcome::UpstreamFailure => Phase::Failed,
        Outcome::UserFailure => match user_failures {
            UserFailures::Retryable => Phase::RetryableFailed,
            UserFailures::Permanent => Phase::Failed,
        },
    }
}

#[cfg(test)]
mod tests;
