//! What a run is told to do: how fast it moves, through which states, and how it ends.

mod delivery;
mod outcome;

pub use delivery::LogDelivery;
pub use outcome::{ClusterTermination, Outcome, StateForm, Termination};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The life of a run, chosen before it is submitted.
///
/// The default moves one step at every poll, QUEUED, PENDING, RUNNING, and ends in success without logs. As JSON every
/// field may be left out, and a field that is not known here is refused.
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
pub struct Script {
    /// What makes the run move.
    pub pace: Pace,
    /// The states before the end, in order. Leave one out and the run never shows it; none at all and it ends at once.
    pub steps: Vec<Step>,
    /// How the run ends, when nobody cancels it.
    pub outcome: Outcome,
    /// What the tasks wrote to stdout and stderr. `runs/get-output` gives it once the task has ended, for the kinds of
    /// task that have logs (DA §1.4).
    pub logs: String,
    /// What a notebook task returned.
    pub notebook_result: Option<String>,
    /// What an SQL task returned: the value of `sql_output`, as it is (DA §1.4).
    pub sql_output: Option<Value>,
    /// The run that a task of another job started: what `run_job_output` names.
    pub triggered_run_id: Option<i64>,
    /// Which of the two descriptions of a run's state the answers carry.
    pub state_form: StateForm,
    /// Why the clusters of the run ended, once it has. Absent: its own because the job was done, others not at all.
    pub cluster_termination: Option<ClusterTermination>,
    /// What the clusters of the run deliver as logs while it is running.
    pub delivery: Option<LogDelivery>,
    /// Whether the last logs of a cluster are still to be delivered when the run has ended: `cluster_log_status` then
    /// tells of no delivery after the end.
    pub late_logs: bool,
    /// What differs for single tasks, by `task_key`.
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
    /// The default script: one step at every poll, and success.
    #[must_use]
    pub fn success() -> Self {
        Self::default()
    }

    /// The default steps, and then failing user code. `error` and `error_trace` are what `runs/get-output` tells.
    #[must_use]
    pub fn failed(error: impl Into<String>, error_trace: impl Into<String>) -> Self {
        Self::ending(Outcome::Failed { error: error.into(), error_trace: error_trace.into() })
    }

    /// The default steps, and then this end.
    #[must_use]
    pub fn ending(outcome: Outcome) -> Self {
        Self { outcome, ..Self::default() }
    }

    /// The same life at another pace.
    #[must_use]
    pub fn with_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// The same life through other states.
    #[must_use]
    pub fn with_steps(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.steps = steps.into_iter().collect();
        self
    }

    /// The same life with these logs.
    #[must_use]
    pub fn with_logs(mut self, logs: impl Into<String>) -> Self {
        self.logs = logs.into();
        self
    }

    /// How the task of this key ends.
    pub(crate) fn outcome_of(&self, task_key: &str) -> &Outcome {
        self.tasks.get(task_key).and_then(|task| task.outcome.as_ref()).unwrap_or(&self.outcome)
    }

    /// What the task of this key logged.
    pub(crate) fn logs_of(&self, task_key: &str) -> &str {
        self.tasks.get(task_key).and_then(|task| task.logs.as_deref()).unwrap_or(&self.logs)
    }

    /// What the notebook of this task returned.
    pub(crate) fn notebook_result_of(&self, task_key: &str) -> Option<&str> {
        let own = self.tasks.get(task_key).and_then(|task| task.notebook_result.as_deref());
        own.or(self.notebook_result.as_deref())
    }

    /// What the SQL of this task returned.
    pub(crate) fn sql_output_of(&self, task_key: &str) -> Option<&Value> {
        let own = self.tasks.get(task_key).and_then(|task| task.sql_output.as_ref());
        own.or(self.sql_output.as_ref())
    }

    /// The run of another job that this task started.
    pub(crate) fn triggered_run_of(&self, task_key: &str) -> Option<i64> {
        let own = self.tasks.get(task_key).and_then(|task| task.triggered_run_id);
        own.or(self.triggered_run_id)
    }
}

