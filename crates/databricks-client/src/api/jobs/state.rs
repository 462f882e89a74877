//! The states of runs and tasks, in the current and in the legacy form (databricks-api.md#run-states).

use crate::api::{
    json::{deserializable, read_objects, readable},
    open_enum::open_enum,
};

open_enum! {
    /// The legacy life cycle state (databricks-api.md#legacy-state).
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
    /// The legacy result (databricks-api.md#legacy-state).
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
    /// The current life cycle state (databricks-api.md#status).
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
    /// Why a run ended (databricks-api.md#termination-codes).
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
    /// Which side ended a run. `SUCCESS` occurs for cancelled runs too (databricks-api.md#status).
    TerminationType {
        Success = "SUCCESS",
        ClientError = "CLIENT_ERROR",
        InternalError = "INTERNAL_ERROR",
        CloudFailure = "CLOUD_FAILURE",
    }
}

open_enum! {
    /// Why a run is queued (databricks-api.md#status).
    QueueCode {
        ActiveRunsLimitReached = "ACTIVE_RUNS_LIMIT_REACHED",
        MaxConcurrentRunsReached = "MAX_CONCURRENT_RUNS_REACHED",
        ActiveRunJobTasksLimitReached = "ACTIVE_RUN_JOB_TASKS_LIMIT_REACHED",
    }
}

/// The legacy `state` object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunState {
    /// The life cycle state.
    pub life_cycle_state: Option<LifeCycleState>,
    /// The result.
    pub result_state: Option<ResultState>,
    /// The message.
    pub state_message: Option<String>,
    /// Why the run is queued.
    pub queue_reason: Option<String>,
    /// Whether a user cancelled the run or it timed out.
    pub user_cancelled_or_timedout: Option<bool>,
}

/// The current `status` object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunStatus {
    /// The life cycle state.
    pub state: Option<LifecycleStateV2>,
    /// How the run ended.
    pub termination_details: Option<TerminationDetails>,
    /// Why the run is queued.
    pub queue_details: Option<QueueDetails>,
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TerminationDetails {
    /// The code.
    pub code: Option<TerminationCode>,
    /// The side that ended the run.
    pub kind: Option<TerminationType>,
    /// The message.
    pub message: Option<String>,
}

/// Why a run is queued.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueDetails {
    /// The limit that was reached.
    pub code: Option<QueueCode>,
    /// The message.
    pub message: Option<String>,
}

read_objects! {
    RunState { life_cycle_state, result_state, state_message, queue_reason, user_cancelled_or_timedout }
    RunStatus { state, termination_details, queue_details }
    TerminationDetails { code, kind = "type", message }
    QueueDetails { code, message }
}
readable!(RunState, RunStatus, TerminationDetails, QueueDetails);
deserializable!(RunState, RunStatus);
