//! What happened to the clusters of runs (DA §1.10), as far as the life of the run tells.

use super::cluster::cluster_id;
use super::millis;
use crate::refusal::{Refusal, invalid};
use crate::script::LifeCycle;
use crate::workspace::Run;
use serde_json::{Map, Value, json};

/// Which events are asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) cluster_id: String,
    start: Option<u64>,
    end: Option<u64>,
    kinds: Vec<String>,
    ascending: bool,
    at_most: usize,
}

impl Wanted {
    pub(crate) fn parse(body: &Map<String, Value>) -> Result<Self, Refusal> {
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
            at_most: usize::try_from(size).unwrap_or(500),
        })
    }

    /// Those of the events, which come the earliest first.
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
        events.truncate(self.at_most);
        events
    }
}

/// The events of this cluster, when a task of the run works on it.
pub(crate) fn cluster_events(run: &Run, id: &str) -> Option<Vec<Value>> {
    let mut tasks = run.submission.tasks.iter().enumerate();
    let (_, task) =
        tasks.find(|(place, task)| cluster_id(run, *place, task).as_deref() == Some(id))?;
    let is_own = task.body.contains_key("new_cluster");
    let workers = task.body.get("new_cluster").and_then(|spec| spec.get("num_workers")).cloned();
    let event = |kind: &str, at, details: Value| json!({"cluster_id": id, "timestamp": millis(at), "type": kind, "details": details});
    let mut events = Vec::new();
    if is_own && let Some(at) = run.timeline.entered(&LifeCycle::Pending) {
        events.push(event("CREATING", at, json!({"cluster_size": {"num_workers": &workers}})));
    }
    if is_own && let Some(at) = run.timeline.entered(&LifeCycle::Running) {
        let details = json!({"current_num_workers": &workers, "target_num_workers": &workers});
        events.push(event("RUNNING", at, details));
        events.push(event("DRIVER_HEALTHY", at, json!({})));
    }
    if let Some(at) = run.timeline.end()
        && (is_own || run.script.cluster_termination.is_some())
    {
        let reason = match &run.script.cluster_termination {
            Some(reason) => json!(reason),
            None => json!({"code": "JOB_FINISHED", "type": "SUCCESS", "parameters": {}}),
        };
        events.push(event("TERMINATING", at, json!({"reason": reason})));
    }
    Some(events)
}
