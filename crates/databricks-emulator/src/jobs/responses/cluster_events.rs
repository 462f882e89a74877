//! Cluster events, derived from the timeline of a run (databricks-api.md#clusters).

use super::cluster::termination_reason;
use crate::api::error::{ApiError, invalid};
use crate::clock::millis;
use crate::jobs::run::Run;
use crate::jobs::script::LifeCycle;
use serde_json::{Map, Value, json};

/// The filter of a request for events.
#[derive(Debug)]
pub(crate) struct EventFilter {
    pub(crate) cluster_id: String,
    start: Option<u64>,
    end: Option<u64>,
    kinds: Vec<String>,
    ascending: bool,
    limit: usize,
}

impl EventFilter {
    pub(crate) fn parse(body: &Map<String, Value>) -> Result<Self, ApiError> {
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let integer = |name: &str| body.get(name).and_then(Value::as_u64);
        let kinds = body.get("event_types").and_then(Value::as_array).into_iter().flatten();
        let size = integer("page_size").filter(|size| *size > 0).unwrap_or(50);
        if size > 500 {
            return Err(invalid("The page_size must be at most 500."));
        }
        Ok(Self {
            cluster_id: text("cluster_id")
                .ok_or_else(|| invalid("Missing required field: cluster_id."))?
                .to_owned(),
            start: integer("start_time"),
            end: integer("end_time"),
            kinds: kinds.filter_map(|kind| kind.as_str().map(ToOwned::to_owned)).collect(),
            ascending: text("order") == Some("ASC"),
            limit: usize::try_from(size).unwrap_or(500),
        })
    }

    /// Returns the matching events in the requested order. `events` must be sorted by time.
    pub(crate) fn select(&self, mut events: Vec<Value>) -> Vec<Value> {
        events.retain(|event| {
            let at = event["timestamp"].as_u64().unwrap_or_default();
            let is_kind = |kind: &String| event["type"].as_str() == Some(kind);
            self.start.is_none_or(|start| at >= start)
                && self.end.is_none_or(|end| at <= end)
                && (self.kinds.is_empty() || self.kinds.iter().any(is_kind))
        });
        if !self.ascending {
            events.reverse();
        }
        events.truncate(self.limit);
        events
    }
}

/// Returns the events of this cluster if a task of the run uses it, oldest first.
pub(crate) fn cluster_events(run: &Run, id: &str) -> Option<Vec<Value>> {
    let (_, task) = run.task_on_cluster(id)?;
    let is_job_cluster = task.body.contains_key("new_cluster");
    let workers = task.body.get("new_cluster").and_then(|spec| spec.get("num_workers")).cloned();
    let event = |kind: &str, at, details: Value| json!({"cluster_id": id, "timestamp": millis(at), "type": kind, "details": details});
    let mut events = Vec::new();
    if is_job_cluster && let Some(at) = run.timeline.entered(&LifeCycle::Pending) {
        events.push(event("CREATING", at, json!({"cluster_size": {"num_workers": &workers}})));
    }
    if is_job_cluster && let Some(at) = run.timeline.entered(&LifeCycle::Running) {
        let details = json!({"current_num_workers": &workers, "target_num_workers": &workers});
        events.push(event("RUNNING", at, details));
        events.push(event("DRIVER_HEALTHY", at, json!({})));
    }
    if let Some(at) = run.timeline.end()
        && (is_job_cluster || run.script.cluster_termination.is_some())
    {
        events.push(event("TERMINATING", at, json!({"reason": termination_reason(run)})));
    }
    Some(events)
}