/// What differs for one task of a run with several. A field that is absent means: as the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskScript {
    /// How this task ends. The first task that does not succeed decides how the run ends.
    pub outcome: Option<Outcome>,
    /// What this task logged.
    pub logs: Option<String>,
    /// What this notebook returned.
    pub notebook_result: Option<String>,
    /// What this SQL returned.
    pub sql_output: Option<Value>,
    /// The run of another job that this task started.
    pub triggered_run_id: Option<i64>,
}

/// What makes a run move from one step to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Every step is seen by this many `runs/get` calls for the run, of which the first page alone counts. 0 is 1.
    PerPoll(u32),
    /// Every step lasts this long; whole milliseconds count. As JSON: `{"elapsed_ms": 200}`.
    #[serde(rename = "elapsed_ms", with = "milliseconds")]
    Elapsed(Duration),
    /// Only [`Emulator::advance`](crate::Emulator::advance), or the admin call of the same name, moves the run.
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

/// One state on the way to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The state.
    pub state: LifeCycle,
    /// What `state_message` says meanwhile; for QUEUED the queue reason.
    #[serde(default)]
    pub message: Option<String>,
    /// The code of `status.queue_details` while QUEUED (DA §2.2); absent: `ACTIVE_RUNS_LIMIT_REACHED`.
    #[serde(default)]
    pub queue_code: Option<String>,
    /// How many paces the step lasts: polls of [`Pace::PerPoll`] or times of [`Pace::Elapsed`]. 0 is 1.
    #[serde(default = "one")]
    pub hold: u32,
}

const fn one() -> u32 {
    1
}

impl Step {
    /// This state, for one pace, without a message.
    #[must_use]
    pub fn new(state: LifeCycle) -> Self {
        Self { state, message: None, queue_code: None, hold: 1 }
    }

    /// The same step with this message.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// The same step for so many paces.
    #[must_use]
    pub fn lasting(mut self, hold: u32) -> Self {
        self.hold = hold;
        self
    }
}

/// A state that is not the end, by its name in the legacy `state` object (DA §2.1). As JSON it is that name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum LifeCycle {
    /// Waiting for a slot.
    Queued,
    /// Waiting for another task.
    Blocked,
    /// The cluster is being prepared.
    Pending,
    /// Executing.
    Running,
    /// Between two attempts; the current `status` calls it WAITING.
    WaitingForRetry,
    /// Done, cleaning up.
    Terminating,
    /// A state that nobody knows yet, verbatim in both descriptions.
    Other(String),
}

impl LifeCycle {
    /// The name in the legacy `state` object.
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

    /// The name in the current `status` object (DA §2.2).
    pub(crate) fn status_name(&self) -> &str {
        match self {
            Self::WaitingForRetry => "WAITING",
            other => other.as_str(),
        }
    }
}

impl From<String> for LifeCycle {
    fn from(name: String) -> Self {
        match name.as_str() {
            "QUEUED" => Self::Queued,
            "BLOCKED" => Self::Blocked,
            "PENDING" => Self::Pending,
            "RUNNING" => Self::Running,
            "WAITING_FOR_RETRY" => Self::WaitingForRetry,
            "TERMINATING" => Self::Terminating,
            _ => Self::Other(name),
        }
    }
}

impl From<LifeCycle> for String {
    fn from(state: LifeCycle) -> Self {
        match state {
            LifeCycle::Other(name) => name,
            known => known.as_str().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_object_is_the_default_script() {
        assert_eq!(serde_json::from_str::<Script>("{}").unwrap(), Script::default());
    }

    #[test]
    fn a_script_survives_json() {
        let script = Script {
            pace: Pace::Elapsed(Duration::from_millis(250)),
            steps: vec![
                Step::new(LifeCycle::Queued).with_message("full").lasting(3),
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
    fn a_misspelt_field_is_refused() {
        let error = serde_json::from_str::<Script>(r#"{"outcom": "success"}"#).unwrap_err();
        assert!(error.to_string().contains("outcom"), "{error}");
    }
}
