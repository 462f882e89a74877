//! The state of a Databricks run as a Flyte phase: the table of DESIGN §3.2. Pure.

#![deny(clippy::wildcard_enum_match_arm)]

use connector_core::Phase;
use databricks_client::jobs::{
    LifeCycleState, LifecycleStateV2, ResultState, Run, RunState, RunStatus, TerminationCode,
    TerminationType,
};

/// What a failure of the user's own code, or a run that ran out of its time, becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserFailures {
    /// `RETRYABLE_FAILED`: Flyte tries again if the task asks for retries, as it does for any exception.
    #[default]
    Retryable,
    /// `FAILED`: no further attempt.
    Permanent,
}

/// How far a run or one of its tasks is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Waiting for room.
    Waiting,
    /// Its compute is being prepared.
    Preparing,
    /// Running, winding up, or in a state that nobody knows yet.
    Running,
    /// Over.
    Ended(Outcome),
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what it should.
    Succeeded,
    /// The user's code failed, or the run ran out of its time.
    UserFailure,
    /// The platform failed; another attempt may succeed.
    PlatformFailure,
    /// Somebody stopped it, or it can never run as it is.
    Final,
    /// It did not run because another task of the run failed.
    Upstream,
}

impl Progress {
    /// The phase that Flyte is told.
    pub(crate) fn phase(self, user_failures: UserFailures) -> Phase {
        match self {
            Self::Waiting => Phase::WaitingForResources,
            Self::Preparing => Phase::Initializing,
            Self::Running => Phase::Running,
            Self::Ended(Outcome::Succeeded) => Phase::Succeeded,
            Self::Ended(Outcome::PlatformFailure) => Phase::RetryableFailed,
            Self::Ended(Outcome::Final | Outcome::Upstream) => Phase::Failed,
            Self::Ended(Outcome::UserFailure) => match user_failures {
                UserFailures::Retryable => Phase::RetryableFailed,
                UserFailures::Permanent => Phase::Failed,
            },
        }
    }
}

/// How far the run is. A run that an upstream task stopped takes the class of that task, when one can be seen.
pub(crate) fn progress(run: &Run) -> Progress {
    match progress_of(run.status.as_ref(), run.state.as_ref()) {
        Progress::Ended(Outcome::Upstream) => {
            let failed = run.latest_attempts().into_iter().find_map(|task| {
                match progress_of(task.status.as_ref(), task.state.as_ref()) {
                    Progress::Ended(
                        outcome
                        @ (Outcome::UserFailure | Outcome::PlatformFailure | Outcome::Final),
                    ) if !was_skipped(task.status.as_ref(), task.state.as_ref()) => Some(outcome),
                    Progress::Ended(_)
                    | Progress::Waiting
                    | Progress::Preparing
                    | Progress::Running => None,
                }
            });
            Progress::Ended(failed.unwrap_or(Outcome::Upstream))
        }
        other @ (Progress::Ended(_)
        | Progress::Waiting
        | Progress::Preparing
        | Progress::Running) => other,
    }
}

