//! `runs/get-output` (DA §1.4).

use serde::Deserialize;

/// What one task run wrote.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RunOutput {
    /// Standard output and error: the last 5 MB.
    pub logs: Option<String>,
    /// Whether more was written than is kept.
    pub logs_truncated: Option<bool>,
    /// What went wrong, in one line.
    pub error: Option<String>,
    /// The stack trace.
    pub error_trace: Option<String>,
    /// Free text.
    pub info: Option<String>,
    /// What a notebook returned.
    pub notebook_output: Option<NotebookOutput>,
}

/// What a notebook returned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NotebookOutput {
    /// The value passed to the notebook's exit: the first 5 MB.
    pub result: Option<String>,
    /// Whether there was more.
    pub truncated: Option<bool>,
}
