//! `runs/get` (databricks-api.md#runs-get).

use std::collections::HashMap;

use super::{LifeCycleState, LifecycleStateV2, RunState, RunStatus};
use crate::{
    RunId,
    api::{
        json::{Fields as _, Json, Read, deserializable, read_objects, readable},
        pages::{self, Page},
    },
};

/// A run. Times are in milliseconds since the epoch, durations in milliseconds. 0 means not yet known.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
pub struct Run {
    /// The run id.
    pub run_id: Option<RunId>,
    /// The job id. A submitted run has its own job.
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
    pub attempt_number: Option<i64>,
    /// Start time.
    pub start_time: Option<i64>,
    /// End time.
    pub end_time: Option<i64>,
    /// Time in the queue.
    pub queue_duration: Option<i64>,
    /// Setup time. 0 for runs of several tasks.
    pub setup_duration: Option<i64>,
    /// Execution time. 0 for runs of several tasks.
    pub execution_duration: Option<i64>,
    /// Cleanup time. 0 for runs of several tasks.
    pub cleanup_duration: Option<i64>,
    /// Total time of the run.
    pub run_duration: Option<i64>,
    /// The tasks, with one element for each attempt.
    pub tasks: Vec<RunTask>,
    /// The iterations of a for-each run.
    pub iterations: Vec<RunTask>,
    /// The token of the next page of `tasks` or `iterations`. Empty on the last page.
    pub next_page_token: Option<String>,
    /// Why `tasks` and `iterations` are incomplete, if they are.
    pub missing_tasks: Option<MissingTasks>,
}

/// Why tasks of a run are missing, although its state is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissingTasks {
    /// There are more than this client keeps, so it keeps none.
    TooMany,
    /// A later page could not be read.
    Unreadable {
        /// The error.
        error: String,
        /// Whether another attempt may succeed.
        is_transient: bool,
    },
}

impl Run {
    /// True if the response names a state, known or unknown.
    pub fn has_state(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.state.is_some())
            || self.state.as_ref().is_some_and(|state| state.life_cycle_state.is_some())
    }

    /// Returns the attempts of each task, tasks in order of first appearance (databricks-api.md#runs-get).
    pub fn attempts(&self) -> Vec<Vec<&RunTask>> {
        let mut tasks: Vec<Vec<&RunTask>> = Vec::new();
        let mut positions: HashMap<&str, usize> = HashMap::new();
        for task in &self.tasks {
            // Without a key, nothing shows that two are attempts of one task.
            let position = match task.task_key.as_str() {
                "" => tasks.len(),
                key => *positions.entry(key).or_insert(tasks.len()),
            };
            match tasks.get_mut(position) {
                Some(attempts) => attempts.push(task),
                None => tasks.push(vec![task]),
            }
        }
        tasks
    }

    /// Returns the latest attempt of each task, in order of first appearance.
    pub fn latest_attempts(&self) -> Vec<&RunTask> {
        self.attempts().iter().filter_map(|attempts| RunTask::latest(attempts)).collect()
    }

    /// Removes the tasks, of which there are too many.
    pub(super) fn drop_tasks(&mut self) {
        (self.tasks, self.iterations) = (Vec::new(), Vec::new());
        self.missing_tasks = Some(MissingTasks::TooMany);
    }
}

impl Page for Run {
    fn next(&self) -> Option<&str> {
        pages::token(self.next_page_token.as_deref())
    }
}

/// One attempt of one task of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunTask {
    /// The name of the task in the run.
    pub task_key: String,
    /// The id of this attempt, as used for `runs/get-output`.
    pub run_id: Option<RunId>,
    /// The description from the submission. Lists contain it only with tasks expanded.
    pub description: Option<String>,
    /// The tasks that this one depends on.
    pub depends_on: Vec<TaskDependency>,
    /// The attempt number. 0 for the first.
    pub attempt_number: Option<i64>,
    /// The key of the task type, such as `notebook_task`.
    pub task_type: Option<String>,
    /// The errors of the iterations of a for-each task, the same errors counted together.
    pub iteration_errors: Vec<IterationError>,
    /// The state, in its current form.
    pub status: Option<RunStatus>,
    /// The state, in its legacy form.
    pub state: Option<RunState>,
    /// The URL of the page in the workspace.
    pub run_page_url: Option<String>,
    /// The cluster, once it has been requested.
    pub cluster_instance: Option<ClusterInstance>,
    /// Start time.
    pub start_time: Option<i64>,
    /// End time.
    pub end_time: Option<i64>,
    /// Time in the queue.
    pub queue_duration: Option<i64>,
    /// Setup time.
    pub setup_duration: Option<i64>,
    /// Execution time.
    pub execution_duration: Option<i64>,
    /// Cleanup time.
    pub cleanup_duration: Option<i64>,
}

