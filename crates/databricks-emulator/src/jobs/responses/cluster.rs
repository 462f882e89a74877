//! The clusters of runs (databricks-api.md#clusters).

use super::{RequestContext, spark_context_id, without_nulls};
use crate::clock::millis;
use crate::jobs::run::{CurrentState, Run};
use crate::jobs::script::LifeCycle;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The fields of `new_cluster` that a cluster shows.
const COPIED: [&str; 7] = [
    "spark_version",
    "node_type_id",
    "num_workers",
    "custom_tags",
    "spark_env_vars",
    "spark_conf",
    "cluster_log_conf",
];

/// Returns the cluster with this id if a task of the run uses it.
pub(crate) fn cluster(run: &Run, cluster_id: &str, context: &RequestContext<'_>) -> Option<Value> {
    let (index, task) = run.task_on_cluster(cluster_id)?;
    let spec = task.body.get("new_cluster").and_then(Value::as_object);
    let copied = |key: &str| Some((key.to_owned(), spec?.get(key)?.clone()));
    let mut response: Map<String, Value> = COPIED.into_iter().filter_map(copied).collect();
    let (source, name) = match spec {
        Some(_) => ("JOB", format!("job-{}-run-{}", run.job_id, run.task_id(index))),
        None => ("API", cluster_id.to_owned()),
    };
    let running = run.timeline.entered(&LifeCycle::Running);
    let delivers_logs = response.contains_key("cluster_log_conf");
    // The last delivery happens at the end (databricks-api.md#delivered-logs).
    let attempted = running.filter(|_| delivers_logs).map(|running| match run.timeline.end() {
        Some(end) if run.script.late_logs => end.saturating_sub(Duration::from_millis(1)),
        Some(end) => end,
        None => running,
    });
    let is_running = run.timeline.reached(&LifeCycle::Running);
    let node = format!("{:032x}", run.task_id(index));
    let (state, message) = state(run, index, spec.is_some());
    let is_terminated = state == "TERMINATED";
    response.extend(without_nulls(json!({
        "cluster_id": cluster_id, "creator_user_name": context.user_name, "cluster_source": source,
        "cluster_name": name, "start_time": millis(run.timeline.started()),
        // A number here, a string in a run (databricks-api.md#clusters).
        "spark_context_id": is_running.then(|| spark_context_id(run, index)),
        "driver": is_running.then(|| json!({"node_id": node, "private_ip": "10.0.0.10"})),
        "cluster_log_status": attempted.map(|at| json!({"last_attempted": millis(at)})),
        "state": state, "state_message": message,
        "termination_reason": is_terminated.then(|| termination_reason(run)),
        "terminated_time": is_terminated.then(|| run.timeline.end().map_or(0, millis)),
    })));
    Some(Value::Object(response))
}

/// Returns the reason for the termination of the run's clusters.
pub(super) fn termination_reason(run: &Run) -> Value {
    match &run.script.cluster_termination {
        Some(reason) => json!(reason),
        None => json!({"code": "JOB_FINISHED", "type": "SUCCESS", "parameters": {}}),
    }
}

/// Returns the state and its message.
///
/// A job cluster ends with the run. An existing cluster keeps running unless the script terminates it.
fn state(run: &Run, index: usize, is_job_cluster: bool) -> (&'static str, &'static str) {
    let ends = is_job_cluster || run.script.cluster_termination.is_some();
    match run.task_state(index) {
        CurrentState::Terminated(_) if ends => ("TERMINATED", ""),
        CurrentState::Active { step, .. }
            if is_job_cluster && step.state == LifeCycle::Terminating =>
        {
            ("TERMINATING", "")
        }
        CurrentState::Active { step, .. } if is_job_cluster && step.state == LifeCycle::Pending => {
            ("PENDING", "Starting Spark")
        }
        _ => ("RUNNING", ""),
    }
}
