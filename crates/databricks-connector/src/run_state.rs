//! The Flyte phase of a Databricks run (docs/phases.md, docs/reference/states.md). Pure.
//!
//! Considers only the states that Databricks reports. `crate::get::terminal_rules` considers the
//! output files.

#![deny(clippy::wildcard_enum_match_arm)]

mod outcome;

use connector_core::Phase;
use databricks_client::jobs::{
    LifeCycleState, LifecycleStateV2, ResultState, Run, RunState, RunStatus, RunTask,
    TerminationCode, TerminationType,
};

pub(crate) use outcome::Outcome;

/// The phase of a task whose own code failed or whose run timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserFailures {
    /// `RETRYABLE_FAILED`: Flyte retries if the task asks for retries, as it does for any exception.
    #[default]
    Retryable,
    /// `FAILED`: no further attempt.
    Permanent,
}

/// The progress of a run, or of one of its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Queued or blocked.
    WaitingForResources,
    /// Its compute is being prepared.
    Initializing,
    /// Running, terminating, or in an unknown state.
    Running,
    /// Ended.
    Ended(Outcome),
}

impl Progress {
    /// Returns the Flyte phase.
    pub(crate) fn phase(self, user_failures: UserFailures) -> Phase {
        match self {
            Self::WaitingForResources => Phase::WaitingForResources,
            Self::Initializing => Phase::Initializing,
            Self::Running => Phase::Running,
            Self::Ended(Outcome::Succeeded) => Phase::Succeeded,
            Self::Ended(Outcome::PlatformFailure) => Phase::RetryableFailed,
            Self::Ended(Outcome::PermanentFailure | Outcome::UpstreamFailure) => Phase::Failed,
            Self::Ended(Outcome::UserFailure) => match user_failures {
                UserFailures::Retryable => Phase::RetryableFailed,
                UserFailures::Permanent => Phase::Failed,
            },
        }
    }

    /// True if the run or task has ended.
    pub(crate) fn has_ended(self) -> bool {
        matches!(self, Self::Ended(_))
    }
}

/// Returns the progress of a run. A run that an upstream task stopped has the outcome of the failed task, if known.
pub(crate) fn run_progress(run: &Run) -> Progress {
    match ReportedState::from(run).progress() {
        Progress::Ended(Outcome::UpstreamFailure) => {
            let failure = run.latest_attempts().into_iter().find_map(|task| {
                let reported = ReportedState::from(task);
                match reported.progress() {
                    Progress::Ended(
                        outcome @ (Outcome::UserFailure
                        | Outcome::PlatformFailure
                        | Outcome::PermanentFailure),
                    ) if !reported.was_skipped() => Some(outcome),
                    Progress::Ended(_)
                    | Progress::WaitingForResources
                    | Progress::Initializing
                    | Progress::Running => None,
                }
            });
            Progress::Ended(failure.unwrap_or(Outcome::UpstreamFailure))
        }
        other @ (Progress::Ended(_)
        | Progress::WaitingForResources
        | Progress::Initializing
        | Progress::Running) => other,
    }
}

/// True if a run has ended.
pub(crate) fn has_ended(run: &Run) -> bool {
    ReportedState::from(run).progress().has_ended()
}

/// True if an attempt of a task has ended. Every attempt has ended once its run has.
pub(crate) fn attempt_has_ended(run: &Run, task: &RunTask) -> bool {
    [ReportedState::from(task), ReportedState::from(run)]
        .into_iter()
        .any(|reported| reported.progress().has_ended())
}

/// The state of a run or task as Databricks reports it, in the current and the legacy form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReportedState<'a> {
    status: Option<&'a RunStatus>,
    legacy: Option<&'a RunState>,
}

impl<'a> From<&'a Run> for ReportedState<'a> {
    fn from(run: &'a Run) -> Self {
        Self { status: run.status.as_ref(), legacy: run.state.as_ref() }
    }
}

impl<'a> From<&'a RunTask> for ReportedState<'a> {
    fn from(task: &'a RunTask) -> Self {
        Self { status: task.status.as_ref(), legacy: task.state.as_ref() }
    }
}

