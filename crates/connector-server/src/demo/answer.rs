//! What the server answers, as the demo shows it.

use std::time::Duration;

use flyteidl2::{connector::Resource, core::task_execution::Phase};
use serde_json::{Map, Value, json};
use tonic::Code;

use connector_service::code_name;

/// How much of an idempotency token is shown.
const TOKEN_PREFIX: usize = 8;

/// The calls of Flyte's executor, and of the console for logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    CreateTask,
    GetTask,
    GetTaskLogs,
    DeleteTask,
}

impl Call {
    /// The name of the RPC.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CreateTask => "CreateTask",
            Self::GetTask => "GetTask",
            Self::GetTaskLogs => "GetTaskLogs",
            Self::DeleteTask => "DeleteTask",
        }
    }
}

/// One answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The key of the scene.
    pub(super) task: &'static str,
    /// Since the `CreateTask` of the scene was sent.
    pub(super) at: Duration,
    pub(super) said: Said,
}

/// What an answer says.
#[derive(Debug, Clone)]
pub(super) enum Said {
    Created(Created),
    Stands(Standing),
    Logged(Vec<String>),
    Deleted,
    /// The call ended with a status other than OK.
    Refused {
        call: Call,
        code: Code,
        message: String,
    },
}

/// The answer to `CreateTask`, and what the workspace got.
#[derive(Debug, Clone)]
pub(super) struct Created {
    pub(super) workspace: String,
    pub(super) run_id: String,
    pub(super) submitted: Submitted,
}

/// What of the submitted body is worth seeing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Submitted {
    pub(super) task_type: String,
    pub(super) compute: String,
    pub(super) idempotency_token_prefix: String,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) phase: Phase,
    pub(super) message: String,
    pub(super) links: Vec<Link>,
}

/// A link of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) uri: String,
}

impl Standing {
    /// Reads the answer to `GetTask`. A phase that Flyte does not know is UNDEFINED, as it is for Flyte.
    pub(super) fn of(resource: Resource) -> Self {
        let phase = resource.phase();
        let links = resource
            .log_links
            .into_iter()
            .map(|link| Link { name: link.name, uri: link.uri })
            .collect();
        Self { phase, message: resource.message, links }
    }
}

/// Whether Flyte stops asking.
pub(super) fn is_terminal(phase: Phase) -> bool {
    matches!(phase, Phase::Succeeded | Phase::Aborted | Phase::Failed | Phase::RetryableFailed)
}

impl Submitted {
    /// Looks into the body of `runs/submit`.
    pub(super) fn of(body: &Value) -> Self {
        let task = body.pointer("/tasks/0").and_then(Value::as_object);
        let task_type = task.and_then(|task| task.keys().find(|key| key.ends_with("_task")));
        let token = body.get("idempotency_token").and_then(Value::as_str).unwrap_or_default();
        Self {
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
    let Some(cluster) = task.get("new_cluster") else { return "no cluster of its own".to_owned() };
    let text = |key: &str| cluster.get(key).and_then(Value::as_str).unwrap_or("?");
    let workers = cluster.get("num_workers").and_then(Value::as_i64);
    let workers = match workers {
        Some(1) => "1 worker".to_owned(),
        Some(count) => format!("{count} workers"),
        None => "workers as needed".to_owned(),
    };
    format!("a new cluster ({}, {workers}, {})", text("node_type_id"), text("spark_version"))
}

impl Answer {
    /// Which call this answers.
    pub(super) fn call(&self) -> Call {
        match &self.said {
            Said::Created(_) => Call::CreateTask,
            Said::Stands(_) => Call::GetTask,
            Said::Logged(_) => Call::GetTaskLogs,
            Said::Deleted => Call::DeleteTask,
            Said::Refused { call, .. } => *call,
        }
    }

    /// The answer for programs. Every one has `task`, `call`, `seconds` and `code`.
    pub(super) fn to_json(&self) -> Value {
        let mut object = json!({
            "task": self.task,
            "call": self.call().name(),
            "seconds": seconds(self.at),
            "code": "OK",
        });
        let more = match &self.said {
            Said::Created(created) => json!({
                "workspace": created.workspace,
                "run_id": created.run_id,
                "submitted": {
                    "task_type": created.submitted.task_type,
                    "compute": created.submitted.compute,
                    "idempotency_token_prefix": created.submitted.idempotency_token_prefix,
                },
            }),
            Said::Stands(standing) => json!({
                "phase": standing.phase.as_str_name(),
                "message": standing.message,
                "links": standing.links.iter().map(|link| json!({"name": link.name, "uri": link.uri})).collect::<Vec<_>>(),
            }),
            Said::Logged(lines) => json!({"lines": lines}),
            Said::Deleted => json!({}),
            Said::Refused { code, message, .. } => {
                json!({"code": code_name(*code), "message": message})
            }
        };
        if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
            object.extend(more);
        }
        object
    }
}

/// Seconds with three decimals, which is what the demo can tell.
pub(super) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_cluster_is_told_with_its_size() {
        let body = json!({
            "idempotency_token": "0123456789abcdef",
            "tasks": [{
                "task_key": "flyte_task",
                "spark_python_task": {"python_file": "x.py"},
                "new_cluster": {"node_type_id": "m6i.large", "num_workers": 1, "spark_version": "16.4.x-scala2.12"},
            }],
        });
        let expected = Submitted {
            task_type: "spark_python_task".to_owned(),
            compute: "a new cluster (m6i.large, 1 worker, 16.4.x-scala2.12)".to_owned(),
            idempotency_token_prefix: "01234567".to_owned(),
        };
        assert_eq!(Submitted::of(&body), expected);
    }

    #[test]
    fn an_existing_cluster_is_told_by_its_id() {
        let body = json!({"tasks": [{"existing_cluster_id": "1113-204018-tb9vr2fm", "notebook_task": {}}]});
        let submitted = Submitted::of(&body);
        assert_eq!(submitted.compute, "the existing cluster 1113-204018-tb9vr2fm");
        assert_eq!(submitted.task_type, "notebook_task");
    }

    #[test]
    fn a_refused_call_keeps_its_name_and_code_in_json() {
        let said = Said::Refused {
            call: Call::GetTask,
            code: Code::NotFound,
            message: "no such thing".to_owned(),
        };
        let json =
            Answer { task: "succeeds", at: Duration::from_micros(1_234_567), said }.to_json();
        assert_eq!(
            json,
            json!({"task": "succeeds", "call": "GetTask", "seconds": 1.235, "code": "NOT_FOUND", "message": "no such thing"})
        );
    }

    #[test]
    fn a_phase_that_flyte_does_not_know_is_undefined() {
        let standing = Standing::of(Resource { phase: 99, ..Resource::default() });
        assert_eq!(standing.phase, Phase::Undefined);
        assert!(!is_terminal(standing.phase));
    }
}
