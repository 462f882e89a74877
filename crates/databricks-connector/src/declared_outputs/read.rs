//! Reads the declared outputs of a run that succeeded.

use connector_core::{Phase, Resource, literal::ValueType};
use databricks_client::{
    Client, Error,
    jobs::{MissingTasks, Run},
};
use prost::Message as _;

use super::{
    DeclaredOutputs, literals,
    task_result::{self, ResultSource, TaskResult},
};

/// Triggered runs that are followed when a job starts a job: the limit of Databricks.
const MAX_LEVELS: usize = 4;

/// Tasks of one run whose output is read in search of a result.
const MAX_TASKS: usize = 10;

/// Why the outputs are missing.
pub(crate) enum MissingOutputs {
    /// The task returned no result, or one of the wrong type.
    Invalid(String),
    /// The result could not be read.
    Unreadable(Error),
}

impl From<Error> for MissingOutputs {
    fn from(error: Error) -> Self {
        Self::Unreadable(error)
    }
}

/// Returns the resource of a success with the declared outputs, of at most `max_bytes`. `output_task` is the key of the
/// task whose result is the output, if the user names one.
///
/// # Errors
///
/// [`MissingOutputs`]; the caller decides whether to retry.
pub(crate) async fn success(
    client: &Client,
    run: &Run,
    declared: &DeclaredOutputs,
    output_task: Option<&str>,
    max_bytes: usize,
) -> Result<Resource, MissingOutputs> {
    if declared.is_empty() {
        return Ok(Resource::new(Phase::Succeeded));
    }
    let result = match read_result(client, run, output_task).await {
        Err(MissingOutputs::Invalid(_)) if declared.values().all(ValueType::is_optional) => None,
        result => Some(result?),
    };
    let outputs =
        literals::to_outputs(declared, result.as_ref()).map_err(MissingOutputs::Invalid)?;
    let size = outputs.encoded_len();
    if size > max_bytes {
        return Err(MissingOutputs::Invalid(format!(
            "the result has {size} bytes as outputs of Flyte, which downloads at most {max_bytes} by default \
             (`--max-output-bytes`). Write it to storage and return its URL"
        )));
    }
    Ok(Resource { outputs: Some(outputs), ..Resource::new(Phase::Succeeded) })
}

/// Reads the result of the run: of the named task, else of the last task that has one; follows runs that tasks trigger.
async fn read_result(
    client: &Client,
    run: &Run,
    output_task: Option<&str>,
) -> Result<TaskResult, MissingOutputs> {
    let mut triggered: Option<Run> = None;
    for _ in 0..MAX_LEVELS {
        let run = triggered.as_ref().unwrap_or(run);
        match result_of_run(client, run, output_task).await? {
            ResultSource::Output(result) => return Ok(result),
            ResultSource::TriggeredRun(run_id) => triggered = Some(client.get_run(run_id).await?),
        }
    }
    Err(MissingOutputs::Invalid(format!("its jobs trigger more than {MAX_LEVELS} levels of runs")))
}

/// Reads the outputs of the tasks that can have the result, until one has.
async fn result_of_run(
    client: &Client,
    run: &Run,
    output_task: Option<&str>,
) -> Result<ResultSource, MissingOutputs> {
    let mut reason = None;
    let candidates = task_result::candidates(run, output_task);
    for (key, task_run_id) in candidates.into_iter().take(MAX_TASKS) {
        match task_result::of_output(client.get_run_output(task_run_id).await?) {
            Ok(source) => return Ok(source),
            // The reason of the last task is the one that the user expects.
            Err(why) => {
                reason.get_or_insert(format!("task {key}: {why}"));
            }
        }
    }
    let reason = reason.unwrap_or_else(|| match (output_task, &run.missing_tasks) {
        (_, Some(MissingTasks::TooMany)) => "the run has too many tasks to read".to_owned(),
        (_, Some(MissingTasks::Unreadable { error, .. })) => {
            format!("not all tasks of the run could be read: {error}")
        }
        (Some(key), None) => format!("no task `{key}` (`output_task`) of the run succeeded"),
        (None, None) => "no task of the run has a result".to_owned(),
    });
    Err(MissingOutputs::Invalid(reason))
}
