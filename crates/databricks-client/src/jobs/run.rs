//! `runs/get` (DA §1.3).

use serde::Deserialize;

use super::{LifeCycleState, LifecycleStateV2, RunState, RunStatus};
use crate::{RunId, int64, run_id};

/// A run. Times are milliseconds since the epoch, durations are milliseconds; 0 means not yet.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
pub struct Run {
    /// Its id.
    #[serde(default, deserialize_with = "run_id::optional")]
    pub run_id: Option<RunId>,
    /// The job it belongs to; a submitted run has one of its own.
    #[serde(default, deserialize_with = "int64::optional")]
    pub job_id: Option<i64>,
    /// Its name.
    #[serde(default)]
    pub run_name: Option<String>,
    /// Its page.
    #[serde(default)]
    pub run_page_url: Option<String>,
    /// Current state.
    #[serde(default)]
    pub status: Option<RunStatus>,
    /// Legacy state.
    #[serde(default)]
    pub state: Option<RunState>,
    /// Which attempt of the run this is.
    #[serde(default, deserialize_with = "int64::optional")]
    pub attempt_number: Option<i64>,
    /// When it started.
    #[serde(default, deserialize_with = "int64::optional")]
    pub start_time: Option<i64>,
    /// When it ended.
    #[serde(default, deserialize_with = "int64::optional")]
    pub end_time: Option<i64>,
    /// Time in the queue.
    #[serde(default, deserialize_with = "int64::optional")]
    pub queue_duration: Option<i64>,
    /// Time to set up; 0 for runs of several tasks.
    #[serde(default, deserialize_with = "int64::optional")]
    pub setup_duration: Option<i64>,
    /// Time of the work; 0 for runs of several tasks.
    #[serde(default, deserialize_with = "int64::optional")]
    pub execution_duration: Option<i64>,
    /// Time to clean up; 0 for runs of several tasks.
    #[serde(default, deserialize_with = "int64::optional")]
    pub cleanup_duration: Option<i64>,
    /// Time of the whole run.
    #[serde(default, deserialize_with = "int64::optional")]
    pub run_duration: Option<i64>,
    /// Its tasks: one element an attempt.
    #[serde(default, deserialize_with = "super::null_as_default")]
    pub tasks: Vec<RunTask>,
    /// The iterations of a for-each run.
    #[serde(default, deserialize_with = "super::null_as_default")]
    pub iterations: Vec<RunTask>,
    /// Where the next page of `tasks` or `iterations` starts; empty on the last.
    #[serde(default)]
    pub next_page_token: Option<String>,
}

impl Run {
    /// Whether it is over: by the current state where that is known, else by the legacy one (DA §2.1, §2.2). Nothing that
    /// is not known today counts as an end.
    pub fn has_ended(&self) -> bool {
        let current = self.status.as_ref().and_then(|status| status.state.as_ref());
        let legacy = self.state.as_ref().and_then(|state| state.life_cycle_state.as_ref());
        match current {
            Some(LifecycleStateV2::Terminated) => true,
            Some(LifecycleStateV2::Other(_)) | None => matches!(
                legacy,
                Some(
                    LifeCycleState::Terminated
                        | LifeCycleState::Skipped
                        | LifeCycleState::InternalError
                )
            ),
            Some(_) => false,
        }
    }

    /// The latest attempt of each task, in the order of their first appearance (DA §1.3).
    pub fn latest_attempts(&self) -> Vec<&RunTask> {
        let mut latest: Vec<&RunTask> = Vec::new();
        for task in &self.tasks {
            match latest.iter_mut().find(|known| known.task_key == task.task_key) {
                None => latest.push(task),
                Some(known)
                    if task.attempt_number.unwrap_or(0) >= known.attempt_number.unwrap_or(0) =>
                {
                    *known = task;
                }
                Some(_) => {}
            }
        }
        latest
    }
}

/// One attempt of one task of a run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RunTask {
    /// The name of the task in its run.
    #[serde(default, deserialize_with = "super::null_as_default")]
    pub task_key: String,
    /// The id of this attempt, which is what get-output wants.
    #[serde(default, deserialize_with = "run_id::optional")]
    pub run_id: Option<RunId>,
    /// What the submission says of it; lists show it only with tasks expanded.
    #[serde(default)]
    pub description: Option<String>,
    /// The tasks that come before it.
    #[serde(default, deserialize_with = "super::null_as_default")]
    pub depends_on: Vec<TaskDependency>,
    /// Which attempt; 0 is the first.
    #[serde(default, deserialize_with = "int64::optional")]
    pub attempt_number: Option<i64>,
    /// Current state.
    #[serde(default)]
    pub status: Option<RunStatus>,
    /// Legacy state.
    #[serde(default)]
    pub state: Option<RunState>,
    /// Its page.
    #[serde(default)]
    pub run_page_url: Option<String>,
    /// Its cluster, once one was asked for.
    #[serde(default)]
    pub cluster_instance: Option<ClusterInstance>,
    /// When it started.
    #[serde(default, deserialize_with = "int64::optional")]
    pub start_time: Option<i64>,
    /// When it ended.
    #[serde(default, deserialize_with = "int64::optional")]
    pub end_time: Option<i64>,
    /// Time in the queue.
    #[serde(default, deserialize_with = "int64::optional")]
    pub queue_duration: Option<i64>,
    /// Time to set up.
    #[serde(default, deserialize_with = "int64::optional")]
    pub setup_duration: Option<i64>,
    /// Time of the work.
    #[serde(default, deserialize_with = "int64::optional")]
    pub execution_duration: Option<i64>,
    /// Time to clean up.
    #[serde(default, deserialize_with = "int64::optional")]
    pub cleanup_duration: Option<i64>,
}

impl RunTask {
    /// Whether it is winding up.
    pub fn is_terminating(&self) -> bool {
        let current = self.status.as_ref().and_then(|status| status.state.as_ref());
        let legacy = self.state.as_ref().and_then(|state| state.life_cycle_state.as_ref());
        match current {
            Some(LifecycleStateV2::Other(_)) | None => {
                matches!(legacy, Some(LifeCycleState::Terminating))
            }
            Some(current) => *current == LifecycleStateV2::Terminating,
        }
    }
}

/// A task that comes before another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TaskDependency {
    /// Its name in the run.
    pub task_key: String,
}

/// The cluster of a task. Both ids are text here (DA §1.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClusterInstance {
    /// The cluster.
    pub cluster_id: Option<String>,
    /// Its Spark context.
    pub spark_context_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_ended_in_either_form() {
        for (run, ended) in [
            (r#"{"status": {"state": "TERMINATED"}}"#, true),
            (
                r#"{"status": {"state": "RUNNING"}, "state": {"life_cycle_state": "TERMINATED"}}"#,
                false,
            ),
            (r#"{"status": {"state": "NEW"}, "state": {"life_cycle_state": "TERMINATED"}}"#, true),
            (r#"{"state": {"life_cycle_state": "TERMINATED"}}"#, true),
            (r#"{"state": {"life_cycle_state": "SKIPPED"}}"#, true),
            (r#"{"state": {"life_cycle_state": "INTERNAL_ERROR"}}"#, true),
            (r#"{"state": {"life_cycle_state": "TERMINATING"}}"#, false),
            (r#"{"state": {"life_cycle_state": "NEW"}}"#, false),
            ("{}", false),
        ] {
            assert_eq!(serde_json::from_str::<Run>(run).unwrap().has_ended(), ended, "{run}");
        }
    }
}
