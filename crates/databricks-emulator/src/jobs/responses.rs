//! Runs, clusters and outputs as JSON (databricks-api.md#runs-get).

mod cluster;
mod cluster_events;
mod output;
mod state;

pub(crate) use cluster::cluster;
pub(crate) use cluster_events::{EventFilter, cluster_events};
pub(crate) use output::output;

use super::run::{CurrentState, Run};
use super::script::LifeCycle;
use super::validation::schema::{self, TASK};
use super::validation::{RunFormat, SubmittedTask};
use crate::api::endpoint::ApiVersion;
use crate::clock::millis;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The workspace id in links and headers.
pub(crate) const WORKSPACE_ID: u64 = 6_280_049_833_385_130;

/// The page size of arrays in version 2.2 (databricks-api.md#runs-get).
const PAGE: usize = 100;

/// The parts of a request that responses depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestContext<'a> {
    pub(crate) version: ApiVersion,
    /// The host of the request.
    pub(crate) host: &'a str,
    pub(crate) user_name: &'a str,
    pub(crate) now: Duration,
}

/// Returns a run with one page of its tasks. Version 2.0 has no tasks.
pub(crate) fn run(run: &Run, first_task: usize, context: &RequestContext<'_>) -> Value {
    let mut response = base_run(run, context);
    if context.version != ApiVersion::V2_0 {
        let (tasks, next) = tasks(run, first_task, context);
        insert(&mut response, "tasks", tasks);
        insert(
            &mut response,
            "next_page_token",
            next.map(|first_task| format!("tasks-{first_task}")),
        );
    }
    Value::Object(response)
}

/// Returns a run as an element of `runs/list`.
pub(crate) fn listed_run(run: &Run, expand_tasks: bool, context: &RequestContext<'_>) -> Value {
    let mut response = base_run(run, context);
    if expand_tasks && context.version != ApiVersion::V2_0 {
        let (tasks, next) = tasks(run, 0, context);
        insert(&mut response, "tasks", tasks);
        insert(&mut response, "has_more", next.is_some());
    }
    Value::Object(response)
}

/// Returns the index of the first task of a page.
pub(crate) fn parse_page_token(token: &str) -> Option<usize> {
    token.strip_prefix("tasks-")?.parse().ok()
}

fn tasks(run: &Run, first: usize, context: &RequestContext<'_>) -> (Value, Option<usize>) {
    let page = if context.version == ApiVersion::V2_2 { PAGE } else { usize::MAX };
    let page_tasks = run.submission.tasks.iter().enumerate().skip(first).take(page);
    let tasks: Vec<Value> =
        page_tasks.map(|(index, task)| run_task(run, index, task, context)).collect();
    let next = first.saturating_add(tasks.len());
    (tasks.into(), Some(next).filter(|next| *next < run.submission.tasks.len()))
}

fn base_run(run: &Run, context: &RequestContext<'_>) -> Map<String, Value> {
    let mut response = shared_fields(run, run.id, &run.current_state(), context);
    let duration = run.timeline.end().map(|end| end.saturating_sub(run.timeline.started()));
    insert(&mut response, "run_duration", duration.map(millis));
    if let (RunFormat::SingleTask, Some(task)) =
        (run.submission.format, run.submission.tasks.first())
    {
        insert_task(&mut response, run, 0, task, context);
    } else {
        let queued = millis(run.timeline.durations(context.now).queue);
        insert(&mut response, "queue_duration", queued);
        // Only tasks have these durations (databricks-api.md#runs-get).
        for name in ["setup_duration", "execution_duration", "cleanup_duration"] {
            insert(&mut response, name, 0);
        }
    }
    insert(&mut response, "git_source", run.submission.body.get("git_source").cloned());
    response
}

/// Returns a task run as `runs/get` and the metadata of `runs/get-output` show it.
pub(crate) fn task_as_run(run: &Run, index: usize, context: &RequestContext<'_>) -> Value {
    let id = run.task_id(index);
    let mut response = shared_fields(run, id, &run.task_state(index), context);
    if let Some(task) = run.submission.tasks.get(index) {
        insert_task(&mut response, run, index, task, context);
    }
    if run.submission.format == RunFormat::MultiTask {
        insert(&mut response, "job_run_id", run.id);
    }
    Value::Object(response)
}

