//! How the executor's plugin interprets a response.

use flyteidl2::connector::Resource;
use flyteidl2::core::{TaskLog, task_execution};

/// The error code of every failed task (flyte-contract.md#gettask).
const TASK_FAILED: &str = "TaskFailedWithError";

/// A phase of the executor. These differ from the phases of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Launched or queued.
    Queued,
    /// Waiting for capacity.
    WaitingForResources,
    /// Being prepared.
    Initializing,
    /// Executing.
    Running,
    /// Succeeded.
    Success,
    /// Failed; retried while attempts are left.
    RetryableFailure,
    /// Failed without retry.
    PermanentFailure,
}

/// The executor's classification of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// A user error.
    User,
    /// A system error.
    System,
}

/// The error of a failed task as the user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskError {
    /// The code, such as `TaskFailedWithError`.
    pub code: &'static str,
    /// The classification.
    pub class: ErrorClass,
    /// The message.
    pub message: String,
}

impl TaskError {
    pub(crate) fn user(message: String) -> Self {
        Self { code: TASK_FAILED, class: ErrorClass::User, message }
    }
}

/// What the plugin reports at one reconciliation of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The phase.
    pub phase: Phase,
    /// The version of the phase. An event with the same phase and version is stored once
    /// (flyte-contract.md#what-users-see).
    pub version: u32,
    /// The reason. Empty where the plugin drops it.
    pub reason: String,
    /// The error, in the two failed phases.
    pub error: Option<TaskError>,
    /// The links of the response.
    pub links: Vec<TaskLog>,
}

impl Report {
    pub(crate) fn new(phase: Phase, version: u32, reason: impl Into<String>) -> Self {
        Self { phase, version, reason: reason.into(), error: None, links: Vec::new() }
    }

    pub(crate) fn failure(phase: Phase, error: TaskError) -> Self {
        Self { error: Some(error), ..Self::new(phase, 0, "") }
    }

    /// Interprets a `GetTask` response (flyte-contract.md#gettask).
    ///
    /// # Errors
    ///
    /// A system error in the executor's wording, for phase UNDEFINED and unknown phases.
    pub(crate) fn of(resource: &Resource) -> Result<Self, String> {
        use task_execution::Phase as Wire;
        let failed = |phase| {
            let message = format!("failed to run the job: {}", resource.message);
            Self::failure(phase, TaskError::user(message))
        };
        let waiting = |phase| Self::new(phase, 0, resource.message.clone());
        let report = match Wire::try_from(resource.phase) {
            Ok(Wire::Queued) => waiting(Phase::Queued),
            Ok(Wire::WaitingForResources) => waiting(Phase::WaitingForResources),
            Ok(Wire::Initializing) => waiting(Phase::Initializing),
            Ok(Wire::Running) => Self::new(Phase::Running, 0, ""),
            Ok(Wire::Succeeded) => Self::new(Phase::Success, 0, ""),
            Ok(Wire::Failed) => failed(Phase::PermanentFailure),
            Ok(Wire::RetryableFailed) => failed(Phase::RetryableFailure),
            Ok(Wire::Aborted) => Self::failure(
                Phase::PermanentFailure,
                TaskError::user("failed to run the job with aborted phase.".to_owned()),
            ),
            Ok(Wire::Undefined) => return Err("unknown execution phase [UNDEFINED].".to_owned()),
            Err(_) => return Err(format!("unknown execution phase [{}].", resource.phase)),
        };
        Ok(Self { links: resource.log_links.clone(), ..report })
    }
}

/// True if polling ends with this response (flyte-contract.md#gettask).
pub(crate) fn is_terminal(resource: &Resource) -> bool {
    use task_execution::Phase as Wire;
    matches!(
        Wire::try_from(resource.phase),
        Ok(Wire::Succeeded | Wire::Failed | Wire::RetryableFailed | Wire::Aborted)
    )
}

/// A failed call as grpc-go words it. The executor ignores the code (flyte-contract.md#gettask-errors).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFailure {
    /// The code, such as `Unavailable`.
    pub code: String,
    /// The description.
    pub message: String,
}

impl CallFailure {
    pub(crate) fn create_message(&self) -> String {
        format!("failed to create task from connector with {self}")
    }

    pub(crate) fn get_message(&self) -> String {
        format!("failed to get task from connector with {self}")
    }
}

impl std::fmt::Display for CallFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rpc error: code = {} desc = {}", self.code, self.message)
    }
}
