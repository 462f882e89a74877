//! Pages of a log.

use std::time::SystemTime;

/// Which page of the log is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogsRequest {
    /// The wanted number of lines. Zero lets the connector choose.
    pub lines: u64,
    /// The token of the page before; empty for the first page.
    pub token: String,
}

impl LogsRequest {
    /// Creates a request for at most `lines` lines of the page with this token.
    pub fn new(lines: u64, token: impl Into<String>) -> Self {
        Self { lines, token: token.into() }
    }
}

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Originator {
    /// Not known.
    Unknown,
    /// The user's own program.
    User,
    /// The platform or the connector.
    System,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written, if that is known.
    pub timestamp: Option<SystemTime>,
    /// The text with its line ending (FC §1.8).
    pub message: String,
    /// Who wrote it.
    pub originator: Originator,
}

/// One page of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPage {
    /// Its lines. Nothing yet is an empty page, not an error.
    pub lines: Vec<LogLine>,
    /// Where the next page starts; none on the last page.
    pub next_token: Option<String>,
}
