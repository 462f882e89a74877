//! What tells numbers of one name apart. Every value is one of a fixed few.

use std::borrow::Cow;

use prometheus_client::encoding::EncodeLabelSet;

/// A call of one of the two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Create,
    Get,
    Delete,
    Metrics,
    Logs,
    GetConnector,
    ListConnectors,
}

impl Operation {
    /// Those that are about a task.
    pub(super) const OF_TASKS: [Self; 5] =
        [Self::Create, Self::Get, Self::Delete, Self::Metrics, Self::Logs];

    /// The label of the Python server, which counts no others.
    pub(super) fn python_label(self) -> Option<&'static str> {
        match self {
            Self::Create => Some("create"),
            Self::Get => Some("get"),
            Self::Delete => Some("delete"),
            Self::Metrics | Self::Logs | Self::GetConnector | Self::ListConnectors => None,
        }
    }

    /// The method's name in the protocol.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Create => "CreateTask",
            Self::Get => "GetTask",
            Self::Delete => "DeleteTask",
            Self::Metrics => "GetTaskMetrics",
            Self::Logs => "GetTaskLogs",
            Self::GetConnector => "GetConnector",
            Self::ListConnectors => "ListConnectors",
        }
    }
}

/// What became of work that was started for a caller who was told that it was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Abandoned {
    /// The attempt was asked for again, so that somebody has it after all.
    Claimed,
    /// It was stopped, or there was none.
    Stopped,
    /// It could not be stopped.
    Left,
}

impl Abandoned {
    pub(super) const ALL: [Self; 3] = [Self::Claimed, Self::Stopped, Self::Left];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Stopped => "stopped",
            Self::Left => "left",
        }
    }
}

/// Why the door let somebody not in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too many connections.
    Connection,
    /// A handshake that failed or was too slow.
    Handshake,
    /// A caller that is not known.
    Unauthenticated,
    /// A caller that is known and may not.
    Forbidden,
    /// Too many calls.
    Busy,
    /// A stop.
    Stopping,
    /// A message that is too large.
    TooLarge,
    /// A message that did not come in time.
    Slow,
}

impl Refusal {
    pub(super) const ALL: [Self; 8] = [
        Self::Connection,
        Self::Handshake,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Busy,
        Self::Stopping,
        Self::TooLarge,
        Self::Slow,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Handshake => "handshake",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Busy => "busy",
            Self::Stopping => "stopping",
            Self::TooLarge => "too_large",
            Self::Slow => "slow",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Labels {
    pub(super) task_type: Cow<'static, str>,
    pub(super) operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FailureLabels {
    pub(super) task_type: Cow<'static, str>,
    pub(super) operation: &'static str,
    pub(super) error_code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TaskTypeLabel {
    pub(super) task_type: Cow<'static, str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RpcLabels {
    pub(super) task_type: Cow<'static, str>,
    pub(super) method: &'static str,
    pub(super) code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct MethodLabels {
    pub(super) task_type: Cow<'static, str>,
    pub(super) method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AbandonedLabels {
    pub(super) task_type: Cow<'static, str>,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RefusedLabels {
    pub(super) reason: &'static str,
}
