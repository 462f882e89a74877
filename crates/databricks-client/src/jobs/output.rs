//! `runs/get-output` (DA §1.4).

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::SqlOutput;
use crate::{RunId, run_id};

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
    /// What SQL returned. A form that nobody knows yet counts as none: it must not hide the rest.
    #[serde(deserialize_with = "known_or_none")]
    pub sql_output: Option<SqlOutput>,
    /// What an alert found.
    pub alert_output: Option<AlertOutput>,
    /// The run of another job that the task started.
    pub run_job_output: Option<RunJobOutput>,
}

fn known_or_none<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
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

/// What an alert found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AlertOutput {
    /// Such as `OK` or `TRIGGERED`.
    pub alert_state: Option<String>,
}

/// The run of another job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RunJobOutput {
    /// Its id; the outputs are those of its own tasks.
    #[serde(deserialize_with = "run_id::optional")]
    pub run_id: Option<RunId>,
}
