//! The attempts of a run's tasks, in the order in which a log shows them. Pure.

use std::collections::HashSet;

use databricks_client::{
    RunId,
    jobs::{Outcome, Progress, Run, RunTask},
};

/// One attempt of one task.
#[derive(Debug)]
pub(super) struct TaskAttempt<'a> {
    pub(super) task: &'a RunTask,
    pub(super) run_id: RunId,
    /// Prefix of its lines: the task key if the run has several tasks, else empty.
    pub(super) prefix: String,
    pub(super) state: AttemptState,
    /// Whether the task has a later attempt.
    pub(super) is_superseded: bool,
    /// Its cluster id, once known.
    pub(super) cluster: Option<&'a str>,
    /// Whether an earlier attempt in the list uses the same cluster, whose logs contain both.
    pub(super) shares_cluster: bool,
}

/// The state of an attempt, as far as its log depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptState {
    /// Queued, or its compute is being prepared.
    Pending,
    /// Running; there may be output.
    Running,
    /// Ended. Every attempt has ended once its run has.
    Ended {
        /// Whether it neither succeeded nor was skipped.
        failed: bool,
    },
}

impl TaskAttempt<'_> {
    pub(super) fn has_started(&self) -> bool {
        self.state != AttemptState::Pending
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, AttemptState::Ended { .. })
    }

    pub(super) fn has_failed(&self) -> bool {
        self.state == AttemptState::Ended { failed: true }
    }
}

fn attempt_state(run: &Run, task: &RunTask) -> AttemptState {
    match task.progress() {
        Progress::Ended(outcome) => {
            AttemptState::Ended { failed: outcome != Outcome::Succeeded && !task.was_skipped() }
        }
        _ if run.has_ended() => AttemptState::Ended { failed: false },
        Progress::Running => AttemptState::Running,
        Progress::Queued | Progress::Pending => AttemptState::Pending,
    }
}

/// Returns the attempts grouped by task: tasks in order of first appearance, attempts in their own order
/// (databricks-api.md#runs-get).
pub(super) fn of_run(run: &Run) -> Vec<TaskAttempt<'_>> {
    let tasks = run.attempts();
    let has_several_tasks = tasks.len() > 1;
    let mut attempts: Vec<TaskAttempt<'_>> = Vec::new();
    let (mut run_ids, mut clusters) = (HashSet::new(), HashSet::new());
    for mut of_task in tasks {
        let last = RunTask::latest(&of_task).and_then(|task| task.run_id);
        of_task.sort_by_key(|task| task.attempt_number.unwrap_or(0));
        for task in of_task {
            let Some(run_id) = task.run_id.filter(|run_id| run_ids.insert(*run_id)) else {
                continue;
            };
            let cluster =
                task.cluster_instance.as_ref().and_then(|cluster| cluster.cluster_id.as_deref());
            let cluster = cluster.filter(|id| !id.is_empty());
            attempts.push(TaskAttempt {
                task,
                run_id,
                prefix: if has_several_tasks {
                    format!("{}: ", task.task_key)
                } else {
                    String::new()
                },
                state: attempt_state(run, task),
                is_superseded: last != Some(run_id),
                shares_cluster: cluster.is_some_and(|id| !clusters.insert(id)),
                cluster,
            });
        }
    }
    attempts
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn attempts(run: &Value) -> Vec<(String, bool, bool, bool)> {
        let run: Run = serde_json::from_value(run.clone()).unwrap();
        of_run(&run)
            .iter()
            .map(|attempt| {
                (
                    format!("{}{}", attempt.prefix, attempt.run_id),
                    attempt.is_superseded,
                    attempt.has_ended(),
                    attempt.shares_cluster,
                )
            })
            .collect()
    }

    #[test]
    fn attempts_are_grouped_by_task_and_ordered() {
        let task = |key: &str, id: i64, attempt: i64, cluster: &str| {
            json!({"task_key": key, "run_id": id, "attempt_number": attempt, "status": {"state": "RUNNING"},
                "cluster_instance": {"cluster_id": cluster}})
        };
        let run = json!({"tasks": [task("b", 4, 1, "c-1"), task("a", 2, 0, "c-2"), task("b", 3, 0, "c-1"), task("b", 3, 0, "c-1")]});
        assert_eq!(
            attempts(&run),
            [
                ("b: 3".to_owned(), true, false, false),
                ("b: 4".to_owned(), false, false, true),
                ("a: 2".to_owned(), false, false, false),
            ]
        );
    }

    #[test]
    fn attempts_have_ended_once_their_run_has() {
        let run = json!({"status": {"state": "TERMINATED"}, "tasks": [{"task_key": "a", "run_id": 1, "status": {"state": "BLOCKED"}}]});
        assert_eq!(attempts(&run), [("1".to_owned(), false, true, false)]);
    }
}
