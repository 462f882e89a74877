//! A Flyte task as the body of `runs/submit` or `run-now`. Pure: the same request gives the same body.

use connector_core::{CreateContext, Error};
use databricks_client::jobs::{RunNow, SubmitRun};
use serde_json::{Map, Value};

use crate::{
    config::run_defaults::RunDefaults,
    create::{
        compute::{self, Compute},
        flyte_function::FlyteSide,
        idempotency,
        run_tag::RunTag,
        tags,
        workload::{Entrypoint, Work},
    },
    task::{DatabricksTask, integers, json},
};

/// The largest body that the Jobs API takes, in bytes (DA §1.0).
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// The largest token and path that are added to a body, in bytes.
const ADDED_BYTES: usize = 1024;

/// The largest list or map of parameters of a run-now, in bytes of JSON (DA §1.2).
const MAX_PARAMETER_BYTES: usize = 10_000;

/// The name of the only task of a run that the user did not lay out.
const TASK_KEY: &str = "flyte_task";

/// Keys of one task of a run, other than the task types, which all end in `_task` (DA §1.2 `SubmitTask`). What a run
/// and its tasks share, such as `timeout_seconds`, stays with the run.
const TASK_LEVEL: [&str; 15] = [
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

/// Keys of one task that the connector alone understands; Databricks never sees them.
const OF_THE_CONNECTOR: [&str; 4] =
    ["serverless", "python_file", "notebookPath", "notebookBaseParameters"];

/// What the operator decides of every submission.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choices<'a> {
    /// Which entrypoint starts Flyte's runtime, where either can.
    pub(crate) entrypoint: Entrypoint,
    /// The rules for tags on new clusters; none when tags are switched off.
    pub(crate) tags: Option<tags::Cloud>,
    /// What every run gets that does not say otherwise.
    pub(crate) defaults: &'a RunDefaults,
}

/// A submission that lacks at most the path of the connector's own script.
#[derive(Debug)]
pub(crate) struct Plan {
    body: Map<String, Value>,
    token: String,
    is_job: bool,
    needs_script: bool,
    is_runtime: bool,
    inputs_for: Option<String>,
}

/// What is sent.
#[derive(Debug)]
pub(crate) enum Submission {
    Submit(SubmitRun),
    RunNow(RunNow),
}

/// Plans the submission of a task. Everything that the user wrote into `databricksConf` is kept, unknown keys included.
///
/// # Errors
///
/// `InvalidTask` that names what to add or change; `FailedPrecondition` for a pod template that cannot be rendered.
pub(crate) fn plan(
    task: &DatabricksTask,
    cx: &CreateContext,
    choices: Choices<'_>,
) -> Result<Plan, Error> {
    let flyte = FlyteSide::of(cx, task, choices.tags)?;
    integers::refuse_inexact(&task.conf)?;
    let (mut run, submit_task) = split(task.conf.clone());
    let users_token = json::optional_text(run.remove("idempotency_token"), "idempotency_token")?;
    let token = idempotency::token(cx, &flyte.execution, users_token.as_deref());
    if let Some(job_id) = json::take_given(&mut run, "job_id") {
        refuse_stray_task_keys(&run, &submit_task, "job_id")?;
        run.insert("job_id".to_owned(), integers::job_id(&job_id)?);
        choices.defaults.complete_job_run(&mut run);
        bound_parameters(&run)?;
        bound_body(&run)?;
        return Ok(Plan {
            body: run,
            token,
            is_job: true,
            needs_script: false,
            is_runtime: false,
            inputs_for: None,
        });
    }
    let mut plan = if run.get("tasks").is_some_and(json::is_given) {
        refuse_stray_task_keys(&run, &submit_task, "tasks")?;
        Plan {
            body: run,
            token,
            is_job: false,
            needs_script: false,
            is_runtime: false,
            inputs_for: None,
        }
    } else {
        one_task(run, submit_task, token, &flyte, choices.entrypoint)?
    };
    let body = &mut plan.body;
    compute::tag_clusters(body, &flyte)?;
    integers::write_job_ids(body)?;
    let marker = RunTag::of(cx, &flyte.execution);
    if body.get("run_name").is_some_and(json::is_given) {
        if let Some(marker) = marker {
            marker.describe(body);
        }
    } else {
        body.insert("run_name".to_owned(), Value::String(run_name(&flyte, marker.as_ref())));
    }
    if let Some(seconds) = timeout_seconds(cx)
        && body.get("timeout_seconds").is_none_or(Value::is_null)
    {
        body.insert("timeout_seconds".to_owned(), Value::from(seconds));
    }
    choices.defaults.complete_run(body);
    bound_body(body)?;
    Ok(plan)
}

/// A body that is too large is refused by its size, with room for what is added last: the token, and the path of the
/// connector's own script.
fn bound_body(body: &Map<String, Value>) -> Result<(), Error> {
    let size = serde_json::to_vec(body).map_or(0, |bytes| bytes.len()).saturating_add(ADDED_BYTES);
    if size > MAX_BODY_BYTES {
        return Err(Error::invalid_task(format!(
            "the job has {size} bytes, more than the {MAX_BODY_BYTES} that Databricks takes"
        ))
        .with_hint("make the configuration or the arguments of the task smaller"));
    }
    Ok(())
}

