//! Rules between the fields of a task, and between tasks.

use super::fields::{check_object, join};
use super::{SubmittedTask, is_task_type, present, text};
use crate::api::error::{ApiError, reject};
use crate::jobs::validation::schema::TASK;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Task types that need an environment if they have no cluster (databricks-api.md#task-types).
const NEED_ENVIRONMENT: [&str; 3] = ["spark_python_task", "python_wheel_task", "dbt_task"];

/// The parts of the body that tasks refer to.
pub(super) struct RunContext<'a> {
    environments: BTreeSet<&'a str>,
    git_source: bool,
}

impl<'a> RunContext<'a> {
    /// Reads a body whose fields have valid types.
    pub(super) fn new(body: &'a Map<String, Value>) -> Result<Self, ApiError> {
        let mut environments = BTreeSet::new();
        for environment in
            present(body, "environments").and_then(Value::as_array).into_iter().flatten()
        {
            let key =
                environment.get("environment_key").and_then(Value::as_str).unwrap_or_default();
            if !environments.insert(key) {
                return reject!("environments has environment_key '{key}' twice.");
            }
        }
        Ok(Self { environments, git_source: present(body, "git_source").is_some() })
    }
}

/// Checks all tasks. Each comes with its path.
pub(super) fn check<'a>(
    tasks: impl Iterator<Item = (&'a String, &'a Map<String, Value>)>,
    context: &RunContext<'_>,
    ignored: &mut Vec<String>,
) -> Result<Vec<SubmittedTask>, ApiError> {
    let tasks: Vec<_> = tasks
        .map(|(path, body)| check_task(body, path, context, ignored))
        .collect::<Result<_, _>>()?;
    let mut keys = BTreeSet::new();
    if let Some(duplicate) = tasks.iter().find(|task| !keys.insert(task.key.as_str())) {
        return reject!("Duplicate task_key '{}'; each task needs its own.", duplicate.key);
    }
    check_dependencies(&tasks)?;
    Ok(tasks)
}

fn check_task(
    body: &Map<String, Value>,
    path: &str,
    context: &RunContext<'_>,
    ignored: &mut Vec<String>,
) -> Result<SubmittedTask, ApiError> {
    let key = text(body, "task_key").unwrap_or_default();
    if key.is_empty() {
        return reject!("Field {} is empty; each task needs its key.", join(path, "task_key"));
    }
    if present(body, "job_cluster_key").is_some() {
        return reject!(
            "Task {key}: job_cluster_key is not accepted at runs/submit; give the task its new_cluster."
        );
    }
    let kind = kind(body, key)?;
    let own_path = join(path, kind);
    ignored.retain(|ignored| *ignored != own_path);
    check_compute(body, key, kind, context)?;
    check_tags(body, key)?;
    let work = present(body, kind).and_then(Value::as_object);
    if let Some(work) = work {
        check_task_type(work, key, kind, context)?;
        if let Some(nested) =
            present(work, "task").and_then(Value::as_object).filter(|_| kind == "for_each_task")
        {
            let path = join(&own_path, "task");
            check_object(TASK, nested, &path, ignored)?;
            check_task(nested, &path, context, ignored)?;
        }
    }
    let depends_on = present(body, "depends_on").and_then(Value::as_array).into_iter().flatten();
    Ok(SubmittedTask {
        key: key.to_owned(),
        kind: kind.to_owned(),
        depends_on: depends_on
            .filter_map(|one| one.get("task_key")?.as_str())
            .map(ToOwned::to_owned)
            .collect(),
        runs_after_failure: text(body, "run_if").is_some_and(|rule| rule != "ALL_SUCCESS"),
        body: body.clone(),
    })
}

/// Returns the task type. A task must have exactly one.
fn kind<'a>(body: &'a Map<String, Value>, task_key: &str) -> Result<&'a str, ApiError> {
    let mut kinds = body
        .iter()
        .filter(|(key, value)| is_task_type(key) && value.is_object())
        .map(|(key, _)| key);
    match (kinds.next(), kinds.next()) {
        (Some(kind), None) => Ok(kind),
        (None, _) => {
            reject!("Task {task_key} has no task type, such as spark_python_task.")
        }
        (Some(one), Some(other)) => {
            reject!("Task {task_key} has two task types, {one} and {other}; give one.")
        }
    }
}

