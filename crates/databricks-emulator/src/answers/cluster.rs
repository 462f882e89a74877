//! The clusters of runs (DA §1.10).

use super::{Asked, insert, millis, spark_context_id};
use crate::script::LifeCycle;
use crate::validate::SubmittedTask;
use crate::workspace::{Run, Standing};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The id of the cluster of a task, once it was asked for.
pub(crate) fn cluster_id(run: &Run, place: usize, task: &SubmittedTask) -> Option<String> {
    let never_asked = match run.task_standing(place) {
        Standing::On { step, .. } => step.state == LifeCycle::Blocked,
        Standing::Ended(ending) => ending.state.life_cycle_state.as_deref() == Some("SKIPPED"),
    };
    let asked =
        [LifeCycle::Pending, LifeCycle::Running].iter().any(|state| run.timeline.reached(state));
    if never_asked || !asked {
        return None;
    }
    match (task.body.get("existing_cluster_id"), task.body.get("new_cluster")) {
        (Some(Value::String(existing)), _) => Some(existing.clone()),
        (_, Some(Value::Object(_))) => {
            Some(format!("0801-120000-{:08x}", run.task_id(place).unsigned_abs() % 0xffff_ffff))
        }
        _ => None,
    }
}

/// Where the driver's logs of a task's cluster are delivered to, once it was asked for.
pub(crate) fn log_folder(run: &Run, place: usize, task: &SubmittedTask) -> Option<String> {
    let id = cluster_id(run, place, task)?;
    let conf = task.body.get("new_cluster")?.get("cluster_log_conf")?.as_object()?;
    let destination = conf.values().next()?.get("destination")?.as_str()?;
    Some(format!("{}/{id}/driver", destination.trim_end_matches('/')))
}

/// The cluster of this id, when a task of the run works on it.
pub(crate) fn cluster(run: &Run, cluster_id: &str, asked: &Asked<'_>) -> Option<Value> {
    let mut tasks = run.submission.tasks.iter().enumerate();
    let (place, task) = tasks
        .find(|(place, task)| self::cluster_id(run, *place, task).as_deref() == Some(cluster_id))?;
    Some(Value::Object(described(run, place, task, cluster_id, asked)))
}

fn described(
    run: &Run,
    place: usize,
    task: &SubmittedTask,
    cluster_id: &str,
    asked: &Asked<'_>,
) -> Map<String, Value> {
    let spec = task.body.get("new_cluster").and_then(Value::as_object);
    let mut answer = Map::new();
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
        insert(&mut answer, key, value.clone());
    }
    insert(&mut answer, "cluster_id", cluster_id);
    insert(&mut answer, "creator_user_name", asked.user_name);
    let (source, name) = match spec {
        Some(_) => ("JOB", format!("job-{}-run-{}", run.job_id, run.task_id(place))),
        None => ("API", cluster_id.to_owned()),
    };
    insert(&mut answer, "cluster_source", source);
    insert(&mut answer, "cluster_name", name);
    insert(&mut answer, "start_time", millis(run.timeline.started()));
    if run.timeline.reached(&LifeCycle::Running) {
        // A number here, and text in a run (DA §1.10).
        insert(&mut answer, "spark_context_id", spark_context_id(run, place));
        let node = format!("{:032x}", run.task_id(place));
        insert(&mut answer, "driver", json!({"node_id": node, "private_ip": "10.0.0.10"}));
    }
    if answer.contains_key("cluster_log_conf")
        && let Some(running) = run.timeline.entered(&LifeCycle::Running)
    {
        // What is delivered last comes with the end (DA §5.1).
        let attempted = match run.timeline.end() {
            Some(end) if run.script.late_logs => end.saturating_sub(Duration::from_millis(1)),
            Some(end) => end,
            None => running,
        };
        insert(&mut answer, "cluster_log_status", json!({"last_attempted": millis(attempted)}));
    }
    let (state, message) = state(run, place, spec.is_some());
    insert(&mut answer, "state", state);
    insert(&mut answer, "state_message", message);
    if state == "TERMINATED" {
        let reason = match &run.script.cluster_termination {
            Some(reason) => json!(reason),
            None => json!({"code": "JOB_FINISHED", "type": "SUCCESS", "parameters": {}}),
        };
        insert(&mut answer, "termination_reason", reason);
        insert(&mut answer, "terminated_time", run.timeline.end().map_or(0, millis));
    }
    answer
}

/// A cluster of the run's own lives as long as the run; any other outlives it, unless the script says how it ended.
fn state(run: &Run, place: usize, is_own: bool) -> (&'static str, &'static str) {
    let ends = is_own || run.script.cluster_termination.is_some();
    match run.task_standing(place) {
        Standing::Ended(_) if ends => ("TERMINATED", ""),
        Standing::On { step, .. } if is_own && step.state == LifeCycle::Terminating => {
            ("TERMINATING", "")
        }
        Standing::On { step, .. } if is_own && step.state == LifeCycle::Pending => {
            ("PENDING", "Starting Spark")
        }
        _ => ("RUNNING", ""),
    }
}