/// The run of a single task, which the connector puts together from the user's keys.
fn one_task(
    mut run: Map<String, Value>,
    mut task: Map<String, Value>,
    token: String,
    flyte: &FlyteSide<'_>,
    entrypoint: Entrypoint,
) -> Result<Plan, Error> {
    let mut work = Work::take(&mut run, &mut task)?;
    let compute = Compute::take(&mut run, &mut task, &work)?;
    let carries_environment = compute.carries_environment();
    if !run.get("git_source").is_some_and(json::is_given) {
        work.choose_entrypoint(
            entrypoint,
            carries_environment,
            compute != Compute::Serverless,
            flyte,
        );
    }
    let (needs_script, is_runtime) = (work.needs_script(), work.is_runtime());
    let inputs_for = flyte.container.reads_inputs_of().filter(|_| is_runtime).map(str::to_owned);
    compute.write(&mut run, &mut task, &work, flyte)?;
    work.write(&mut run, &mut task, flyte, carries_environment)?;
    if !task.get("task_key").is_some_and(json::is_given) {
        task.insert("task_key".to_owned(), Value::String(TASK_KEY.to_owned()));
    }
    run.insert("tasks".to_owned(), Value::Array(vec![Value::Object(task)]));
    Ok(Plan { body: run, token, is_job: false, needs_script, is_runtime, inputs_for })
}

impl Plan {
    /// Whether the connector's own script must be in the workspace before the run starts.
    pub(crate) fn needs_script(&self) -> bool {
        self.needs_script
    }

    /// The name of the pod template that needs the inputs to be written before the run starts.
    pub(crate) fn inputs_for(&self) -> Option<&str> {
        self.inputs_for.as_deref()
    }

    /// Whether Flyte's runtime does the work, and so writes outputs or an error.
    pub(crate) fn is_runtime(&self) -> bool {
        self.is_runtime
    }

    /// What is sent, with the path of the connector's own script where it is needed.
    pub(crate) fn submission(self, script: Option<String>) -> Submission {
        let Self { mut body, token, is_job, needs_script, .. } = self;
        if is_job {
            return Submission::RunNow(RunNow::new(body).with_idempotency_token(token));
        }
        if needs_script
            && let Some(path) = script
            && let Some(file) = body
                .get_mut("tasks")
                .and_then(|tasks| tasks.pointer_mut("/0/spark_python_task/python_file"))
        {
            *file = Value::String(path);
        }
        Submission::Submit(SubmitRun::new(body).with_idempotency_token(token))
    }
}

/// The task's own limit, when it has one. A part of a second more is better than a limit that is too early.
fn timeout_seconds(cx: &CreateContext) -> Option<i64> {
    let timeout = cx.template.metadata.as_ref()?.timeout.as_ref()?;
    Some(timeout.seconds + i64::from(timeout.nanos > 0)).filter(|seconds| *seconds > 0)
}

/// Parts the user's keys into those of the run and those of its task.
fn split(conf: Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
    conf.into_iter().partition(|(key, _)| {
        let key = key.as_str();
        !(key.ends_with("_task") || TASK_LEVEL.contains(&key))
    })
}

/// The user laid out `tasks`, or names a job, and wrote keys of a single task beside it: nobody can say what they mean.
fn refuse_stray_task_keys(
    run: &Map<String, Value>,
    task: &Map<String, Value>,
    beside: &str,
) -> Result<(), Error> {
    let ours = OF_THE_CONNECTOR.iter().filter_map(|key| run.get_key_value(*key));
    match task.iter().chain(ours).find(|(_, value)| json::is_given(value)) {
        None => Ok(()),
        Some((key, _)) => {
            Err(Error::invalid_task(format!("`databricks_conf` has both `{beside}` and `{key}`"))
                .with_hint(format!("move `{key}` into the tasks of `{beside}`, or leave it out")))
        }
    }
}

/// Parameters of a run-now are bounded, each kind by itself.
fn bound_parameters(run: &Map<String, Value>) -> Result<(), Error> {
    let is_parameters = |key: &str| key.ends_with("_params") || key == "job_parameters";
    for (key, value) in run.iter().filter(|(key, _)| is_parameters(key)) {
        let size = value.to_string().len();
        if size > MAX_PARAMETER_BYTES {
            return Err(Error::invalid_task(format!(
                "`{key}` has {size} bytes, more than the {MAX_PARAMETER_BYTES} that Databricks takes"
            ))
            .with_hint("put large values into a file and pass its path"));
        }
    }
    Ok(())
}

/// A name that leads from the Databricks page back to the Flyte run.
fn run_name(flyte: &FlyteSide<'_>, marker: Option<&RunTag>) -> String {
    let task = flyte.task_name();
    let execution = &flyte.execution;
    if execution.run.is_empty() {
        return format!("flyte {task}");
    }
    let name = format!(
        "flyte {task} ({}/{}/{}/{})",
        execution.project, execution.domain, execution.run, execution.action
    );
    match marker {
        Some(marker) => format!("{name} {marker}"),
        None => name,
    }
}