impl RunTask {
    /// Returns the latest of the attempts of a task.
    pub fn latest<'a>(attempts: &[&'a Self]) -> Option<&'a Self> {
        attempts.iter().copied().max_by_key(|task| task.attempt_number.unwrap_or(0))
    }

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

/// An error of iterations of a for-each task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IterationError {
    /// The message.
    pub error_message: Option<String>,
    /// The number of iterations that failed with it.
    pub count: Option<i64>,
}

/// A task that another task depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskDependency {
    /// The name of the task in the run.
    pub task_key: String,
}

/// The cluster of a task. Both ids are strings here (databricks-api.md#runs-get).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterInstance {
    /// The cluster id.
    pub cluster_id: Option<String>,
    /// The id of the Spark context.
    pub spark_context_id: Option<String>,
}

/// The fields of a `for_each_task` that are used.
#[derive(Debug, Default)]
struct ForEachTask {
    stats: ForEachStats,
}

/// The statistics of a for-each task.
#[derive(Debug, Default)]
struct ForEachStats {
    error_message_stats: Vec<IterationError>,
}

read_objects! {
    Run {
        run_id, job_id, run_name, run_page_url, status, state, attempt_number, start_time, end_time,
        queue_duration, setup_duration, execution_duration, cleanup_duration, run_duration,
        next_page_token,
    }
    RunTask {
        task_key, run_id, description, depends_on, attempt_number, status, state, run_page_url,
        cluster_instance, start_time, end_time, queue_duration, setup_duration, execution_duration,
        cleanup_duration,
    }
    IterationError { error_message, count }
    TaskDependency { task_key }
    ClusterInstance { cluster_id, spark_context_id }
    ForEachTask { stats }
    ForEachStats { error_message_stats }
}
readable!(IterationError, TaskDependency, ClusterInstance, ForEachTask, ForEachStats);
deserializable!(Run, RunTask);

/// A run with as many tasks as the bounds permit: either all of the response, or none.
impl Read for Run {
    fn read(json: Json<'_>) -> Option<Self> {
        json.take_task().then_some(())?;
        let mut run = Self::default();
        let (mut tasks, mut iterations) = (None, None);
        json.fields(|key, value| match key {
            // Last, so that they cannot use up what the state needs.
            "tasks" => tasks = Some(value),
            "iterations" => iterations = Some(value),
            _ => {
                run.set_field(key, value);
            }
        })?;
        let list = |json: Option<Json<'_>>| json.and_then(Json::read).unwrap_or_default();
        (run.tasks, run.iterations) = (list(tasks), list(iterations));
        if json.is_exceeded() {
            json.accept_exceeded();
            run.drop_tasks();
        }
        Some(run)
    }
}

impl Read for RunTask {
    fn read(json: Json<'_>) -> Option<Self> {
        json.take_task().then_some(())?;
        let mut task = Self::default();
        json.fields(|key, value| {
            if task.set_field(key, value) || !key.ends_with("_task") || !value.is_object() {
                return;
            }
            if key == "for_each_task" {
                task.iteration_errors = value
                    .read::<ForEachTask>()
                    .map(|each| each.stats.error_message_stats)
                    .unwrap_or_default();
            }
            task.task_type = Some(key.to_owned());
        })?;
        Some(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quadratic work would take minutes.
    #[test]
    fn latest_attempts_of_many_tasks_take_linear_time() {
        let task = |n: usize| RunTask { task_key: format!("task {n}"), ..RunTask::default() };
        let run = Run { tasks: (0..200_000).map(task).collect(), ..Run::default() };
        let start = std::time::Instant::now();
        assert_eq!(run.latest_attempts().len(), 200_000);
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }
}
