//! Scripts: the configured states, pace and outcome of runs.

mod outcome;

pub use outcome::{ClusterTermination, Outcome, StateForm, Termination};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The maximum length of `logs` and of a notebook result, in bytes (databricks-api.md#runs-get-output).
pub(crate) const OUTPUT_LIMIT: usize = 5 * 1024 * 1024;

/// Defines the states and the outcome of a run. Set it before the run is submitted.
///
/// The default moves one step at every poll, through QUEUED, PENDING and RUNNING, and succeeds without logs. In JSON every
/// field is optional, and unknown fields are rejected.
///
/// ```
/// use databricks_emulator::{Outcome, Pace, Script};
///
/// let script = Script::failed("ValueError: no such table", "Traceback (most recent call last): …")
///     .with_pace(Pace::Manual)
///     .with_logs("reading\n");
/// let same: Script = serde_json::from_str(
///     r#"{
///         "pace": "manual",
///         "outcome": {"failed": {"error": "ValueError: no such table",
///                                "error_trace": "Traceback (most recent call last): …"}},
///         "logs": "reading\n"
///     }"#,
/// )?;
/// assert_eq!(script, same);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct Script {
    /// When the run moves to the next step.
    pub pace: Pace,
    /// The states before the end, in order. Without any the run ends immediately.
    pub steps: Vec<Step>,
    /// How the run ends unless it is cancelled.
    pub outcome: Outcome,
    /// The stdout and stderr of the tasks. `runs/get-output` returns them after the end, for task types with logs
    /// (databricks-api.md#runs-get-output).
    pub logs: String,
    /// The result of notebook tasks.
    pub notebook_result: Option<String>,
    /// The result of SQL tasks: the value of `sql_output` (databricks-api.md#runs-get-output).
    pub sql_output: Option<Value>,
    /// The run id in `run_job_output` of `run_job_task` tasks.
    pub triggered_run_id: Option<i64>,
    /// Whether responses contain the legacy `state`, the current `status`, or both.
    pub state_form: StateForm,
    /// The termination reason of the run's clusters. Absent: job clusters end with `JOB_FINISHED`, existing ones do not end.
    pub cluster_termination: Option<ClusterTermination>,
    /// The logs that the run's clusters deliver while it is RUNNING.
    pub delivery: Option<LogDelivery>,
    /// Whether the last delivery of cluster logs is missing after the end of the run: `cluster_log_status` then shows an
    /// earlier time than the end.
    pub late_logs: bool,
    /// Overrides for single tasks, by `task_key`.
    pub tasks: BTreeMap<String, TaskScript>,
}

impl Default for Script {
    fn default() -> Self {
        let steps =
            [LifeCycle::Queued, LifeCycle::Pending, LifeCycle::Running].map(Step::new).into();
        Self {
            pace: Pace::default(),
            steps,
            outcome: Outcome::default(),
            logs: String::new(),
            notebook_result: None,
            sql_output: None,
            triggered_run_id: None,
            state_form: StateForm::default(),
            cluster_termination: None,
            delivery: None,
            late_logs: false,
            tasks: BTreeMap::new(),
        }
    }
}

impl Script {
    /// Returns the default script: one step at every poll, then success.
    pub fn success() -> Self {
        Self::default()
    }

    /// Returns the default steps with failed user code. `runs/get-output` returns `error` and `error_trace`.
    pub fn failed(error: impl Into<String>, error_trace: impl Into<String>) -> Self {
        Self::from_outcome(Outcome::Failed { error: error.into(), error_trace: error_trace.into() })
    }

    /// Returns the default steps with this outcome.
    pub fn from_outcome(outcome: Outcome) -> Self {
        Self { outcome, ..Self::default() }
    }

    /// Sets the pace.
    pub fn with_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Sets the steps.
    pub fn with_steps(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.steps = steps.into_iter().collect();
        self
    }

    /// Sets the logs.
    pub fn with_logs(mut self, logs: impl Into<String>) -> Self {
        self.logs = logs.into();
        self
    }

    /// Returns the outcome of a task.
    pub(crate) fn outcome_of(&self, task_key: &str) -> &Outcome {
        self.tasks.get(task_key).and_then(|task| task.outcome.as_ref()).unwrap_or(&self.outcome)
    }

    /// Returns the logs of a task.
    pub(crate) fn logs_of(&self, task_key: &str) -> &str {
        self.tasks.get(task_key).and_then(|task| task.logs.as_deref()).unwrap_or(&self.logs)
    }

    /// Returns the notebook result of a task.
    pub(crate) fn notebook_result_of(&self, task_key: &str) -> Option<&str> {
        let own = self.tasks.get(task_key).and_then(|task| task.notebook_result.as_deref());
        own.or(self.notebook_result.as_deref())
    }

    /// Returns the SQL output of a task.
    pub(crate) fn sql_output_of(&self, task_key: &str) -> Option<&Value> {
        let own = self.tasks.get(task_key).and_then(|task| task.sql_output.as_ref());
        own.or(self.sql_output.as_ref())
    }

    /// Returns the id of the run that a `run_job_task` started.
    pub(crate) fn triggered_run_of(&self, task_key: &str) -> Option<i64> {
        let own = self.tasks.get(task_key).and_then(|task| task.triggered_run_id);
        own.or(self.triggered_run_id)
    }
}

