//! `runs/get` (databricks-api.md#runs-get).

use futures_util::{Stream, TryStreamExt as _};
use serde::Deserialize;

use super::{LifeCycleState, LifecycleStateV2, RunState, RunStatus};
use crate::{
    Error, RunId,
    api::{
        json,
        pages::{self, Page},
        run_id,
    },
};

/// A run. Times are in milliseconds since the epoch, durations in milliseconds. 0 means not yet known.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
pub struct Run {
    /// The run id.
    #[serde(deserialize_with = "run_id::optional")]
    pub run_id: Option<RunId>,
    /// The job id. A submitted run has its own job.
    #[serde(deserialize_with = "json::optional_int64")]
    pub job_id: Option<i64>,
    /// The name of the run.
    pub run_name: Option<String>,
    /// The URL of the page in the workspace.
    pub run_page_url: Option<String>,
    /// The state, in its current form.
    pub status: Option<RunStatus>,
    /// The state, in its legacy form.
    pub state: Option<RunState>,
    /// The attempt number of the run.
    #[serde(deserialize_with = "json::optional_int64")]
    pub attempt_number: Option<i64>,
    /// Start time.
    #[serde(deserialize_with = "json::optional_int64")]
    pub start_time: Option<i64>,
    /// End time.
    #[serde(deserialize_with = "json::optional_int64")]
    pub end_time: Option<i64>,
    /// Time in the queue.
    #[serde(deserialize_with = "json::optional_int64")]
    pub queue_duration: Option<i64>,
    /// Setup time. 0 for runs of several tasks.
    #[serde(deserialize_with = "json::optional_int64")]
    pub setup_duration: Option<i64>,
    /// Execution time. 0 for runs of several tasks.
    #[serde(deserialize_with = "json::optional_int64")]
    pub execution_duration: Option<i64>,
    /// Cleanup time. 0 for runs of several tasks.
    #[serde(deserialize_with = "json::optional_int64")]
    pub cleanup_duration: Option<i64>,
    /// Total time of the run.
    #[serde(deserialize_with = "json::optional_int64")]
    pub run_duration: Option<i64>,
    /// The tasks, with one element for each attempt.
    #[serde(deserialize_with = "json::null_as_default")]
    pub tasks: Vec<RunTask>,
    /// The iterations of a for-each run.
    #[serde(deserialize_with = "json::null_as_default")]
    pub iterations: Vec<RunTask>,
    /// The token of the next page of `tasks` or `iterations`. Empty on the last page.
    pub next_page_token: Option<String>,
}

impl Run {
    /// Returns the latest attempt of each task, in order of first appearance (databricks-api.md#runs-get).
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

impl Page for Run {
    fn next(&self) -> Option<&str> {
        pages::token(self.next_page_token.as_deref())
    }
}

/// Returns a run with the tasks and iterations of all its pages.
pub(super) async fn join(
    mut run: Run,
    mut pages: impl Stream<Item = Result<Run, Error>> + Unpin,
) -> Result<Run, Error> {
    while let Some(page) = pages.try_next().await? {
        run.iterations.extend(page.iterations);
        // A for-each run has pages of iterations, and repeats its only task on each (databricks-api.md#runs-get).
        if run.iterations.is_empty() {
            run.tasks.extend(page.tasks);
        }
        run.next_page_token = page.next_page_token;
    }
    run.next_page_token = run.next_page_token.filter(|token| !token.is_empty());
    Ok(run)
}

/// One attempt of one task of a run.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RunTask {
    /// The name of the task in the run.
    #[serde(deserialize_with = "json::null_as_default")]
    pub task_key: String,
    /// The id of this attempt, as used for `runs/get-output`.
    #[serde(deserialize_with = "run_id::optional")]
    pub run_id: Option<RunId>,
    /// The description from the submission. Lists contain it only with tasks expanded.
    pub description: Option<String>,
    /// The tasks that this one depends on.
    #[serde(deserialize_with = "json::null_as_default")]
    pub depends_on: Vec<TaskDependency>,
    /// The attempt number. 0 for the first.
    #[serde(deserialize_with = "json::optional_int64")]
    pub attempt_number: Option<i64>,
    /// The state, in its current form.
    pub status: Option<RunStatus>,
    /// The state, in its legacy form.
    pub state: Option<RunState>,
    /// The URL of the page in the workspace.
    pub run_page_url: Option<String>,
    /// The cluster, once it has been requested.
    pub cluster_instance: Option<ClusterInstance>,
    /// Start time.
    #[serde(deserialize_with = "json::optional_int64")]
    pub start_time: Option<i64>,
    /// End time.
    #[serde(deserialize_with = "json::optional_int64")]
    pub end_time: Option<i64>,
    /// Time in the queue.
    #[serde(deserialize_with = "json::optional_int64")]
    pub queue_duration: Option<i64>,
    /// Setup time.
    #[serde(deserialize_with = "json::optional_int64")]
    pub setup_duration: Option<i64>,
    /// Execution time.
    #[serde(deserialize_with = "json::optional_int64")]
    pub execution_duration: Option<i64>,
    /// Cleanup time.
    #[serde(deserialize_with = "json::optional_int64")]
    pub cleanup_duration: Option<i64>,
}

impl RunTask {
    /// True while the task terminates.
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

/// A task that another task depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TaskDependency {
    /// The name of the task in the run.
    pub task_key: String,
}

/// The cluster of a task. Both ids are strings here (databricks-api.md#runs-get).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClusterInstance {
    /// The cluster id.
    pub cluster_id: Option<String>,
    /// The id of the Spark context.
    pub spark_context_id: Option<String>,
}
