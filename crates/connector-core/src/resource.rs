//! State of a task, as `get` returns it.

use flyteidl2::{core, task::Outputs};
use serde_json::{Map, Value};

use crate::value;

/// Phase of a task. It lacks Flyte's `UNDEFINED`, which Flyte treats as a system failure of the task
/// (flyte-contract.md#gettask).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Waiting. Flyte does not store this phase; prefer [`Phase::WaitingForResources`] (flyte-contract.md#what-users-see).
    Queued,
    /// Waiting for compute resources.
    WaitingForResources,
    /// Starting, for example while machines are provisioned.
    Initializing,
    /// Running. Flyte drops the message.
    Running,
    /// Succeeded. Terminal.
    Succeeded,
    /// Failed; another attempt may succeed. Terminal for this attempt.
    RetryableFailed,
    /// Failed permanently. Terminal.
    Failed,
    /// Cancelled. Flyte drops the message. Terminal.
    Aborted,
}

impl Phase {
    /// Returns Flyte's name, such as `WAITING_FOR_RESOURCES`.
    pub fn flyte_name(self) -> &'static str {
        core::task_execution::Phase::from(self).as_str_name()
    }

    /// Returns the name, such as `WaitingForResources`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "Queued",
            Self::WaitingForResources => "WaitingForResources",
            Self::Initializing => "Initializing",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::RetryableFailed => "RetryableFailed",
            Self::Failed => "Failed",
            Self::Aborted => "Aborted",
        }
    }

    /// True if Flyte stops polling after this phase.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Succeeded | Self::RetryableFailed | Self::Failed | Self::Aborted => true,
            Self::Queued | Self::WaitingForResources | Self::Initializing | Self::Running => false,
        }
    }
}

impl From<Phase> for core::task_execution::Phase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Queued => Self::Queued,
            Phase::WaitingForResources => Self::WaitingForResources,
            Phase::Initializing => Self::Initializing,
            Phase::Running => Self::Running,
            Phase::Succeeded => Self::Succeeded,
            Phase::RetryableFailed => Self::RetryableFailed,
            Phase::Failed => Self::Failed,
            Phase::Aborted => Self::Aborted,
        }
    }
}

/// A link to a page about the work. Flyte merges links by name, so keep names stable
/// (flyte-contract.md#what-users-see).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLink {
    /// Link text in the Flyte console.
    pub name: String,
    /// Target of the link.
    pub uri: String,
}

/// State of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Phase of the task.
    pub phase: Phase,
    /// Reason for the phase. Flyte shows it for waiting, initializing and failed phases.
    pub message: String,
    /// Links to pages about the work.
    pub links: Vec<LogLink>,
    /// Outputs of the work. `None`: Flyte reads them from outputs.pb.
    pub outputs: Option<Outputs>,
    /// Further information about the work.
    pub custom_info: Map<String, Value>,
}

impl Resource {
    /// Creates a resource with this phase only.
    pub fn new(phase: Phase) -> Self {
        Self {
            phase,
            message: String::new(),
            links: Vec::new(),
            outputs: None,
            custom_info: Map::new(),
        }
    }

    /// Returns the resource with this message.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Returns the resource with one more link.
    #[must_use]
    pub fn with_link(mut self, name: impl Into<String>, uri: impl Into<String>) -> Self {
        self.links.push(LogLink { name: name.into(), uri: uri.into() });
        self
    }

    /// Returns the resource with these outputs.
    #[must_use]
    pub fn with_outputs(mut self, outputs: Outputs) -> Self {
        self.outputs = Some(outputs);
        self
    }
}

impl From<Resource> for flyteidl2::connector::Resource {
    fn from(resource: Resource) -> Self {
        let log_links = resource
            .links
            .into_iter()
            .map(|link| core::TaskLog {
                uri: link.uri,
                name: link.name,
                ready: true,
                ..Default::default()
            })
            .collect();
        let custom_info = (!resource.custom_info.is_empty())
            .then(|| value::struct_from_json(&resource.custom_info));
        Self {
            outputs: resource.outputs,
            message: resource.message,
            log_links,
            phase: core::task_execution::Phase::from(resource.phase).into(),
            custom_info,
        }
    }
}
