//! The submission of a task: the body of `runs/submit` or `run-now`. Pure: the same request gives the same body.
//!
//! What runs is decided in `workload`, where it runs in `compute`, how a Flyte function starts in `flyte_function`.

use connector_core::{Error, attempt::RunTag};
use databricks_client::jobs::Submission;
use serde_json::{Map, Value, json};
use tracing::warn;

use super::{
    cluster_tags::{self, AttemptTags, Cloud},
    compute::{self, Compute},
    flyte_function::{PythonFile, PythonTask},
    flyte_task::FlyteTask,
    run_tag,
    time_limits::TimeLimits,
    workload::Workload,
};
use crate::{
    config::{Entrypoint, run_defaults::RunDefaults},
    task::{DatabricksTask, integers, json},
};

/// The largest body that the Jobs API accepts, in bytes (databricks-api.md#common-rules).
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// The largest token and path that are added to a body, in bytes.
const ADDED_BYTES: usize = 1024;

/// The largest list or map of parameters of a run-now, in bytes of JSON (databricks-api.md#task-types).
const MAX_PARAMETER_BYTES: usize = 10_000;

/// The key of a single task that the user did not name.
const TASK_KEY: &str = "flyte_task";

/// Keys of one task, other than the task types, which all end in `_task` (databricks-api.md#task-types). Keys that a run
/// and its tasks share, such as `timeout_seconds`, stay with the run.
const TASK_KEYS: [&str; 15] = [
    "compute",
    "depends_on",
    "description",
    "disable_auto_optimization",
    "disabled",
    "environment_key",
    "environment_variables_key",
    "existing_cluster_id",
    "libraries",
    "max_retries",
    "min_retry_interval_millis",
    "new_cluster",
    "retry_on_timeout",
    "run_if",
    "task_key",
];

/// Those of them that decide what runs or where, like the task types.
const PLACEMENT_KEYS: [&str; 6] = [
    "compute",
    "environment_key",
    "environment_variables_key",
    "existing_cluster_id",
    "libraries",
    "new_cluster",
];

/// Keys of a single task that only the connector understands. They are never sent.
const CONNECTOR_KEYS: [&str; 4] =
    ["serverless", "python_file", "notebookPath", "notebookBaseParameters"];

/// The operator's settings for submissions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SubmissionSettings<'a> {
    /// The entrypoint of Flyte functions that both entrypoints can run.
    pub(crate) entrypoint: Entrypoint,
    /// The cloud whose rules for cluster tags apply; `None` adds no tags.
    pub(crate) tags: Option<Cloud>,
    /// Run-level keys for runs that do not set them.
    pub(crate) defaults: &'a RunDefaults,
}

/// A planned submission.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Run a saved job.
    RunNow(Submission),
    /// Submit the user's own workload as written.
    AsWritten(Submission),
    /// Submit the Flyte function.
    FlyteFunction(FunctionRun),
}

/// The run of a Flyte function, complete except for the path of an uploaded script.
#[derive(Debug)]
pub(crate) struct FunctionRun {
    run: Map<String, Value>,
    task: Map<String, Value>,
    python: PythonTask,
    token: String,
}

