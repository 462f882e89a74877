//! Runs as the JSON of the API (DA §1.3). Pure.

mod cluster;
mod cluster_events;
mod output;
mod state;

pub(crate) use cluster::{cluster, log_folder};
pub(crate) use cluster_events::{Wanted, cluster_events};
pub(crate) use output::{OUTPUT_LIMIT, output};

use crate::endpoint::ApiVersion;
use crate::schema::TASK;
use crate::script::LifeCycle;
use crate::validate::{Format, SubmittedTask};
use crate::workspace::{Run, Standing};
use serde_json::{Map, Value};
use std::time::Duration;

/// The number of the workspace in links and headers.
pub(crate) const WORKSPACE_ID: u64 = 6_280_049_833_385_130;

/// Elements of an array in one answer of version 2.2 (DA §1.3).
const PAGE: usize = 100;

/// Who asks for what, as far as the answer shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) version: ApiVersion,
    /// The host that the request named.
    pub(crate) host: &'a str,
    pub(crate) user_name: &'a str,
    pub(crate) now: Duration,
}

/// A run with its tasks from this place on; version 2.0 shows none.
pub(crate) fn run(run: &Run, first_task: usize, asked: &Asked<'_>) -> Value {
    let mut answer = base_run(run, asked);
    if asked.version != ApiVersion::V2_0 {
        let (tasks, next) = tasks(run, first_task, asked);
        answer.insert("tasks".to_owned(), tasks);
        if let Some(next) = next {
            answer.insert("next_page_token".to_owned(), page_token(next).into());
        }
    }
    Value::Object(answer)
}

/// A run as an element of `runs/list`.
pub(crate) fn listed_run(run: &Run, expand_tasks: bool, asked: &Asked<'_>) -> Value {
    let mut answer = base_run(run, asked);
    if expand_tasks && asked.version != ApiVersion::V2_0 {
        let (tasks, next) = tasks(run, 0, asked);
        answer.insert("tasks".to_owned(), tasks);
        answer.insert("has_more".to_owned(), next.is_some().into());
    }
    Value::Object(answer)
}

/// The token of the page that starts with this task.
fn page_token(first_task: usize) -> String {
    format!("tasks-{first_task}")
}

/// The task that a page of this token starts with.
pub(crate) fn parse_page_token(token: &str) -> Option<usize> {
    token.strip_prefix("tasks-")?.parse().ok()
}

fn tasks(run: &Run, first: usize, asked: &Asked<'_>) -> (Value, Option<usize>) {
    let page = if asked.version == ApiVersion::V2_2 { PAGE } else { usize::MAX };
    let places = run.submission.tasks.iter().enumerate().skip(first).take(page);
    let tasks: Vec<Value> = places.map(|(place, task)| run_task(run, place, task, asked)).collect();
    let next = first.saturating_add(tasks.len());
    (tasks.into(), Some(next).filter(|next| *next < run.submission.tasks.len()))
}

fn base_run(run: &Run, asked: &Asked<'_>) -> Map<String, Value> {
    let durations = run.timeline.durations(asked.now);
    let mut answer = shared_fields(run, run.id, &run.standing(), asked);
    insert(&mut answer, "queue_duration", millis(durations.queue));
    if let Some(end) = run.timeline.end() {
        insert(&mut answer, "run_duration", millis(end.saturating_sub(run.timeline.started())));
    }
    match (run.submission.format, run.submission.tasks.first()) {
        (Format::SingleTask, Some(task)) => {
            insert_task_durations(&mut answer, run, asked);
            insert_cluster(&mut answer, run, 0, task);
            insert(&mut answer, "cluster_spec", cluster_spec(task));
        }
        _ => {
            // Measured at the tasks only (DA §1.3).
            for name in ["setup_duration", "execution_duration", "cleanup_duration"] {
                insert(&mut answer, name, 0);
            }
        }
    }
    if let Some(git_source) = run.submission.body.get("git_source") {
        insert(&mut answer, "git_source", git_source.clone());
    }
    answer
}

