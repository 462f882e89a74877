//! How a run ended, by its termination code or its legacy result. Pure.

#![deny(clippy::wildcard_enum_match_arm)]

use super::{ResultState, TerminationCode};

/// How a run or task ended. New codes of Databricks belong to one of these outcomes, so the list is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It succeeded.
    Succeeded,
    /// The user's code failed, or the run timed out.
    UserFailure,
    /// The platform failed; another attempt may succeed.
    PlatformFailure,
    /// A person or a setting stopped it, or it cannot run as configured.
    PermanentFailure,
    /// It did not run because an upstream task failed.
    UpstreamFailure,
}

impl Outcome {
    /// Returns the outcome of a termination code; `None` if unknown (databricks-api.md#termination-codes).
    pub(super) fn from_code(code: &TerminationCode) -> Option<Self> {
        Some(match code {
            TerminationCode::Success | TerminationCode::SuccessWithFailures => Self::Succeeded,
            TerminationCode::RunExecutionError | TerminationCode::Canceled => Self::UserFailure,
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
            | TerminationCode::BreakingChange => Self::PlatformFailure,
            TerminationCode::UserCanceled
            | TerminationCode::Skipped
            | TerminationCode::InvalidClusterRequest
            | TerminationCode::FeatureDisabled
            | TerminationCode::UnauthorizedError
            | TerminationCode::ResourceNotFound
            | TerminationCode::InvalidRunConfiguration
            | TerminationCode::Disabled
            | TerminationCode::ClusterTerminatedByUser
            | TerminationCode::BudgetPolicyLimitExceeded => Self::PermanentFailure,
            TerminationCode::Other(_) => return None,
        })
    }

    /// Returns the outcome of a legacy result; `None` if unknown (databricks-api.md#legacy-state).
    pub(super) fn from_result(result: &ResultState) -> Option<Self> {
        Some(match result {
            ResultState::Success | ResultState::SuccessWithFailures => Self::Succeeded,
            ResultState::Failed | ResultState::Timedout => Self::UserFailure,
            ResultState::MaximumConcurrentRunsReached => Self::PlatformFailure,
            ResultState::Canceled | ResultState::Excluded | ResultState::Disabled => {
                Self::PermanentFailure
            }
            ResultState::UpstreamFailed | ResultState::UpstreamCanceled => Self::UpstreamFailure,
            ResultState::Evicted | ResultState::UpstreamEvicted | ResultState::Other(_) => {
                return None;
            }
        })
    }
}