/// Plans the submission of a task. Keeps everything that the user wrote into `databricksConf`, unknown keys included.
///
/// # Errors
///
/// `InvalidTask` that names what to add or change; `FailedPrecondition` for a pod template that cannot be rendered.
pub(crate) fn plan(
    task: &DatabricksTask,
    flyte: &FlyteTask,
    settings: SubmissionSettings<'_>,
) -> Result<Plan, Error> {
    integers::reject_inexact(&task.conf)?;
    let (mut run, mut task_keys) = split(task.conf.clone());
    let user_token = json::optional_text(run.remove("idempotency_token"), "idempotency_token")?;
    let token = flyte.attempt.idempotency_token(&[user_token.as_deref().unwrap_or_default()]);

    if let Some(job_id) = json::take_set(&mut run, "job_id") {
        let remedy = "which the saved job defines itself, or remove `job_id` to describe a new run";
        take_stray_task_keys(&mut run, task_keys, "job_id", remedy)?;
        run.insert("job_id".to_owned(), integers::job_id(&job_id)?);
        settings.defaults.complete_job_run(&mut run);
        reject_large_parameters(&run)?;
        reject_large_body(&[&run])?;
        return Ok(Plan::RunNow(Submission::new(run).with_idempotency_token(token)));
    }

    let additions = RunAdditions::new(flyte, settings);
    if json::has(&run, "tasks") {
        let remedy = "or move it into the entries of `tasks`";
        take_stray_task_keys(&mut run, task_keys, "tasks", remedy)?;
        let mut tasks = run.remove("tasks").unwrap_or_default();
        let objects = tasks.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut);
        additions.complete(&mut run, objects)?;
        run.insert("tasks".to_owned(), tasks);
        reject_large_body(&[&run])?;
        return Ok(Plan::AsWritten(Submission::new(run).with_idempotency_token(token)));
    }

    let workload = Workload::take(&mut run, &mut task_keys)?;
    let compute = Compute::choose(&mut run, &mut task_keys, workload.needs_compute())?;
    match compute {
        Compute::NewCluster => {
            let spark_conf = task.spark_conf()?;
            let is_function = workload.is_flyte_function();
            compute::complete_cluster(&mut task_keys, spark_conf, flyte, is_function)?;
        }
        Compute::Serverless => {
            if let Some(dependencies) = workload.environment_dependencies(flyte) {
                compute::add_serverless_environment(&mut run, &mut task_keys, &dependencies)?;
            }
        }
        Compute::ExistingCluster | Compute::OfWorkload => {}
    }
    if !json::has(&task_keys, "task_key") {
        task_keys.insert("task_key".to_owned(), Value::String(TASK_KEY.to_owned()));
    }
    let Workload::FlyteFunction(users_file) = workload else {
        additions.complete(&mut run, [&mut task_keys])?;
        run.insert("tasks".to_owned(), json!([task_keys]));
        reject_large_body(&[&run])?;
        return Ok(Plan::AsWritten(Submission::new(run).with_idempotency_token(token)));
    };
    let python = PythonTask::build(
        users_file,
        &mut run,
        json::optional_text(task_keys.get("environment_key").cloned(), "environment_key")?,
        compute,
        flyte,
        settings.entrypoint,
    )?;
    additions.complete(&mut run, [&mut task_keys])?;
    reject_large_body(&[&run, &task_keys, &python.fields])?;
    Ok(Plan::FlyteFunction(FunctionRun { run, task: task_keys, python, token }))
}

impl FunctionRun {
    /// True if the connector's script must be in the workspace before the run starts.
    pub(crate) fn needs_script(&self) -> bool {
        self.python.file == PythonFile::Uploaded
    }

    /// Returns the pod template whose arguments name the inputs, which must be written before the run starts.
    pub(crate) fn pod_template_with_inputs(&self) -> Option<&str> {
        self.python.pod_template.as_deref()
    }

    /// Returns the submission. `script` is the path of the connector's script, if it is needed.
    pub(crate) fn into_submission(self, script: Option<String>) -> Submission {
        let Self { mut run, mut task, python, token } = self;
        task.insert("spark_python_task".to_owned(), python.into_value(script));
        run.insert("tasks".to_owned(), json!([task]));
        Submission::new(run).with_idempotency_token(token)
    }
}

/// What the connector adds to every submitted run.
struct RunAdditions<'a> {
    tags: AttemptTags,
    run_tag: Option<RunTag>,
    run_name: String,
    time_limits: TimeLimits,
    defaults: &'a RunDefaults,
}

impl<'a> RunAdditions<'a> {
    fn new(flyte: &FlyteTask, settings: SubmissionSettings<'a>) -> Self {
        let run_tag = RunTag::new(&flyte.attempt);
        Self {
            run_name: run_name(flyte, run_tag.as_ref()),
            run_tag,
            tags: settings
                .tags
                .map(|cloud| cluster_tags::of_attempt(cloud, &flyte.attempt, &flyte.name))
                .unwrap_or_default(),
            time_limits: flyte.time_limits,
            defaults: settings.defaults,
        }
    }

