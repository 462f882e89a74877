//! The clusters of runs (databricks-api.md#clusters).

use super::{RequestContext, insert, spark_context_id};
use crate::clock::millis;
use crate::jobs::run::{CurrentState, Run};
use crate::jobs::script::LifeCycle;
use crate::jobs::validation::SubmittedTask;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Returns the cluster with this id if a task of the run uses it.
pub(crate) fn cluster(run: &Run, cluster_id: &str, context: &RequestContext<'_>) -> Option<Value> {
    let (index, task) = run.task_on_cluster(cluster_id)?;
    Some(Value::Object(cluster_fields(run, index, task, cluster_id, context)))
}

fn cluster_fields(
    run: &Run,
    index: usize,
    task: &SubmittedTask,
    cluster_id: &str,
    context: &RequestContext<'_>,
) -> Map<String, Value> {
    let spec = task.body.get("new_cluster").and_then(Value::as_object);
    let mut response = Map::new();
    let copied = [
        "spark_version",
        "node_type_id",
        "num_workers",
        "custom_tags",
        "spark_env_vars",
        "spark_conf",
        "cluster_log_conf",
    ];
    for (key, value) in copied.iter().filter_map(|key| Some((*key, spec?.get(*key)?))) {
        insert(&mut response, key, value.clone());
    }
    insert(&mut response, "cluster_id", cluster_id);
    insert(&mut response, "creator_user_name", context.user_name);
    let (source, name) = match spec {
        Some(_) => ("JOB", format!("job-{}-run-{}", run.job_id, run.task_id(index))),
        None => ("API", cluster_id.to_owned()),
    };
    insert(&mut response, "cluster_source", source);
    insert(&mut response, "cluster_name", name);
    insert(&mut response, "start_time", millis(run.timeline.started()));
    if run.timeline.reached(&LifeCycle::Running) {
        // A number here, a string in a run (databricks-api.md#clusters).
        insert(&mut response, "spark_context_id", spark_context_id(run, index));
        let node = format!("{:032x}", run.task_id(index));
        insert(&mut response, "driver", json!({"node_id": node, "private_ip": "10.0.0.10"}));
    }
    if response.contains_key("cluster_log_conf")
        && let Some(running) = run.timeline.entered(&LifeCycle::Running)
    {
        // The last delivery happens at the end (databricks-api.md#delivered-logs).
        let attempted = match run.timeline.end() {
            Some(end) if run.script.late_logs => end.saturating_sub(Duration::from_millis(1)),
            Some(end) => end,
            None => running,
        };
        insert(&mut response, "cluster_log_status", json!({"last_attempted": millis(attempted)}));
    }
    let (state, message) = state(run, index, spec.is_some());
    insert(&mut response, "state", state);
    insert(&mut response, "state_message", message);
    if state == "TERMINATED" {
        insert(&mut response, "termination_reason", termination_reason(run));
        insert(&mut response, "terminated_time", run.timeline.end().map_or(0, millis));
    }
    response
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
