//! What the executor's plugin makes of an answer.

use flyteidl2::connector::Resource;
use flyteidl2::core::{TaskLog, task_execution};

/// The code that the plugin gives every failure of a task (FC §1.5).
const TASK_FAILED: &str = "TaskFailedWithError";

/// A phase of the executor, which are not those of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Launched, or waiting somewhere.
    Queued,
    /// Waiting for room.
    WaitingForResources,
    /// Being prepared.
    Initializing,
    /// At work.
    Running,
    /// Done.
    Success,
    /// Failed, and tried again while attempts are left.
    RetryableFailure,
    /// Failed for good.
    PermanentFailure,
}

/// Whose fault a failure is, in the executor's eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The task's.
    User,
    /// The system's.
    System,
}

/// Why a task failed, as its user reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskError {
    /// Such as `TaskFailedWithError`.
    pub code: &'static str,
    /// Whose fault.
    pub kind: Kind,
    /// The text.
    pub message: String,
}

impl TaskError {
    pub(crate) fn user(message: String) -> Self {
        Self { code: TASK_FAILED, kind: Kind::User, message }
    }
}

/// What the plugin reports at one look at a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The phase.
    pub phase: Phase,
    /// The version of the phase: an event of the same phase and version is stored once (FC §1.6).
    pub version: u32,
    /// The reason; empty where the plugin drops it.
    pub reason: String,
    /// For the two failures.
    pub error: Option<TaskError>,
    /// The links of the answer.
    pub links: Vec<TaskLog>,
}

impl Report {
    pub(crate) fn new(phase: Phase, version: u32, reason: impl Into<String>) -> Self {
        Self { phase, version, reason: reason.into(), error: None, links: Vec::new() }
    }

    pub(crate) fn failure(phase: Phase, error: TaskError) -> Self {
        Self { error: Some(error), ..Self::new(phase, 0, "") }
    }

    /// What an answer of `GetTask` becomes (FC §1.5).
    ///
    /// # Errors
    ///
    /// The executor's own words for a phase that is UNDEFINED or that it does not know. They count as a system error.
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

/// Whether polling ends with this answer (FC §1.5).
pub(crate) fn is_terminal(resource: &Resource) -> bool {
    use task_execution::Phase as Wire;
    matches!(
        Wire::try_from(resource.phase),
        Ok(Wire::Succeeded | Wire::Failed | Wire::RetryableFailed | Wire::Aborted)
    )
}

/// A call that did not succeed, as the executor's client library words it. Its code is never looked at (FC §0.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Such as `Unavailable`.
    pub code: String,
    /// The description.
    pub message: String,
}

impl Fault {
    pub(crate) fn of_create(&self) -> String {
        format!("failed to create task from connector with {self}")
    }

    pub(crate) fn of_get(&self) -> String {
        format!("failed to get task from connector with {self}")
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rpc error: code = {} desc = {}", self.code, self.message)
    }
}
