//! Reads the declared outputs of a run that succeeded.

use connector_core::{Phase, Resource};
use databricks_client::{Client, Error, jobs::Run};

use super::{
    DeclaredOutputs, literals,
    task_result::{self, ResultSource, TaskResult},
};

/// Triggered runs that are followed when a job starts a job: the limit of Databricks.
const MAX_LEVELS: usize = 4;

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

/// Returns the resource of a success with the declared outputs.
///
/// # Errors
///
/// [`MissingOutputs`]; the caller decides whether to retry.
pub(crate) async fn success(
    client: &Client,
    run: &Run,
    declared: &DeclaredOutputs,
) -> Result<Resource, MissingOutputs> {
    if declared.is_empty() {
        return Ok(Resource::new(Phase::Succeeded));
    }
    let result = read_result(client, run).await?;
    let outputs = literals::to_outputs(declared, &result).map_err(MissingOutputs::Invalid)?;
    Ok(Resource { outputs: Some(outputs), ..Resource::new(Phase::Succeeded) })
}

/// Reads the result of the run's last task; follows runs that tasks trigger.
async fn read_result(client: &Client, run: &Run) -> Result<TaskResult, MissingOutputs> {
    let mut triggered: Option<Run> = None;
    for _ in 0..MAX_LEVELS {
        let run = triggered.as_ref().unwrap_or(run);
        let Some((key, task_run_id)) = task_result::last_task(run)
            .and_then(|task| Some((task.task_key.as_str(), task.run_id?)))
        else {
            return Err(MissingOutputs::Invalid("no task of the run has a result".to_owned()));
        };
        let output = client.get_run_output(task_run_id).await?;
        match task_result::of_output(output) {
            Ok(ResultSource::Output(result)) => return Ok(result),
            Ok(ResultSource::TriggeredRun(run_id)) => {
                triggered = Some(client.get_run(run_id).await?);
            }
            Err(reason) => {
                return Err(MissingOutputs::Invalid(format!("task {key}: {reason}")));
            }
        }
    }
    Err(MissingOutputs::Invalid(format!("its jobs trigger more than {MAX_LEVELS} levels of runs")))
}
