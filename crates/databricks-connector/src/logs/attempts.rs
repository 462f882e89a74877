//! The attempts of a run's tasks in the order they are told. Pure.

use databricks_client::{
    RunId,
    jobs::{Run, RunTask},
};

use crate::get::phase::{Outcome, Progress, progress_of, was_skipped};

/// One attempt of one task.
#[derive(Debug)]
pub(super) struct Unit<'a> {
    pub(super) task: &'a RunTask,
    pub(super) run_id: RunId,
    /// What stands before its lines: the task's name where there are several tasks.
    pub(super) prefix: String,
    pub(super) standing: Standing,
    /// Whether a later attempt took its place.
    pub(super) is_superseded: bool,
    /// Its cluster, once one was asked for.
    pub(super) cluster: Option<&'a str>,
    /// Whether an earlier attempt has the same cluster, whose logs tell of both.
    pub(super) shares_cluster: bool,
}

/// How far an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It waits, or its compute is prepared.
    NotBegun,
    /// It works, so that there may be output.
    Working,
    /// It is over; every attempt is, once the run is.
    Ended {
        /// Neither did it what it should, nor was it left out.
        failed: bool,
    },
}

impl Unit<'_> {
    pub(super) fn has_begun(&self) -> bool {
        self.standing != Standing::NotBegun
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.standing, Standing::Ended { .. })
    }

    pub(super) fn has_failed(&self) -> bool {
        self.standing == Standing::Ended { failed: true }
    }
}

fn standing(run: &Run, task: &RunTask) -> Standing {
    match progress_of(task.status.as_ref(), task.state.as_ref()) {
        Progress::Ended(outcome) => Standing::Ended {
            failed: outcome != Outcome::Succeeded
                && !was_skipped(task.status.as_ref(), task.state.as_ref()),
        },
        _ if run.has_ended() => Standing::Ended { failed: false },
        Progress::Running => Standing::Working,
        Progress::Waiting | Progress::Preparing => Standing::NotBegun,
    }
}

/// Task by task in the order of their first appearance, the attempts of each in theirs (DA §1.3).
pub(super) fn of(run: &Run) -> Vec<Unit<'_>> {
    let latest = run.latest_attempts();
    let several = latest.len() > 1;
    let mut units: Vec<Unit<'_>> = Vec::new();
    for last in latest {
        let mut attempts: Vec<&RunTask> =
            run.tasks.iter().filter(|task| task.task_key == last.task_key).collect();
        attempts.sort_by_key(|task| task.attempt_number.unwrap_or(0));
        for task in attempts {
            let Some(run_id) = task.run_id else { continue };
            if units.iter().any(|unit| unit.run_id == run_id) {
                continue;
            }
            let cluster =
                task.cluster_instance.as_ref().and_then(|cluster| cluster.cluster_id.as_deref());
            let cluster = cluster.filter(|id| !id.is_empty());
            units.push(Unit {
                task,
                run_id,
                prefix: if several { format!("{}: ", task.task_key) } else { String::new() },
                standing: standing(run, task),
                is_superseded: last.run_id != task.run_id,
                shares_cluster: cluster.is_some()
                    && units.iter().any(|unit| unit.cluster == cluster),
                cluster,
            });
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(run: &Value) -> Vec<(String, bool, bool, bool)> {
        let run: Run = serde_json::from_value(run.clone()).unwrap();
        of(&run)
            .iter()
            .map(|unit| {
                (
                    format!("{}{}", unit.prefix, unit.run_id),
                    unit.is_superseded,
                    unit.has_ended(),
                    unit.shares_cluster,
                )
            })
            .collect()
    }

    #[test]
    fn every_attempt_is_told_in_order_and_the_tasks_one_after_the_other() {
        let task = |key: &str, id: i64, attempt: i64, cluster: &str| {
            json!({"task_key": key, "run_id": id, "attempt_number": attempt, "status": {"state": "RUNNING"},
                "cluster_instance": {"cluster_id": cluster}})
        };
        let run = json!({"tasks": [task("b", 4, 1, "c-1"), task("a", 2, 0, "c-2"), task("b", 3, 0, "c-1"), task("b", 3, 0, "c-1")]});
        let told = told(&run);
        assert_eq!(
            told,
            [
                ("b: 3".to_owned(), true, false, false),
                ("b: 4".to_owned(), false, false, true),
                ("a: 2".to_owned(), false, false, false),
            ]
        );
    }

    #[test]
    fn the_end_of_the_run_is_the_end_of_every_attempt() {
        let run = json!({"status": {"state": "TERMINATED"}, "tasks": [{"task_key": "a", "run_id": 1, "status": {"state": "BLOCKED"}}]});
        assert_eq!(told(&run), [("1".to_owned(), false, true, false)]);
    }
}