/// Rejects two kinds of compute, and serverless tasks without a valid environment (databricks-api.md#task-types).
fn check_compute(
    body: &Map<String, Value>,
    task_key: &str,
    kind: &str,
    context: &RunContext<'_>,
) -> Result<(), ApiError> {
    let given = |field: &str| present(body, field).is_some();
    let clusters: Vec<_> =
        ["existing_cluster_id", "new_cluster"].into_iter().filter(|field| given(field)).collect();
    let serverless = ["environment_key", "compute"].into_iter().find(|field| given(field));
    match (clusters.as_slice(), serverless) {
        ([one, other, ..], _) => {
            return reject!(
                "Task {task_key} has two kinds of compute, {one} and {other}; give one."
            );
        }
        ([cluster], Some(serverless)) => {
            return reject!(
                "Task {task_key} has two kinds of compute, {cluster} and serverless {serverless}; give one."
            );
        }
        ([_], None) => return Ok(()),
        ([], _) => {}
    }
    match text(body, "environment_key") {
        Some(environment) if !context.environments.contains(environment) => reject!(
            "Task {task_key} names environment_key '{environment}', which is not in environments."
        ),
        Some(_) if kind == "notebook_task" => reject!(
            "Task {task_key}: a notebook task takes no environment_key; its dependencies are in the notebook."
        ),
        None if NEED_ENVIRONMENT.contains(&kind) => reject!(
            "An environment is required for serverless task {task_key}. Give it existing_cluster_id, new_cluster, or an \
             environment_key of environments."
        ),
        _ => Ok(()),
    }
}

/// The maximum number of tags of a cluster (databricks-api.md#custom-tags).
const MAX_TAGS: usize = 45;

fn check_tags(body: &Map<String, Value>, task_key: &str) -> Result<(), ApiError> {
    let cluster = present(body, "new_cluster").and_then(Value::as_object);
    let tags = cluster.and_then(|cluster| present(cluster, "custom_tags"));
    let count = tags.and_then(Value::as_object).map_or(0, Map::len);
    if count > MAX_TAGS {
        return reject!(
            "Task {task_key}: its cluster has {count} custom_tags; at most {MAX_TAGS} are allowed."
        );
    }
    Ok(())
}

/// Paths in a Git repository must be relative. Others must be absolute, or for Python have a scheme
/// (databricks-api.md#task-types).
fn check_path(
    work: &Map<String, Value>,
    task_key: &str,
    kind: &str,
    git_source: bool,
) -> Result<(), ApiError> {
    let (field, default) = match kind {
        "spark_python_task" => ("python_file", "WORKSPACE"),
        "notebook_task" if git_source => ("notebook_path", "GIT"),
        "notebook_task" => ("notebook_path", "WORKSPACE"),
        _ => return Ok(()),
    };
    let Some(path) = text(work, field) else { return Ok(()) };
    let is_absolute = path.starts_with('/') || (kind == "spark_python_task" && path.contains(":/"));
    // The service replaces a reference when the run starts.
    let is_reference = path.starts_with("{{");
    match text(work, "source").unwrap_or(default) {
        _ if is_reference => Ok(()),
        "GIT" if is_absolute => reject!(
            "Task {task_key}: {field} '{path}' must be relative, because its source is GIT."
        ),
        "WORKSPACE" if !is_absolute => reject!(
            "Task {task_key}: {field} '{path}' must be absolute, because its source is WORKSPACE."
        ),
        _ => Ok(()),
    }
}

/// Checks the object of a task type.
fn check_task_type(
    work: &Map<String, Value>,
    task_key: &str,
    kind: &str,
    context: &RunContext<'_>,
) -> Result<(), ApiError> {
    let file = present(work, "file").and_then(Value::as_object).filter(|_| kind == "sql_task");
    if text(file.unwrap_or(work), "source") == Some("GIT") && !context.git_source {
        return reject!("Task {task_key} has source GIT, but the run has no git_source.");
    }
    check_path(work, task_key, kind, context.git_source)?;
    let given =
        |fields: &[&str]| fields.iter().filter(|field| present(work, field).is_some()).count();
    match kind {
        "python_wheel_task" if given(&["parameters", "named_parameters"]) > 1 => {
            reject!(
                "Task {task_key}: python_wheel_task takes parameters or named_parameters, not both."
            )
        }
        "sql_task" if given(&["query", "dashboard", "alert", "file"]) != 1 => {
            reject!(
                "Task {task_key}: sql_task needs exactly one of query, dashboard, alert and file."
            )
        }
        _ => Ok(()),
    }
}

/// Rejects dependencies on unknown tasks, and cycles.
fn check_dependencies(tasks: &[SubmittedTask]) -> Result<(), ApiError> {
    let mut waiting: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for task in tasks {
        waiting.insert(&task.key, task.depends_on.iter().map(String::as_str).collect());
    }
    for task in tasks {
        if let Some(unknown) =
            task.depends_on.iter().find(|key| !waiting.contains_key(key.as_str()))
        {
            return reject!(
                "Task {} depends on '{unknown}', which is not a task of the run.",
                task.key
            );
        }
    }
    while !waiting.is_empty() {
        let ready: Vec<&str> =
            waiting.iter().filter(|(_, on)| on.is_empty()).map(|(key, _)| *key).collect();
        if ready.is_empty() {
            let stuck: Vec<_> = waiting.into_keys().collect();
            return reject!("The tasks {} depend on each other in a cycle.", stuck.join(", "));
        }
        for key in ready {
            waiting.remove(key);
            for on in waiting.values_mut() {
                on.remove(key);
            }
        }
    }
    Ok(())
}