impl<'a> ReportedState<'a> {
    /// Returns the progress: from `status` if its state is known, else from the legacy life cycle.
    pub(crate) fn progress(self) -> Progress {
        match self.status.and_then(|status| status.state.as_ref()) {
            Some(LifecycleStateV2::Queued | LifecycleStateV2::Blocked) => {
                Progress::WaitingForResources
            }
            Some(LifecycleStateV2::Pending) => Progress::Initializing,
            Some(
                LifecycleStateV2::Running
                | LifecycleStateV2::Terminating
                | LifecycleStateV2::Waiting,
            ) => Progress::Running,
            Some(LifecycleStateV2::Terminated) => Progress::Ended(self.outcome()),
            Some(LifecycleStateV2::Other(_)) | None => match self.life_cycle() {
                Some(LifeCycleState::Queued | LifeCycleState::Blocked) => {
                    Progress::WaitingForResources
                }
                Some(LifeCycleState::Pending) => Progress::Initializing,
                Some(
                    LifeCycleState::Terminated
                    | LifeCycleState::Skipped
                    | LifeCycleState::InternalError,
                ) => Progress::Ended(self.outcome()),
                Some(
                    LifeCycleState::Running
                    | LifeCycleState::Terminating
                    | LifeCycleState::WaitingForRetry
                    | LifeCycleState::Other(_),
                )
                | None => Progress::Running,
            },
        }
    }

    /// True if the task never ran, because of another task or of a condition (databricks-api.md#status).
    pub(crate) fn was_skipped(self) -> bool {
        self.termination_code() == Some(&TerminationCode::Skipped)
            || self.life_cycle() == Some(&LifeCycleState::Skipped)
            || matches!(
                self.result(),
                Some(
                    ResultState::UpstreamFailed
                        | ResultState::UpstreamCanceled
                        | ResultState::Excluded
                )
            )
    }

    /// Returns the termination code, else the legacy result, else the legacy life cycle, as Databricks spells it.
    pub(crate) fn code(self) -> Option<&'a str> {
        let code = self.termination_code().map(TerminationCode::as_str);
        let result = self.result().map(ResultState::as_str);
        code.or(result).or(self.life_cycle().map(LifeCycleState::as_str))
    }

    /// Returns the current form.
    pub(crate) fn status(self) -> Option<&'a RunStatus> {
        self.status
    }

    /// Returns the legacy form.
    pub(crate) fn legacy(self) -> Option<&'a RunState> {
        self.legacy
    }

    /// Returns the termination code.
    pub(crate) fn termination_code(self) -> Option<&'a TerminationCode> {
        self.status?.termination_details.as_ref()?.code.as_ref()
    }

    fn life_cycle(self) -> Option<&'a LifeCycleState> {
        self.legacy?.life_cycle_state.as_ref()
    }

    fn result(self) -> Option<&'a ResultState> {
        self.legacy?.result_state.as_ref()
    }

    /// Returns how it ended: by the termination code if known, else by the legacy result.
    ///
    /// The termination type alone decides nothing, because a cancelled run can have type `SUCCESS`
    /// (databricks-api.md#status); but a platform or cloud failure overrides a failure of the user.
    fn outcome(self) -> Outcome {
        let details = self.status.and_then(|status| status.termination_details.as_ref());
        let is_platform_failure = matches!(
            details.and_then(|details| details.kind.as_ref()),
            Some(TerminationType::InternalError | TerminationType::CloudFailure)
        );
        let by_code = self.termination_code().and_then(Outcome::from_code);
        let outcome = by_code.or_else(|| self.result().and_then(Outcome::from_result));
        match (outcome, is_platform_failure) {
            (Some(Outcome::Succeeded), _) => Outcome::Succeeded,
            (Some(Outcome::PermanentFailure), true) if self.was_stopped() => {
                Outcome::PermanentFailure
            }
            (_, true) => Outcome::PlatformFailure,
            (Some(outcome), false) => outcome,
            (None, false) => match self.life_cycle() {
                Some(LifeCycleState::Skipped) if self.result().is_none() => {
                    Outcome::PermanentFailure
                }
                // Ended for an unknown reason: another attempt may succeed.
                _ => Outcome::PlatformFailure,
            },
        }
    }

    /// True if a person or a setting ended it: cancelled, skipped, disabled, excluded.
    fn was_stopped(self) -> bool {
        match self.termination_code() {
            Some(
                TerminationCode::UserCanceled
                | TerminationCode::Skipped
                | TerminationCode::Disabled
                | TerminationCode::ClusterTerminatedByUser,
            ) => true,
            Some(TerminationCode::Other(_)) | None => matches!(
                self.result(),
                Some(ResultState::Canceled | ResultState::Excluded | ResultState::Disabled)
            ),
            Some(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