/// How far a run or a task is, from `status` where it says something, else from the legacy `state`.
pub(crate) fn progress_of(status: Option<&RunStatus>, state: Option<&RunState>) -> Progress {
    let legacy = state.and_then(|state| state.life_cycle_state.as_ref());
    let current = status.and_then(|status| status.state.as_ref());
    match current {
        Some(LifecycleStateV2::Queued | LifecycleStateV2::Blocked) => Progress::Waiting,
        Some(LifecycleStateV2::Pending) => Progress::Preparing,
        Some(
            LifecycleStateV2::Running | LifecycleStateV2::Terminating | LifecycleStateV2::Waiting,
        ) => Progress::Running,
        Some(LifecycleStateV2::Terminated) => Progress::Ended(outcome(status, state)),
        // A value from the future: the legacy state may still tell whether the run is over.
        Some(LifecycleStateV2::Other(_)) | None => match legacy {
            Some(LifeCycleState::Queued | LifeCycleState::Blocked) => Progress::Waiting,
            Some(LifeCycleState::Pending) => Progress::Preparing,
            Some(
                LifeCycleState::Terminated
                | LifeCycleState::Skipped
                | LifeCycleState::InternalError,
            ) => Progress::Ended(outcome(status, state)),
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

/// How it ended: by the termination code where it is known, else by the legacy result. The type alone never decides,
/// because `SUCCESS` comes with a cancelled run too (DA §2.2 trap 4); a fault of the platform or of the cloud does.
fn outcome(status: Option<&RunStatus>, state: Option<&RunState>) -> Outcome {
    let details = status.and_then(|status| status.termination_details.as_ref());
    let kind = details.and_then(|details| details.kind.as_ref());
    let platform =
        matches!(kind, Some(TerminationType::InternalError | TerminationType::CloudFailure));
    let by_code = details.and_then(|details| details.code.as_ref()).and_then(outcome_of_code);
    let result = state.and_then(|state| state.result_state.as_ref());
    let by_result = result.and_then(outcome_of_result);
    match (by_code.or(by_result), platform) {
        (Some(Outcome::Succeeded), _) => Outcome::Succeeded,
        // Somebody's decision is not the platform's fault, whatever the type says.
        (Some(Outcome::Final), true) if is_decision(status, state) => Outcome::Final,
        (_, true) => Outcome::PlatformFailure,
        (Some(outcome), false) => outcome,
        (None, false) => match state.and_then(|state| state.life_cycle_state.as_ref()) {
            Some(LifeCycleState::Skipped) if result.is_none() => Outcome::Final,
            // Over, and nobody says how: another attempt finds out.
            _ => Outcome::PlatformFailure,
        },
    }
}

/// What a termination code means; none for a code that nobody knows yet (DA §2.3).
fn outcome_of_code(code: &TerminationCode) -> Option<Outcome> {
    Some(match code {
        TerminationCode::Success | TerminationCode::SuccessWithFailures => Outcome::Succeeded,
        TerminationCode::RunExecutionError | TerminationCode::Canceled => Outcome::UserFailure,
        TerminationCode::InternalError
        | TerminationCode::DriverError
        | TerminationCode::ClusterError
        | TerminationCode::RepositoryCheckoutFailed
        | TerminationCode::WorkspaceRunLimitExceeded
        | TerminationCode::ClusterRequestLimitExceeded
        | TerminationCode::StorageAccessError
        | TerminationCode::LibraryInstallationError
        | TerminationCode::MaxConcurrentRunsExceeded
        | TerminationCode::MaxSparkContextsExceeded
        | TerminationCode::CloudFailure
        | TerminationCode::MaxJobQueueSizeExceeded
        | TerminationCode::BreakingChange => Outcome::PlatformFailure,
        TerminationCode::UserCanceled
        | TerminationCode::Skipped
        | TerminationCode::InvalidClusterRequest
        | TerminationCode::FeatureDisabled
        | TerminationCode::UnauthorizedError
        | TerminationCode::ResourceNotFound
        | TerminationCode::InvalidRunConfiguration
        | TerminationCode::Disabled
        | TerminationCode::ClusterTerminatedByUser
        | TerminationCode::BudgetPolicyLimitExceeded => Outcome::Final,
        TerminationCode::Other(_) => return None,
    })
}

/// What a legacy result means; none for a result that nobody knows yet (DA §2.1).
fn outcome_of_result(result: &ResultState) -> Option<Outcome> {
    Some(match result {
        ResultState::Success | ResultState::SuccessWithFailures => Outcome::Succeeded,
        ResultState::Failed | ResultState::Timedout => Outcome::UserFailure,
        ResultState::MaximumConcurrentRunsReached => Outcome::PlatformFailure,
        ResultState::Canceled | ResultState::Excluded | ResultState::Disabled => Outcome::Final,
        ResultState::UpstreamFailed | ResultState::UpstreamCanceled => Outcome::Upstream,
        ResultState::Evicted | ResultState::UpstreamEvicted | ResultState::Other(_) => return None,
    })
}

/// Whether a person or a setting ended it: cancelled, skipped, disabled, excluded.
fn is_decision(status: Option<&RunStatus>, state: Option<&RunState>) -> bool {
    let code = status
        .and_then(|status| status.termination_details.as_ref())
        .and_then(|details| details.code.as_ref());
    match code {
        Some(
            TerminationCode::UserCanceled
            | TerminationCode::Skipped
            | TerminationCode::Disabled
            | TerminationCode::ClusterTerminatedByUser,
        ) => true,
        Some(TerminationCode::Other(_)) | None => matches!(
            state.and_then(|state| state.result_state.as_ref()),
            Some(ResultState::Canceled | ResultState::Excluded | ResultState::Disabled)
        ),
        Some(_) => false,
    }
}

/// Whether a task never ran, because of another task or of a condition (DA §2.2 trap 5).
pub(crate) fn was_skipped(status: Option<&RunStatus>, state: Option<&RunState>) -> bool {
    let code = status
        .and_then(|status| status.termination_details.as_ref())
        .and_then(|details| details.code.as_ref());
    let legacy = state.and_then(|state| state.life_cycle_state.as_ref());
    let result = state.and_then(|state| state.result_state.as_ref());
    code == Some(&TerminationCode::Skipped)
        || legacy == Some(&LifeCycleState::Skipped)
        || matches!(
            result,
            Some(
                ResultState::UpstreamFailed | ResultState::UpstreamCanceled | ResultState::Excluded
            )
        )
}

#[cfg(test)]
mod tests;
