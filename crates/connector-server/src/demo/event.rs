//! One response of the server, and its JSON form.

use std::time::Duration;

use connector_service::code_name;
use flyteidl2::{connector::Resource, core::task_execution::Phase};
use serde_json::{Map, Value, json};
use tonic::Status;

/// Characters of an idempotency token that are printed.
const TOKEN_PREFIX: usize = 8;

/// A response, with its task and time.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// The key of the scenario.
    pub(super) task: &'static str,
    /// Time since `CreateTask` was sent.
    pub(super) elapsed: Duration,
    pub(super) response: Response,
}

/// The content of a response.
#[derive(Debug, Clone)]
pub(super) enum Response {
    Created(Created),
    Status(Resource),
    Logs(Vec<String>),
    Deleted,
    Error { call: &'static str, status: Status },
}

/// The response to `CreateTask`, and what the workspace received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Created {
    pub(super) workspace: String,
    pub(super) run_id: String,
    pub(super) task_type: String,
    pub(super) compute: String,
    pub(super) idempotency_token_prefix: String,
}

/// True if Flyte stops polling at this phase.
pub(super) fn is_terminal(phase: Phase) -> bool {
    matches!(phase, Phase::Succeeded | Phase::Aborted | Phase::Failed | Phase::RetryableFailed)
}

impl Created {
    /// `body` is the body of `runs/submit`.
    pub(super) fn new(workspace: String, run_id: String, body: &Value) -> Self {
        let task = body.pointer("/tasks/0").and_then(Value::as_object);
        let task_type = task.and_then(|task| task.keys().find(|key| key.ends_with("_task")));
        let token = body.get("idempotency_token").and_then(Value::as_str).unwrap_or_default();
        Self {
            workspace,
            run_id,
            task_type: task_type.cloned().unwrap_or_default(),
            compute: task.map(compute).unwrap_or_default(),
            idempotency_token_prefix: token.chars().take(TOKEN_PREFIX).collect(),
        }
    }
}

fn compute(task: &Map<String, Value>) -> String {
    if let Some(cluster) = task.get("existing_cluster_id").and_then(Value::as_str) {
        return format!("the existing cluster {cluster}");
    }
    let Some(cluster) = task.get("new_cluster") else { return "serverless compute".to_owned() };
    let text = |key: &str| cluster.get(key).and_then(Value::as_str).unwrap_or("?");
    let workers = match cluster.get("num_workers").and_then(Value::as_i64) {
        Some(1) => "1 worker".to_owned(),
        Some(count) => format!("{count} workers"),
        None => "autoscaling".to_owned(),
    };
    format!("a new cluster ({}, {workers}, {})", text("node_type_id"), text("spark_version"))
}

impl Event {
    /// Returns the name of the RPC that this is a response to.
    pub(super) fn call(&self) -> &'static str {
        match &self.response {
            Response::Created(_) => "CreateTask",
            Response::Status(_) => "GetTask",
            Response::Logs(_) => "GetTaskLogs",
            Response::Deleted => "DeleteTask",
            Response::Error { call, .. } => call,
        }
    }

    /// Returns the event as JSON. Every event has `task`, `call`, `seconds` and `code`.
    pub(super) fn to_json(&self) -> Value {
        let mut object = json!({
            "task": self.task,
            "call": self.call(),
            "seconds": seconds(self.elapsed),
            "code": "OK",
        });
        let details = match &self.response {
            Response::Created(created) => json!({
                "workspace": created.workspace,
                "run_id": created.run_id,
                "submitted": {
                    "task_type": created.task_type,
                    "compute": created.compute,
                    "idempotency_token_prefix": created.idempotency_token_prefix,
                },
            }),
            Response::Status(resource) => json!({
                "phase": resource.phase().as_str_name(),
                "message": resource.message,
                "links": resource.log_links.iter().map(|link| json!({"name": link.name, "uri": link.uri})).collect::<Vec<_>>(),
            }),
            Response::Logs(lines) => json!({"lines": lines}),
            Response::Deleted => json!({}),
            Response::Error { status, .. } => {
                json!({"code": code_name(status.code()), "message": status.message()})
            }
        };
        if let (Some(object), Value::Object(details)) = (object.as_object_mut(), details) {
            object.extend(details);
        }
        object
    }
}

/// Returns the time in seconds, rounded to milliseconds.
pub(super) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(body: &Value) -> Created {
        Created::new("localhost:1".to_owned(), "3".to_owned(), body)
    }

    #[test]
    fn new_cluster_is_described_by_type_size_and_version() {
        let created = created(&json!({
            "idempotency_token": "0123456789abcdef",
            "tasks": [{
                "task_key": "flyte_task",
                "spark_python_task": {"python_file": "x.py"},
                "new_cluster": {"node_type_id": "m6i.large", "num_workers": 1, "spark_version": "16.4.x-scala2.12"},
            }],
        }));
        assert_eq!(created.task_type, "spark_python_task");
        assert_eq!(created.compute, "a new cluster (m6i.large, 1 worker, 16.4.x-scala2.12)");
        assert_eq!(created.idempotency_token_prefix, "01234567");
    }

    #[test]
    fn existing_cluster_is_described_by_id() {
        let created = created(
            &json!({"tasks": [{"existing_cluster_id": "1113-204018-tb9vr2fm", "notebook_task": {}}]}),
        );
        assert_eq!(created.compute, "the existing cluster 1113-204018-tb9vr2fm");
        assert_eq!(created.task_type, "notebook_task");
    }

    #[test]
    fn failed_call_keeps_its_name_and_code_in_json() {
        let status = Status::not_found("no such thing");
        let response = Response::Error { call: "GetTask", status };
        let elapsed = Duration::from_micros(1_234_567);
        assert_eq!(
            Event { task: "succeeds", elapsed, response }.to_json(),
            json!({"task": "succeeds", "call": "GetTask", "seconds": 1.235, "code": "NOT_FOUND", "message": "no such thing"})
        );
    }

    #[test]
    fn unknown_phase_is_undefined_and_not_terminal() {
        let phase = Resource { phase: 99, ..Resource::default() }.phase();
        assert_eq!(phase, Phase::Undefined);
        assert!(!is_terminal(phase));
    }
}
