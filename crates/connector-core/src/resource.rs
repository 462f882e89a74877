//! The answer to `get`.

use flyteidl2::{core, task::Outputs};
use serde_json::{Map, Value};

use crate::value;

/// How far the work is. There is no "undefined": it would count as a system failure of the task (FC §1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Waiting. Flyte does not store it; prefer [`Phase::WaitingForResources`] (FC §0.9).
    Queued,
    /// Waiting for room to run.
    WaitingForResources,
    /// Being prepared.
    Initializing,
    /// Running. Flyte drops the message.
    Running,
    /// Done. Ends polling.
    Succeeded,
    /// Failed, and another attempt may succeed. Ends polling of this attempt.
    RetryableFailed,
    /// Failed for good. Ends polling.
    Failed,
    /// Stopped by somebody. Flyte drops the message. Ends polling.
    Aborted,
}

impl Phase {
    /// Whether Flyte stops asking after this phase.
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

/// A link to where the work can be watched. Flyte merges links by name, so names are stable (FC §1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLink {
    /// What the console shows.
    pub name: String,
    /// Where it leads.
    pub uri: String,
}

/// How the work stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// How far the work is.
    pub phase: Phase,
    /// Why. Shown to the user for waiting, initialising and failed phases.
    pub message: String,
    /// Where to look.
    pub links: Vec<LogLink>,
    /// What the work returned, if the connector knows it. None: outputs.pb holds it.
    pub outputs: Option<Outputs>,
    /// What else the connector knows about the work.
    pub custom_info: Map<String, Value>,
}

impl Resource {
    /// A resource in that phase, with nothing else to say.
    pub fn new(phase: Phase) -> Self {
        Self {
            phase,
            message: String::new(),
            links: Vec::new(),
            outputs: None,
            custom_info: Map::new(),
        }
    }

    /// Adds why.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Adds a link.
    #[must_use]
    pub fn with_link(mut self, name: impl Into<String>, uri: impl Into<String>) -> Self {
        self.links.push(LogLink { name: name.into(), uri: uri.into() });
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
