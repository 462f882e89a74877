//! `runs/get-output` (databricks-api.md#runs-get-output).

use super::SqlOutput;
use crate::{
    RunId,
    api::json::{deserializable, read_objects, readable},
};

/// The output of a task run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunOutput {
    /// The last 5 MB of standard output and standard error.
    pub logs: Option<String>,
    /// Whether the logs are truncated.
    pub logs_truncated: Option<bool>,
    /// The error message.
    pub error: Option<String>,
    /// The stack trace.
    pub error_trace: Option<String>,
    /// Further information about the task.
    pub info: Option<String>,
    /// The result of a notebook task.
    pub notebook_output: Option<NotebookOutput>,
    /// The result of an SQL task.
    pub sql_output: Option<SqlOutput>,
    /// The result of an alert task.
    pub alert_output: Option<AlertOutput>,
    /// The run that a run-job task started.
    pub run_job_output: Option<RunJobOutput>,
}

/// The result of a notebook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotebookOutput {
    /// The first 5 MB of the value passed to `dbutils.notebook.exit`.
    pub result: Option<String>,
    /// Whether the result is truncated.
    pub truncated: Option<bool>,
}

/// The result of an alert.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertOutput {
    /// The state, such as `OK` or `TRIGGERED`.
    pub alert_state: Option<String>,
}

/// The run of another job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunJobOutput {
    /// The id of the run. Its tasks have the outputs.
    pub run_id: Option<RunId>,
}

read_objects! {
    RunOutput {
        logs, logs_truncated, error, error_trace, info, notebook_output, sql_output, alert_output,
        run_job_output,
    }
    NotebookOutput { result, truncated }
    AlertOutput { alert_state }
    RunJobOutput { run_id }
}
readable!(RunOutput, NotebookOutput, AlertOutput, RunJobOutput);
deserializable!(RunOutput);
