//! Identifies the cluster of a task.

use super::run::{CurrentState, Run};
use super::script::LifeCycle;
use super::validation::SubmittedTask;
use serde_json::Value;

impl Run {
    /// Returns the cluster id of a task, once its cluster is requested.
    pub(crate) fn cluster_id(&self, index: usize, task: &SubmittedTask) -> Option<String> {
        let needs_no_cluster = match self.task_state(index) {
            CurrentState::Active { step, .. } => step.state == LifeCycle::Blocked,
            CurrentState::Terminated(end) => {
                end.termination.life_cycle_state.as_deref() == Some("SKIPPED")
            }
        };
        let requested = [LifeCycle::Pending, LifeCycle::Running]
            .iter()
            .any(|state| self.timeline.reached(state));
        if needs_no_cluster || !requested {
            return None;
        }
        match (task.body.get("existing_cluster_id"), task.body.get("new_cluster")) {
            (Some(Value::String(existing)), _) => Some(existing.clone()),
            (_, Some(Value::Object(_))) => Some(format!(
                "0801-120000-{:08x}",
                self.task_id(index).unsigned_abs() % 0xffff_ffff
            )),
            _ => None,
        }
    }

    /// Returns the folder for the driver logs of a task's cluster, once the cluster is requested.
    pub(crate) fn log_folder(&self, index: usize, task: &SubmittedTask) -> Option<String> {
        let id = self.cluster_id(index, task)?;
        let conf = task.body.get("new_cluster")?.get("cluster_log_conf")?.as_object()?;
        let destination = conf.values().next()?.get("destination")?.as_str()?;
        Some(format!("{}/{id}/driver", destination.trim_end_matches('/')))
    }

    /// Returns the index of the first task that uses the cluster, and the task.
    pub(crate) fn task_on_cluster(&self, cluster_id: &str) -> Option<(usize, &SubmittedTask)> {
        let mut tasks = self.submission.tasks.iter().enumerate();
        tasks.find(|(index, task)| self.cluster_id(*index, task).as_deref() == Some(cluster_id))
    }
}