fn run_task(run: &Run, index: usize, task: &SubmittedTask, context: &RequestContext<'_>) -> Value {
    let is_known = |key: &String| *key == task.kind || schema::contains(TASK, key);
    let mut response: Map<String, Value> = task
        .body
        .iter()
        .filter(|(key, _)| is_known(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let id = run.task_id(index);
    insert(&mut response, "run_id", id);
    insert(&mut response, "attempt_number", 0);
    insert(&mut response, "run_page_url", page_url(run, id, context));
    insert_progress(&mut response, run, &run.task_state(index));
    insert_task_durations(&mut response, run, context);
    insert_cluster(&mut response, run, index, task);
    Value::Object(response)
}

fn shared_fields(
    run: &Run,
    id: i64,
    current: &CurrentState<'_>,
    context: &RequestContext<'_>,
) -> Map<String, Value> {
    let mut response = without_nulls(json!({
        "job_id": run.job_id, "run_id": id, "number_in_job": id, "original_attempt_run_id": id, "attempt_number": 0,
        "run_name": run.submission.run_name, "run_type": "SUBMIT_RUN", "trigger": "ONE_TIME",
        "creator_user_name": context.user_name, "run_page_url": page_url(run, id, context),
    }));
    insert_progress(&mut response, run, current);
    response
}

/// Inserts a field, unless it is null.
fn insert(response: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    let value = value.into();
    if !value.is_null() {
        response.insert(key.to_owned(), value);
    }
}

/// Returns the fields of an object that are not null.
fn without_nulls(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    }
}

fn page_url(run: &Run, id: i64, context: &RequestContext<'_>) -> String {
    format!("https://{}/?o={WORKSPACE_ID}#job/{}/run/{id}", context.host, run.job_id)
}

/// Inserts the times and the state of a run or a task.
fn insert_progress(response: &mut Map<String, Value>, run: &Run, current: &CurrentState<'_>) {
    insert(response, "start_time", millis(run.timeline.started()));
    insert(response, "end_time", run.timeline.end().map_or(0, millis));
    state::insert(response, run.script.state_form, current);
}

/// Inserts the durations, the cluster and the cluster specification of a task.
fn insert_task(
    response: &mut Map<String, Value>,
    run: &Run,
    index: usize,
    task: &SubmittedTask,
    context: &RequestContext<'_>,
) {
    insert_task_durations(response, run, context);
    insert_cluster(response, run, index, task);
    let spec = ["existing_cluster_id", "new_cluster", "libraries"]
        .map(|key| (key.to_owned(), task.body.get(key).cloned().unwrap_or_default()));
    insert(response, "cluster_spec", without_nulls(Value::Object(spec.into_iter().collect())));
}

fn insert_task_durations(
    response: &mut Map<String, Value>,
    run: &Run,
    context: &RequestContext<'_>,
) {
    let durations = run.timeline.durations(context.now);
    insert(response, "queue_duration", millis(durations.queue));
    insert(response, "setup_duration", millis(durations.setup));
    insert(response, "execution_duration", millis(durations.execution));
    insert(response, "cleanup_duration", millis(durations.cleanup));
}

/// Inserts the cluster of a task, and its Spark context once the task runs.
fn insert_cluster(
    response: &mut Map<String, Value>,
    run: &Run,
    index: usize,
    task: &SubmittedTask,
) {
    let Some(cluster_id) = run.cluster_id(index, task) else { return };
    let is_running = run.timeline.reached(&LifeCycle::Running);
    let spark_context_id = is_running.then(|| spark_context_id(run, index).to_string());
    let instance = json!({"cluster_id": cluster_id, "spark_context_id": spark_context_id});
    insert(response, "cluster_instance", without_nulls(instance));
}

/// Larger than 2⁵³, as the service's ids are (databricks-api.md#runs-get).
fn spark_context_id(run: &Run, index: usize) -> u64 {
    2_683_025_026_034_934_417 + run.task_id(index).unsigned_abs() % 1_000_000
}