/// The run of one task, as `runs/get` of its id and the metadata of its output show it.
pub(crate) fn task_as_run(run: &Run, place: usize, asked: &Asked<'_>) -> Value {
    let id = run.task_id(place);
    let mut answer = shared_fields(run, id, &run.task_standing(place), asked);
    insert_task_durations(&mut answer, run, asked);
    if let Some(task) = run.submission.tasks.get(place) {
        insert_cluster(&mut answer, run, place, task);
        insert(&mut answer, "cluster_spec", cluster_spec(task));
    }
    if run.submission.format == Format::MultiTask {
        insert(&mut answer, "job_run_id", run.id);
    }
    Value::Object(answer)
}

fn run_task(run: &Run, place: usize, task: &SubmittedTask, asked: &Asked<'_>) -> Value {
    let known = |key: &String| *key == task.kind || TASK.iter().any(|field| field.name == key);
    let mut answer: Map<String, Value> = task
        .body
        .iter()
        .filter(|(key, _)| known(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let id = run.task_id(place);
    insert(&mut answer, "run_id", id);
    insert(&mut answer, "attempt_number", 0);
    insert(&mut answer, "run_page_url", page_url(run, id, asked));
    insert_times(&mut answer, run);
    state::insert(&mut answer, run.script.state_form, &run.task_standing(place));
    insert_task_durations(&mut answer, run, asked);
    insert_cluster(&mut answer, run, place, task);
    Value::Object(answer)
}

fn shared_fields(
    run: &Run,
    id: i64,
    standing: &Standing<'_>,
    asked: &Asked<'_>,
) -> Map<String, Value> {
    let mut answer = Map::new();
    insert(&mut answer, "job_id", run.job_id);
    insert(&mut answer, "run_id", id);
    insert(&mut answer, "number_in_job", id);
    insert(&mut answer, "original_attempt_run_id", id);
    insert(&mut answer, "attempt_number", 0);
    insert(&mut answer, "run_name", run.submission.run_name.as_str());
    insert(&mut answer, "run_type", "SUBMIT_RUN");
    insert(&mut answer, "trigger", "ONE_TIME");
    insert(&mut answer, "creator_user_name", asked.user_name);
    insert(&mut answer, "run_page_url", page_url(run, id, asked));
    insert_times(&mut answer, run);
    state::insert(&mut answer, run.script.state_form, standing);
    answer
}

fn insert(answer: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    answer.insert(key.to_owned(), value.into());
}

fn page_url(run: &Run, id: i64, asked: &Asked<'_>) -> String {
    format!("https://{}/?o={WORKSPACE_ID}#job/{}/run/{id}", asked.host, run.job_id)
}

fn insert_times(answer: &mut Map<String, Value>, run: &Run) {
    insert(answer, "start_time", millis(run.timeline.started()));
    insert(answer, "end_time", run.timeline.end().map_or(0, millis));
}

fn insert_task_durations(answer: &mut Map<String, Value>, run: &Run, asked: &Asked<'_>) {
    let durations = run.timeline.durations(asked.now);
    insert(answer, "queue_duration", millis(durations.queue));
    insert(answer, "setup_duration", millis(durations.setup));
    insert(answer, "execution_duration", millis(durations.execution));
    insert(answer, "cleanup_duration", millis(durations.cleanup));
}

/// The cluster of a task, once it was asked for; its Spark context once code runs.
fn insert_cluster(answer: &mut Map<String, Value>, run: &Run, place: usize, task: &SubmittedTask) {
    let Some(cluster_id) = cluster::cluster_id(run, place, task) else { return };
    let mut instance = Map::new();
    insert(&mut instance, "cluster_id", cluster_id);
    if run.timeline.reached(&LifeCycle::Running) {
        insert(&mut instance, "spark_context_id", spark_context_id(run, place).to_string());
    }
    insert(answer, "cluster_instance", instance);
}

/// Larger than a double can hold (DA §1.3).
fn spark_context_id(run: &Run, place: usize) -> u64 {
    2_683_025_026_034_934_417 + run.task_id(place).unsigned_abs() % 1_000_000
}

fn cluster_spec(task: &SubmittedTask) -> Value {
    let of_cluster = ["existing_cluster_id", "new_cluster", "libraries"];
    let spec =
        of_cluster.iter().filter_map(|key| Some(((*key).to_owned(), task.body.get(*key)?.clone())));
    Value::Object(spec.collect())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
