//! The states of runs and tasks, in the current and in the legacy form (DA §2).

use serde::Deserialize;

use crate::open_enum::open_enum;

open_enum! {
    /// Legacy life cycle (DA §2.1).
    LifeCycleState {
        Queued = "QUEUED",
        Blocked = "BLOCKED",
        Pending = "PENDING",
        Running = "RUNNING",
        WaitingForRetry = "WAITING_FOR_RETRY",
        Terminating = "TERMINATING",
        Terminated = "TERMINATED",
        Skipped = "SKIPPED",
        InternalError = "INTERNAL_ERROR",
    }
}

open_enum! {
    /// Legacy result (DA §2.1).
    ResultState {
        Success = "SUCCESS",
        SuccessWithFailures = "SUCCESS_WITH_FAILURES",
        Failed = "FAILED",
        Timedout = "TIMEDOUT",
        Canceled = "CANCELED",
        MaximumConcurrentRunsReached = "MAXIMUM_CONCURRENT_RUNS_REACHED",
        Excluded = "EXCLUDED",
        UpstreamFailed = "UPSTREAM_FAILED",
        UpstreamCanceled = "UPSTREAM_CANCELED",
        Disabled = "DISABLED",
        Evicted = "EVICTED",
        UpstreamEvicted = "UPSTREAM_EVICTED",
    }
}

open_enum! {
    /// Current life cycle (DA §2.2).
    LifecycleStateV2 {
        Blocked = "BLOCKED",
        Pending = "PENDING",
        Queued = "QUEUED",
        Running = "RUNNING",
        Terminating = "TERMINATING",
        Waiting = "WAITING",
        Terminated = "TERMINATED",
    }
}

open_enum! {
    /// Why a run ended (DA §2.3).
    TerminationCode {
        Success = "SUCCESS",
        SuccessWithFailures = "SUCCESS_WITH_FAILURES",
        UserCanceled = "USER_CANCELED",
        Canceled = "CANCELED",
        Skipped = "SKIPPED",
        InternalError = "INTERNAL_ERROR",
        DriverError = "DRIVER_ERROR",
        ClusterError = "CLUSTER_ERROR",
        RepositoryCheckoutFailed = "REPOSITORY_CHECKOUT_FAILED",
        InvalidClusterRequest = "INVALID_CLUSTER_REQUEST",
        WorkspaceRunLimitExceeded = "WORKSPACE_RUN_LIMIT_EXCEEDED",
        FeatureDisabled = "FEATURE_DISABLED",
        ClusterRequestLimitExceeded = "CLUSTER_REQUEST_LIMIT_EXCEEDED",
        StorageAccessError = "STORAGE_ACCESS_ERROR",
        RunExecutionError = "RUN_EXECUTION_ERROR",
        UnauthorizedError = "UNAUTHORIZED_ERROR",
        LibraryInstallationError = "LIBRARY_INSTALLATION_ERROR",
        MaxConcurrentRunsExceeded = "MAX_CONCURRENT_RUNS_EXCEEDED",
        MaxSparkContextsExceeded = "MAX_SPARK_CONTEXTS_EXCEEDED",
        ResourceNotFound = "RESOURCE_NOT_FOUND",
        InvalidRunConfiguration = "INVALID_RUN_CONFIGURATION",
        CloudFailure = "CLOUD_FAILURE",
        MaxJobQueueSizeExceeded = "MAX_JOB_QUEUE_SIZE_EXCEEDED",
        Disabled = "DISABLED",
        BreakingChange = "BREAKING_CHANGE",
        ClusterTerminatedByUser = "CLUSTER_TERMINATED_BY_USER",
        BudgetPolicyLimitExceeded = "BUDGET_POLICY_LIMIT_EXCEEDED",
    }
}

open_enum! {
    /// Whose side ended it. `SUCCESS` comes with cancelled runs too (DA §2.2 trap 4).
    TerminationType {
        Success = "SUCCESS",
        ClientError = "CLIENT_ERROR",
        InternalError = "INTERNAL_ERROR",
        CloudFailure = "CLOUD_FAILURE",
    }
}

open_enum! {
    /// Why a run is queued (DA §2.2).
    QueueCode {
        ActiveRunsLimitReached = "ACTIVE_RUNS_LIMIT_REACHED",
        MaxConcurrentRunsReached = "MAX_CONCURRENT_RUNS_REACHED",
        ActiveRunJobTasksLimitReached = "ACTIVE_RUN_JOB_TASKS_LIMIT_REACHED",
    }
}

/// The legacy `state` object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RunState {
    /// How far it is.
    pub life_cycle_state: Option<LifeCycleState>,
    /// How it ended.
    pub result_state: Option<ResultState>,
    /// In words.
    pub state_message: Option<String>,
    /// Why it is queued.
    pub queue_reason: Option<String>,
    /// Whether a user cancelled it or its time ran out.
    pub user_cancelled_or_timedout: Option<bool>,
}

/// The current `status` object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RunStatus {
    /// How far it is.
    pub state: Option<LifecycleStateV2>,
    /// How it ended.
    pub termination_details: Option<TerminationDetails>,
    /// Why it is queued.
    pub queue_details: Option<QueueDetails>,
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TerminationDetails {
    /// Why.
    pub code: Option<TerminationCode>,
    /// On whose side.
    #[serde(rename = "type")]
    pub kind: Option<TerminationType>,
    /// In words.
    pub message: Option<String>,
}

/// Why a run is queued.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct QueueDetails {
    /// Which limit was reached.
    pub code: Option<QueueCode>,
    /// In words.
    pub message: Option<String>,
}