/// Overrides a [`Script`] for one task. Absent fields keep the value of the script.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskScript {
    /// The outcome of the task. The first failed task decides the outcome of the run.
    pub outcome: Option<Outcome>,
    /// The logs of the task.
    pub logs: Option<String>,
    /// The notebook result.
    pub notebook_result: Option<String>,
    /// The SQL output.
    pub sql_output: Option<Value>,
    /// The id of the run that the task started.
    pub triggered_run_id: Option<i64>,
}

/// Driver logs that clusters deliver to the destination of their `cluster_log_conf` (databricks-api.md#delivered-logs).
///
/// A part is delivered at every poll while the run is RUNNING, and the rest at the first poll after its end. All tasks of
/// the run deliver the same logs. Logs with an S3 destination are not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogDelivery {
    /// The content of stdout.
    pub stdout: String,
    /// The content of stderr.
    pub stderr: String,
    /// The number of lines of each file per delivery. 0 means 1.
    pub lines: u32,
    /// Rotates the files after this many deliveries. 0: never.
    pub rotate_every: u32,
}

impl Default for LogDelivery {
    fn default() -> Self {
        Self { stdout: String::new(), stderr: String::new(), lines: 10, rotate_every: 0 }
    }
}

/// When a run moves from one step to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// After this many `runs/get` calls for the run. Only calls for the first page count. 0 means 1.
    PerPoll(u32),
    /// After this time, in whole milliseconds. In JSON `{"elapsed_ms": 200}`.
    #[serde(rename = "elapsed_ms", with = "milliseconds")]
    Elapsed(Duration),
    /// On [`Emulator::advance`](crate::Emulator::advance) or the `advance` admin call only.
    Manual,
}

impl Default for Pace {
    fn default() -> Self {
        Self::PerPoll(1)
    }
}

mod milliseconds {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// A state of a run before its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use]
pub struct Step {
    /// The state.
    pub state: LifeCycle,
    /// The `state_message`; for QUEUED the queue reason.
    #[serde(default)]
    pub message: Option<String>,
    /// The code in `status.queue_details` while QUEUED (databricks-api.md#status). The default is
    /// `ACTIVE_RUNS_LIMIT_REACHED`.
    #[serde(default)]
    pub queue_code: Option<String>,
    /// Multiplies the polls of [`Pace::PerPoll`] or the time of [`Pace::Elapsed`]. 0 means 1.
    #[serde(default = "one")]
    pub hold: u32,
}

const fn one() -> u32 {
    1
}

impl Step {
    /// Creates a step with hold 1 and without a message.
    pub fn new(state: LifeCycle) -> Self {
        Self { state, message: None, queue_code: None, hold: 1 }
    }

    /// Sets the message.
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// Sets how long the step lasts.
    pub fn with_hold(mut self, hold: u32) -> Self {
        self.hold = hold;
        self
    }
}

/// A non-terminal state, by its name in the legacy `state` object (databricks-api.md#legacy-state). In JSON that name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LifeCycle {
    /// Waiting for capacity.
    Queued,
    /// Waiting for another task.
    Blocked,
    /// The cluster is being prepared.
    Pending,
    /// The task is executing.
    Running,
    /// Waiting between two attempts. The current `status` calls it WAITING.
    WaitingForRetry,
    /// Cleaning up.
    Terminating,
    /// An unknown state, verbatim in `state` and `status`.
    #[serde(untagged)]
    Other(String),
}

impl LifeCycle {
    /// Returns the name in the legacy `state` object.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Queued => "QUEUED",
            Self::Blocked => "BLOCKED",
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::WaitingForRetry => "WAITING_FOR_RETRY",
            Self::Terminating => "TERMINATING",
            Self::Other(name) => name,
        }
    }

    /// Returns the name in the current `status` object (databricks-api.md#status).
    pub(crate) fn status_name(&self) -> &str {
        match self {
            Self::WaitingForRetry => "WAITING",
            other => other.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_json_object_is_the_default_script() {
        assert_eq!(serde_json::from_str::<Script>("{}").unwrap(), Script::default());
    }

    #[test]
    fn script_round_trips_through_json() {
        let script = Script {
            pace: Pace::Elapsed(Duration::from_millis(250)),
            steps: vec![
                Step::new(LifeCycle::Queued).with_message("full").with_hold(3),
                Step::new(LifeCycle::WaitingForRetry),
                Step::new(LifeCycle::Other("HIBERNATING".to_owned())),
            ],
            outcome: Outcome::Termination(Termination {
                life_cycle_state: Some("TERMINATED".to_owned()),
                kind: Some("CLOUD_FAILURE".to_owned()),
                ..Termination::default()
            }),
            state_form: StateForm::LegacyOnly,
            cluster_termination: Some(ClusterTermination {
                code: "DRIVER_OUT_OF_MEMORY".to_owned(),
                kind: "CLIENT_ERROR".to_owned(),
                parameters: BTreeMap::new(),
            }),
            ..Script::default()
        };
        let json = serde_json::to_value(&script).unwrap();
        assert_eq!(json["pace"], serde_json::json!({"elapsed_ms": 250}));
        assert_eq!(json["steps"][1]["state"], "WAITING_FOR_RETRY");
        assert_eq!(json["outcome"]["termination"]["type"], "CLOUD_FAILURE");
        assert_eq!(serde_json::from_value::<Script>(json).unwrap(), script);
    }

    #[test]
    fn unknown_field_is_rejected() {
        let error = serde_json::from_str::<Script>(r#"{"outcom": "success"}"#).unwrap_err();
        assert!(error.to_string().contains("outcom"), "{error}");
    }
}
