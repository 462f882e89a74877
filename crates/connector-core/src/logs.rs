//! Pages of a task log.

use std::time::SystemTime;

/// Arguments of [`Connector::get_logs`](crate::Connector::get_logs).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogsRequest {
    /// Requested number of lines. Zero: the connector chooses.
    pub lines: u64,
    /// Token from the previous page. Empty for the first page.
    pub token: String,
}

impl LogsRequest {
    /// Creates a request for this number of lines from the page with this token.
    pub fn new(lines: u64, token: impl Into<String>) -> Self {
        Self { lines, token: token.into() }
    }
}

/// Source of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Originator {
    /// Unknown.
    Unknown,
    /// The user's program.
    User,
    /// The platform or the connector.
    System,
}

/// A log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Time of writing, if known.
    pub timestamp: Option<SystemTime>,
    /// Text with its line ending (flyte-contract.md#logs-and-metrics).
    pub message: String,
    /// Source of the line.
    pub originator: Originator,
}

/// A page of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPage {
    /// Lines of the page. Empty while there is no output yet.
    pub lines: Vec<LogLine>,
    /// Token of the next page. `None` on the last page.
    pub next_token: Option<String>,
}
