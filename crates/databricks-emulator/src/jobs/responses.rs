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
use super::validation::schema::TASK;
use super::validation::{RunFormat, SubmittedTask};
use crate::api::endpoint::ApiVersion;
use crate::clock::millis;
use serde_json::{Map, Value};
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
        response.insert("tasks".to_owned(), tasks);
        if let Some(next) = next {
            response.insert("next_page_token".to_owned(), page_token(next).into());
        }
    }
    Value::Object(response)
}

/// Returns a run as an element of `runs/list`.
pub(crate) fn listed_run(run: &Run, expand_tasks: bool, context: &RequestContext<'_>) -> Value {
    let mut response = base_run(run, context);
    if expand_tasks && context.version != ApiVersion::V2_0 {
        let (tasks, next) = tasks(run, 0, context);
        response.insert("tasks".to_owned(), tasks);
        response.insert("has_more".to_owned(), next.is_some().into());
    }
    Value::Object(response)
}

/// Returns the token of the page that starts with this task.
fn page_token(first_task: usize) -> String {
    format!("tasks-{first_task}")
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
    let durations = run.timeline.durations(context.now);
    let mut response = shared_fields(run, run.id, &run.current_state(), context);
    insert(&mut response, "queue_duration", millis(durations.queue));
    if let Some(end) = run.timeline.end() {
        insert(&mut response, "run_duration", millis(end.saturating_sub(run.timeline.started())));
    }
    match (run.submission.format, run.submission.tasks.first()) {
        (RunFormat::SingleTask, Some(task)) => {
            insert_task_durations(&mut response, run, context);
            insert_cluster(&mut response, run, 0, task);
            insert(&mut response, "cluster_spec", cluster_spec(task));
        }
        _ => {
            // Only tasks have these durations (databricks-api.md#runs-get).
            for name in ["setup_duration", "execution_duration", "cleanup_duration"] {
                insert(&mut response, name, 0);
            }
        }
    }
    if let Some(git_source) = run.submission.body.get("git_source") {
        insert(&mut response, "git_source", git_source.clone());
    }
    response
}

/// Returns a task run as `runs/get` and the metadata of `runs/get-output` show it.
pub(crate) fn task_as_run(run: &Run, index: usize, context: &RequestContext<'_>) -> Value {
    let id = run.task_id(index);
    let mut response = shared_fields(run, id, &run.task_state(index), context);
    insert_task_durations(&mut response, run, context);
    if let Some(task) = run.submission.tasks.get(index) {
        insert_cluster(&mut response, run, index, task);
        insert(&mut response, "cluster_spec", cluster_spec(task));
    }
    if run.submission.format == RunFormat::MultiTask {
        insert(&mut response, "job_run_id", run.id);
    }
    Value::Object(response)
}

fn run_task(run: &Run, index: usize, task: &SubmittedTask, context: &RequestContext<'_>) -> Value {
    let is_known = |key: &String| *key == task.kind || TASK.iter().any(|field| field.name == key);
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
    insert_times(&mut response, run);
    state::insert(&mut response, run.script.state_form, &run.task_state(index));
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
    let mut response = Map::new();
    insert(&mut response, "job_id", run.job_id);
    insert(&mut response, "run_id", id);
    insert(&mut response, "number_in_job", id);
    insert(&mut response, "original_attempt_run_id", id);
    insert(&mut response, "attempt_number", 0);
    insert(&mut response, "run_name", run.submission.run_name.as_str());
    insert(&mut response, "run_type", "SUBMIT_RUN");
    insert(&mut response, "trigger", "ONE_TIME");
    insert(&mut response, "creator_user_name", context.user_name);
    insert(&mut response, "run_page_url", page_url(run, id, context));
    insert_times(&mut response, run);
    state::insert(&mut response, run.script.state_form, current);
    response
}

fn insert(response: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    response.insert(key.to_owned(), value.into());
}

fn page_url(run: &Run, id: i64, context: &RequestContext<'_>) -> String {
    format!("https://{}/?o={WORKSPACE_ID}#job/{}/run/{id}", context.host, run.job_id)
}

fn insert_times(response: &mut Map<String, Value>, run: &Run) {
    insert(response, "start_time", millis(run.timeline.started()));
    insert(response, "end_time", run.timeline.end().map_or(0, millis));
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
    let mut instance = Map::new();
    insert(&mut instance, "cluster_id", cluster_id);
    if run.timeline.reached(&LifeCycle::Running) {
        insert(&mut instance, "spark_context_id", spark_context_id(run, index).to_string());
    }
    insert(response, "cluster_instance", instance);
}

/// Larger than 2⁵³, as the service's ids are (databricks-api.md#runs-get).
fn spark_context_id(run: &Run, index: usize) -> u64 {
    2_683_025_026_034_934_417 + run.task_id(index).unsigned_abs() % 1_000_000
}

fn cluster_spec(task: &SubmittedTask) -> Value {
    let fields = ["existing_cluster_id", "new_cluster", "libraries"];
    let spec =
        fields.iter().filter_map(|key| Some(((*key).to_owned(), task.body.get(*key)?.clone())));
    Value::Object(spec.collect())
}
