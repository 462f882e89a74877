//! The progress and the outcome of a run or task, from the states that Databricks reports (databricks-api.md#run-states).
//! Pure.

#![deny(clippy::wildcard_enum_match_arm)]

use super::{
    LifeCycleState, LifecycleStateV2, Outcome, ResultState, Run, RunState, RunStatus, RunTask,
    TerminationCode, TerminationType,
};

/// The progress of a run or task. Each state of Databricks, also an unknown one, belongs to one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Progress {
    /// Queued, blocked, or held back until compute is available or cheap.
    Queued,
    /// Its compute is being prepared.
    Pending,
    /// Running, terminating, or in an unknown state.
    Running,
    /// Ended.
    Ended(Outcome),
}

impl Progress {
    /// True if the run or task has ended.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Ended(_))
    }

    /// Returns how it ended. `None` if it has not.
    pub fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Ended(outcome) => Some(outcome),
            Self::Queued | Self::Pending | Self::Running => None,
        }
    }
}

impl Run {
    /// Returns the progress of the run: from `status` if its state is known, else from the legacy `state`
    /// (databricks-api.md#run-states). An unknown state is not an end.
    ///
    /// A run that an upstream task stopped has the outcome of the failed task, if its tasks were read. A running run is
    /// still queued or pending while all its tasks are.
    pub fn progress(&self) -> Progress {
        let reported = ReportedState::from(self);
        let own = reported.progress();
        if reported.is_running() {
            return self.progress_before_start().unwrap_or(own);
        }
        if own != Progress::Ended(Outcome::UpstreamFailure) {
            return own;
        }
        let failure = self.latest_attempts().into_iter().find_map(|task| match task.outcome()? {
            outcome @ (Outcome::UserFailure
            | Outcome::PlatformFailure
            | Outcome::PermanentFailure) => (!task.was_skipped()).then_some(outcome),
            Outcome::Succeeded | Outcome::UpstreamFailure => None,
        });
        failure.map_or(own, Progress::Ended)
    }

    /// Returns the progress of the tasks if all are known and none has started.
    fn progress_before_start(&self) -> Option<Progress> {
        let has_further_page = self.next_page_token.as_ref().is_some_and(|token| !token.is_empty());
        if has_further_page || self.missing_tasks.is_some() {
            return None;
        }
        let mut progress = None;
        for task in &self.tasks {
            progress = match (task.progress(), progress) {
                (Progress::Running | Progress::Ended(_), _) => return None,
                (Progress::Pending, _) | (_, Some(Progress::Pending)) => Some(Progress::Pending),
                (Progress::Queued, _) => Some(Progress::Queued),
            };
        }
        progress
    }

    /// Returns how the run ended. `None` if it has not.
    pub fn outcome(&self) -> Option<Outcome> {
        self.progress().outcome()
    }

    /// True if the run has ended.
    pub fn has_ended(&self) -> bool {
        ReportedState::from(self).progress().has_ended()
    }
}

impl RunTask {
    /// Returns the progress of this attempt, as [`Run::progress`] does for a run. A task can lag behind its run: see
    /// [`has_ended_in`](Self::has_ended_in).
    pub fn progress(&self) -> Progress {
        ReportedState::from(self).progress()
    }

    /// Returns how this attempt ended. `None` if it has not.
    pub fn outcome(&self) -> Option<Outcome> {
        self.progress().outcome()
    }

    /// True if this attempt or its run has ended. Every attempt has ended once its run has.
    pub fn has_ended_in(&self, run: &Run) -> bool {
        self.progress().has_ended() || run.has_ended()
    }

    /// True if the task never ran, because of another task or of a condition (databricks-api.md#status).
    pub fn was_skipped(&self) -> bool {
        ReportedState::from(self).was_skipped()
    }
}

/// The state of a run or task as Databricks reports it, in the current and the legacy form.
#[derive(Debug, Clone, Copy)]
pub struct ReportedState<'a> {
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
    pub fn progress(self) -> Progress {
        match self.status.and_then(|status| status.state.as_ref()) {
            Some(
                LifecycleStateV2::Queued | LifecycleStateV2::Blocked | LifecycleStateV2::Waiting,
            ) => Progress::Queued,
            Some(LifecycleStateV2::Pending) => Progress::Pending,
            Some(LifecycleStateV2::Running | LifecycleStateV2::Terminating) => Progress::Running,
            Some(LifecycleStateV2::Terminated) => Progress::Ended(self.outcome()),
            Some(LifecycleStateV2::Other(_)) | None => match self.life_cycle() {
                Some(LifeCycleState::Queued | LifeCycleState::Blocked) => Progress::Queued,
                Some(LifeCycleState::Pending) => Progress::Pending,
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

    /// True if the state is RUNNING, not merely unknown.
    fn is_running(self) -> bool {
        match self.status.and_then(|status| status.state.as_ref()) {
            Some(LifecycleStateV2::Other(_)) | None => {
                self.life_cycle() == Some(&LifeCycleState::Running)
            }
            Some(state) => *state == LifecycleStateV2::Running,
        }
    }

    fn was_skipped(self) -> bool {
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

    /// Returns the life cycle state as Databricks spells it: the current one, else the legacy one.
    pub fn state(self) -> Option<&'a str> {
        let current = self.status.and_then(|status| status.state.as_ref());
        current.map(LifecycleStateV2::as_str).or(self.life_cycle().map(LifeCycleState::as_str))
    }

    /// Returns the termination code, else the legacy result, else the legacy life cycle, as Databricks spells it.
    pub fn code(self) -> Option<&'a str> {
        let code = self.termination_code().map(TerminationCode::as_str);
        let result = self.result().map(ResultState::as_str);
        code.or(result).or(self.life_cycle().map(LifeCycleState::as_str))
    }

    /// Returns the current form.
    pub fn status(self) -> Option<&'a RunStatus> {
        self.status
    }

    /// Returns the legacy form.
    pub fn legacy(self) -> Option<&'a RunState> {
        self.legacy
    }

    /// Returns the termination code.
    pub fn termination_code(self) -> Option<&'a TerminationCode> {
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
