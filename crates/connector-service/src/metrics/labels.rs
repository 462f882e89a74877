//! Labels of the server's metrics. Every label has a bounded set of values.

use std::borrow::Cow;

/// Names and values of the labels of a series.
pub(super) type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];

/// A method of one of the two services.
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
    /// The methods of the task service.
    pub(super) const OF_TASKS: [Self; 5] =
        [Self::Create, Self::Get, Self::Delete, Self::Metrics, Self::Logs];

    /// Returns the label value of the Python server. `None` for methods that it does not count.
    pub(super) fn python_label(self) -> Option<&'static str> {
        match self {
            Self::Create => Some("create"),
            Self::Get => Some("get"),
            Self::Delete => Some("delete"),
            Self::Metrics | Self::Logs | Self::GetConnector | Self::ListConnectors => None,
        }
    }

    /// Returns the method name of the protocol.
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

/// Outcome of an orphaned task creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OrphanOutcome {
    /// A repeated request for the same attempt took it over.
    Claimed,
    /// It was cancelled, or no work had been started.
    Cancelled,
    /// It could not be cancelled.
    NotCancelled,
}

impl OrphanOutcome {
    pub(super) const ALL: [Self; 3] = [Self::Claimed, Self::Cancelled, Self::NotCancelled];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Cancelled => "stopped",
            Self::NotCancelled => "left",
        }
    }
}

/// Why the transport rejected a connection or call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RejectionReason {
    /// Too many connections.
    Connection,
    /// The handshake failed or timed out.
    Handshake,
    /// The caller is not authenticated.
    Unauthenticated,
    /// The caller is authenticated and lacks the permission.
    Forbidden,
    /// Too many concurrent calls.
    Busy,
    /// The server is shutting down.
    Stopping,
    /// The message is too large.
    TooLarge,
    /// The message was not received in time.
    Slow,
}

impl RejectionReason {
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
