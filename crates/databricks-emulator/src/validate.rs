//! From a submitted body to a [`Submission`], or to the refusal that the service would answer. Pure.
//!
//! A body is refused for its first fault, in the order: not an object; a field that is missing or of the wrong JSON type
//! (DA §1.1, §1.2); then the rules between fields, task by task.

mod fields;
mod run_level;
mod run_now;
mod tasks;

use crate::endpoint::ApiVersion;
use crate::refusal::{Refusal, invalid, malformed};
use crate::schema::{RUN, TASK};
use serde_json::{Map, Value};
use std::sync::Arc;
use tasks::Surroundings;

pub(crate) use run_now::run_now;

/// The longest `idempotency_token`, in characters (DA §3.1).
const MAX_TOKEN_CHARS: usize = 64;

/// The `task_key` of a run that was submitted without tasks of its own. The service's choice is not documented.
const LEGACY_TASK_KEY: &str = "main";

/// A body that the service accepts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Submission {
    /// `Untitled` when the body names none.
    pub(crate) run_name: String,
    pub(crate) idempotency_token: Option<String>,
    /// At least one.
    pub(crate) tasks: Vec<SubmittedTask>,
    pub(crate) format: Format,
    /// The keys that were ignored, as paths.
    pub(crate) ignored_keys: Vec<String>,
    /// All of it, as it came.
    pub(crate) body: Arc<Map<String, Value>>,
}

/// Whether the run is its own only task, which only version 2.0 makes (DA §1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    SingleTask,
    MultiTask,
}

/// One task of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SubmittedTask {
    pub(crate) key: String,
    /// Its one task type, such as `spark_python_task`; also one that nobody knows.
    pub(crate) kind: String,
    /// The keys of the tasks that come before it.
    pub(crate) depends_on: Vec<String>,
    /// Whether it runs although a task before it did not succeed: `run_if` is there and is not `ALL_SUCCESS`.
    pub(crate) runs_after_failure: bool,
    /// All of it, as it came.
    pub(crate) body: Map<String, Value>,
}

/// Checks the bytes of a submit.
pub(crate) fn submission(bytes: &[u8], version: ApiVersion) -> Result<Submission, Refusal> {
    check(object(bytes)?, version)
}

/// The JSON object that a request body has to be.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(body)) => Ok(body),
        Ok(_) => Err(malformed("Invalid request body: expected a JSON object.")),
        Err(error) => {
            Err(malformed(format!("Invalid JSON given in the body of the request: {error}.")))
        }
    }
}

fn check(body: Map<String, Value>, version: ApiVersion) -> Result<Submission, Refusal> {
    if present(&body, "job_clusters").is_some() {
        return Err(invalid(
            "job_clusters is not accepted at runs/submit; give each task its new_cluster.",
        ));
    }
    let mut ignored_keys = Vec::new();
    let (prefixes, task_bodies) = task_bodies(&body, version, &mut ignored_keys)?;
    run_level::check(&body)?;
    let surroundings = Surroundings::of(&body)?;
    let tasks = tasks::check(prefixes.iter().zip(&task_bodies), &surroundings, &mut ignored_keys)?;

    let idempotency_token =
        text(&body, "idempotency_token").filter(|token| !token.is_empty()).map(ToOwned::to_owned);
    if let Some(length) = idempotency_token
        .as_ref()
        .map(|token| token.chars().count())
        .filter(|n| *n > MAX_TOKEN_CHARS)
    {
        return Err(invalid(format!(
            "idempotency_token has {length} characters; at most {MAX_TOKEN_CHARS} are allowed."
        )));
    }
    Ok(Submission {
        run_name: text(&body, "run_name")
            .filter(|name| !name.is_empty())
            .unwrap_or("Untitled")
            .to_owned(),
        idempotency_token,
        tasks,
        format: if version == ApiVersion::V2_0 { Format::SingleTask } else { Format::MultiTask },
        ignored_keys,
        body: Arc::new(body),
    })
}

type TaskBodies = (Vec<String>, Vec<Map<String, Value>>);

/// The bodies of the tasks and the path of each, once all fields have their types.
fn task_bodies(
    body: &Map<String, Value>,
    version: ApiVersion,
    ignored: &mut Vec<String>,
) -> Result<TaskBodies, Refusal> {
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

/// Parts the keys of a body without `tasks`: those of the run, and those of its one task (DA §10.3).
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
        } else if RUN.iter().all(|field| field.name != key)
            && (is_task_type(key) || is_task_field(key))
        {
            task.insert(key.clone(), value.clone());
        } else {
            run.insert(key.clone(), value.clone());
        }
    }
    task.insert("task_key".to_owned(), LEGACY_TASK_KEY.into());
    (run, task)
}

fn is_task_field(key: &str) -> bool {
    TASK.iter().any(|field| field.name == key)
}

/// Every task type has a key that ends so; one that is not known today most likely too.
fn is_task_type(key: &str) -> bool {
    key.ends_with("_task")
}

/// The value of a key, where null means that it is absent.
fn present<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    present(object, key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
