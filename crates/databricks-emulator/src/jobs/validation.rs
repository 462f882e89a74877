//! Validates the bodies of `runs/submit` and `run-now`.
//!
//! Reports the first error: not a JSON object, then a missing field or a wrong JSON type (databricks-api.md#runs-submit,
//! databricks-api.md#task-types), then the rules between fields, task by task.

mod fields;
mod run_level;
mod run_now;
pub(crate) mod schema;
mod tasks;

use crate::api::endpoint::ApiVersion;
use crate::api::error::{ApiError, invalid, malformed, reject};
use crate::jobs::validation::schema::{RUN, TASK, contains};
use serde_json::{Map, Value};
use std::sync::Arc;
use tasks::RunContext;

pub(crate) use run_now::run_now;

/// The longest `idempotency_token`, in characters (databricks-api.md#idempotency-token).
const MAX_TOKEN_CHARS: usize = 64;

/// The `task_key` of a run submitted without `tasks`. The key that the service uses is not documented.
const LEGACY_TASK_KEY: &str = "main";

/// A valid body of `runs/submit`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Submission {
    /// `Untitled` if the body has none.
    pub(crate) run_name: String,
    pub(crate) idempotency_token: Option<String>,
    /// At least one.
    pub(crate) tasks: Vec<SubmittedTask>,
    pub(crate) format: RunFormat,
    /// Unknown keys, as paths.
    pub(crate) ignored_keys: Vec<String>,
    /// The body as submitted.
    pub(crate) body: Arc<Map<String, Value>>,
}

/// Whether the run is also its only task, as in version 2.0 (databricks-api.md#runs-get-output).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunFormat {
    SingleTask,
    MultiTask,
}

/// One task of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SubmittedTask {
    pub(crate) key: String,
    /// The task type, such as `spark_python_task`. Unknown types are accepted.
    pub(crate) kind: String,
    /// The keys of the tasks that it depends on.
    pub(crate) depends_on: Vec<String>,
    /// Whether it runs after a failed dependency: `run_if` is present and not `ALL_SUCCESS`.
    pub(crate) runs_after_failure: bool,
    /// The task as submitted.
    pub(crate) body: Map<String, Value>,
}

/// Validates the body of `runs/submit`.
pub(crate) fn submission(bytes: &[u8], version: ApiVersion) -> Result<Submission, ApiError> {
    check(object(bytes)?, version)
}

/// Parses a request body, which must be a JSON object.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(body)) => Ok(body),
        Ok(_) => Err(malformed("Invalid request body: expected a JSON object.")),
        Err(error) => {
            Err(malformed(format!("Invalid JSON given in the body of the request: {error}.")))
        }
    }
}

/// Returns an id, which is a number or a decimal string (databricks-api.md#common-rules).
pub(crate) fn id(body: &Map<String, Value>, key: &str) -> Result<i64, ApiError> {
    let id = match present(body, key) {
        None => return reject!("Missing required field: {key}."),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_i64(),
    };
    id.ok_or_else(|| invalid(format!("Field {key} must be a 64-bit integer.")))
}

fn check(body: Map<String, Value>, version: ApiVersion) -> Result<Submission, ApiError> {
    if present(&body, "job_clusters").is_some() {
        return Err(invalid(
            "job_clusters is not accepted at runs/submit; give each task its new_cluster.",
        ));
    }
    let mut ignored_keys = Vec::new();
    let (prefixes, task_bodies) = task_bodies(&body, version, &mut ignored_keys)?;
    run_level::check(&body)?;
    let context = RunContext::new(&body)?;
    let tasks = tasks::check(prefixes.iter().zip(&task_bodies), &context, &mut ignored_keys)?;

    let idempotency_token =
        text(&body, "idempotency_token").filter(|token| !token.is_empty()).map(ToOwned::to_owned);
    if let Some(length) = idempotency_token
        .as_ref()
        .map(|token| token.chars().count())
        .filter(|n| *n > MAX_TOKEN_CHARS)
    {
        return reject!(
            "idempotency_token has {length} characters; at most {MAX_TOKEN_CHARS} are allowed."
        );
    }
    Ok(Submission {
        run_name: text(&body, "run_name")
            .filter(|name| !name.is_empty())
            .unwrap_or("Untitled")
            .to_owned(),
        idempotency_token,
        tasks,
        format: if version == ApiVersion::V2_0 {
            RunFormat::SingleTask
        } else {
            RunFormat::MultiTask
        },
        ignored_keys,
        body: Arc::new(body),
    })
}

type TaskBodies = (Vec<String>, Vec<Map<String, Value>>);

/// Checks the types of all fields, and returns the path and the body of each task.
fn task_bodies(
    body: &Map<String, Value>,
    version: ApiVersion,
    ignored: &mut Vec<String>,
) -> Result<TaskBodies, ApiError> {
    match present(body, "tasks") {
        Some(tasks) if version != ApiVersion::V2_0 => {
            fields::check_object(RUN, body, "", ignored)?;
            let bodies: Vec<_> = tasks
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_object)
                .cloned()
                .collect();
            if bodies.is_empty() {
                return Err(invalid("tasks is empty; a run needs at least one task."));
            }
            Ok(((0..bodies.len()).map(|index| format!("tasks[{index}]")).collect(), bodies))
        }
        None if version == ApiVersion::V2_2 => Err(invalid("Missing required field: tasks.")),
        _ => {
            let (run, task) = split_legacy(body, version, ignored);
            fields::check_object(RUN, &run, "", ignored)?;
            fields::check_object(TASK, &task, "", ignored)?;
            Ok((vec![String::new()], vec![task]))
        }
    }
}

/// Splits a body without `tasks` into the keys of the run and those of its task (databricks-api.md#further-facts).
fn split_legacy(
    body: &Map<String, Value>,
    version: ApiVersion,
    ignored: &mut Vec<String>,
) -> (Map<String, Value>, Map<String, Value>) {
    let mut run = Map::new();
    let mut task = Map::new();
    for (key, value) in body {
        if key == "tasks" && version == ApiVersion::V2_0 {
            ignored.push(key.clone());
        } else if !contains(RUN, key) && (is_task_type(key) || contains(TASK, key)) {
            task.insert(key.clone(), value.clone());
        } else {
            run.insert(key.clone(), value.clone());
        }
    }
    task.insert("task_key".to_owned(), LEGACY_TASK_KEY.into());
    (run, task)
}

/// The keys of all known task types end in `_task`; unknown ones probably do too.
fn is_task_type(key: &str) -> bool {
    key.ends_with("_task")
}

/// Returns the value of a key. Null counts as absent.
fn present<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    present(object, key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