    /// Completes the run and its tasks. The user's own values take precedence.
    fn complete<'m>(
        self,
        run: &mut Map<String, Value>,
        tasks: impl IntoIterator<Item = &'m mut Map<String, Value>>,
    ) -> Result<(), Error> {
        // A run that the user named has its tag in the description of its first task.
        let mut description = self.run_tag.as_ref().filter(|_| json::has(run, "run_name"));
        for task in tasks {
            cluster_tags::tag_clusters(task, &self.tags)?;
            integers::write_job_ids(task)?;
            if let Some(run_tag) = description.take() {
                run_tag::write_description(run_tag, task);
            }
        }
        let shared = run.get_mut("job_clusters").and_then(Value::as_array_mut);
        for cluster in shared.into_iter().flatten().filter_map(Value::as_object_mut) {
            cluster_tags::tag_clusters(cluster, &self.tags)?;
        }
        if !json::has(run, "run_name") {
            run.insert("run_name".to_owned(), Value::String(self.run_name));
        }
        let users = run.get("timeout_seconds").filter(|value| !value.is_null());
        // Databricks judges a value that is not a whole number.
        if users.is_none_or(|value| value.as_i64().is_some())
            && let Some(seconds) = self.time_limits.timeout_seconds(users.and_then(Value::as_i64))
        {
            run.insert("timeout_seconds".to_owned(), Value::from(seconds));
        }
        self.defaults.complete_run(run);
        Ok(())
    }
}

/// Rejects a body that is too large, leaving room for the token and the script path that are added later.
fn reject_large_body(parts: &[&Map<String, Value>]) -> Result<(), Error> {
    let bytes = |part: &&Map<String, Value>| serde_json::to_vec(part).map_or(0, |json| json.len());
    let size = parts.iter().map(bytes).sum::<usize>().saturating_add(ADDED_BYTES);
    if size > MAX_BODY_BYTES {
        return Err(Error::invalid_task(format!(
            "the job has {size} bytes, more than the {MAX_BODY_BYTES} that Databricks accepts"
        ))
        .with_hint("make the configuration or the arguments of the task smaller"));
    }
    Ok(())
}

/// Splits the user's keys into those of the run and those of its task.
fn split(conf: Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
    conf.into_iter().partition(|(key, _)| {
        let key = key.as_str();
        !(key.ends_with("_task") || TASK_KEYS.contains(&key))
    })
}

/// Rejects keys of a single task that decide what runs or where, because their meaning beside `tasks` or `job_id` is
/// ambiguous. Others, such as the `description` of a pasted job, change no work: a description stays with the run, the
/// rest is dropped with a warning.
fn take_stray_task_keys(
    run: &mut Map<String, Value>,
    task: Map<String, Value>,
    beside: &str,
    remedy: &str,
) -> Result<(), Error> {
    let connector_keys = CONNECTOR_KEYS.iter().filter_map(|key| run.get_key_value(*key));
    let decides = |key: &str| key.ends_with("_task") || PLACEMENT_KEYS.contains(&key);
    let deciding = task.iter().filter(|(key, _)| decides(key.as_str()));
    if let Some((key, _)) = deciding.chain(connector_keys).find(|(_, value)| json::is_set(value)) {
        return Err(Error::invalid_task(format!(
            "`databricks_conf` has both `{beside}` and `{key}`"
        ))
        .with_hint(format!("remove `{key}`, {remedy}")));
    }
    run.retain(|key, _| !CONNECTOR_KEYS.contains(&key.as_str()));
    for (key, value) in task {
        if key == "description" {
            run.insert(key, value);
        } else if json::is_set(&value) {
            warn!(key, beside, "dropped a key of a single task from `databricks_conf`");
        }
    }
    Ok(())
}

/// Rejects lists or maps of run-now parameters that are too large.
fn reject_large_parameters(run: &Map<String, Value>) -> Result<(), Error> {
    let is_parameters = |key: &str| key.ends_with("_params") || key == "job_parameters";
    for (key, value) in run.iter().filter(|(key, _)| is_parameters(key)) {
        let size = value.to_string().len();
        if size > MAX_PARAMETER_BYTES {
            return Err(Error::invalid_task(format!(
                "`{key}` has {size} bytes, more than the {MAX_PARAMETER_BYTES} that Databricks accepts"
            ))
            .with_hint("put large values into a file and pass its path"));
        }
    }
    Ok(())
}

/// Returns the name of the run, which identifies the Flyte run on the Databricks page.
fn run_name(flyte: &FlyteTask, run_tag: Option<&RunTag>) -> String {
    let (task, attempt) = (&flyte.name, &flyte.attempt);
    if attempt.run().is_empty() {
        return format!("flyte {task}");
    }
    let name = format!(
        "flyte {task} ({}/{}/{}/{})",
        attempt.project(),
        attempt.domain(),
        attempt.run(),
        attempt.action()
    );
    match run_tag {
        Some(run_tag) => format!("{name} {run_tag}"),
        None => name,
    }
}
