//! A Flyte task as the body of `runs/submit`. Pure: the same request gives the same body.

use connector_core::{CreateContext, Error};
use databricks_client::jobs::SubmitRun;
use serde_json::{Map, Value};

use crate::{
    compute::{Compute, FlyteSide},
    execution::Execution,
    idempotency, json,
    task::DatabricksTask,
    work::Work,
};

/// The largest body that the Jobs API takes, in bytes (DA §1.0).
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

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

/// The submission of a task.
///
/// Everything that the user wrote into `databricksConf` is kept, unknown keys included.
///
/// # Errors
///
/// `InvalidTask` that names what to add or change.
pub(crate) fn submission(task: &DatabricksTask, cx: &CreateContext) -> Result<SubmitRun, Error> {
    let execution = Execution::of(cx);
    let (mut run, mut submit_task) = split(task.conf.clone());
    let users_token = json::optional_text(run.remove("idempotency_token"), "idempotency_token")?;
    if run.get("tasks").is_some_and(json::is_given) {
        refuse_stray_task_keys(&submit_task)?;
    } else {
        Compute::take(&mut submit_task)?.write(&mut submit_task, &FlyteSide::of(cx, task))?;
        Work::take(&mut run, &mut submit_task)?.write(
            &mut run,
            &mut submit_task,
            cx,
            &execution,
        )?;
        if !submit_task.get("task_key").is_some_and(json::is_given) {
            submit_task.insert("task_key".to_owned(), Value::String(TASK_KEY.to_owned()));
        }
        run.insert("tasks".to_owned(), Value::Array(vec![Value::Object(submit_task)]));
    }
    if !run.get("run_name").is_some_and(json::is_given) {
        run.insert("run_name".to_owned(), Value::String(run_name(cx, &execution)));
    }
    let token = idempotency::token(cx, &execution, users_token.as_deref());
    let body = SubmitRun::new(run).with_idempotency_token(token);
    let size = serde_json::to_vec(&body).map_or(0, |bytes| bytes.len());
    if size > MAX_BODY_BYTES {
        return Err(Error::invalid_task(format!(
            "the job has {size} bytes, more than the {MAX_BODY_BYTES} that Databricks takes"
        ))
        .with_hint("make the configuration or the arguments of the task smaller"));
    }
    Ok(body)
}

/// Parts the user's keys into those of the run and those of its task.
fn split(conf: Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
    conf.into_iter().partition(|(key, _)| {
        let key = key.as_str();
        !(key.ends_with("_task") || TASK_LEVEL.contains(&key))
    })
}

/// The user laid out `tasks` and wrote keys of a single task beside them: nobody can say which task they belong to.
fn refuse_stray_task_keys(task: &Map<String, Value>) -> Result<(), Error> {
    match task.iter().find(|(_, value)| json::is_given(value)) {
        None => Ok(()),
        Some((key, _)) => {
            Err(Error::invalid_task(format!("`databricks_conf` has both `tasks` and `{key}`"))
                .with_hint(format!("move `{key}` into one of the `tasks`")))
        }
    }
}

/// A name that leads from the Databricks page back to the Flyte run.
fn run_name(cx: &CreateContext, execution: &Execution) -> String {
    let task = cx.template.id.as_ref().map_or("task", |id| id.name.as_str());
    if execution.run.is_empty() {
        return format!("flyte {task}");
    }
    let Execution { project, domain, run, action, .. } = execution;
    format!("flyte {task} ({project}/{domain}/{run}/{action})")
}
