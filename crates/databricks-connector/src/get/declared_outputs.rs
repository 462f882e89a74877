//! The answer for work of the user's own that succeeded: its declared outputs, from what its tasks returned.

use connector_core::{Phase, Resource};
use databricks_client::{Client, Error, jobs::Run};

use crate::get::outputs::{self, Declared, Returned, Task};

/// How many runs are followed when a job starts a job. Databricks allows no more levels than these.
const MAX_LEVELS: usize = 4;

/// Why there are no outputs.
pub(crate) enum Missing {
    /// The task did not give what it declares.
    NotGiven(String),
    /// They could not be read.
    Unread(Error),
}

impl From<Error> for Missing {
    fn from(error: Error) -> Self {
        Self::Unread(error)
    }
}

/// The resource of a success with these declared outputs.
///
/// # Errors
///
/// [`Missing`], for the caller to judge whether it passes.
pub(crate) async fn succeeded(
    client: &Client,
    run: &Run,
    declared: &Declared,
) -> Result<Resource, Missing> {
    if declared.is_empty() {
        return Ok(Resource::new(Phase::Succeeded));
    }
    let returned = returned(client, run).await?;
    let outputs = outputs::from_returned(declared, &returned).map_err(Missing::NotGiven)?;
    Ok(Resource { outputs: Some(outputs), ..Resource::new(Phase::Succeeded) })
}

/// What the last task of the run returned, or of the run that it started.
async fn returned(client: &Client, run: &Run) -> Result<Returned, Missing> {
    let mut started: Option<Run> = None;
    for _ in 0..MAX_LEVELS {
        let run = started.as_ref().unwrap_or(run);
        let Some((key, task_run_id)) =
            outputs::last_task(run).and_then(|task| Some((task.task_key.as_str(), task.run_id?)))
        else {
            return Err(Missing::NotGiven("no task of the run returned anything".to_owned()));
        };
        let output = client.get_run_output(task_run_id).await?;
        match outputs::of_output(output) {
            Ok(Task::Returned(returned)) => return Ok(returned),
            Ok(Task::OfRun(run_id)) => started = Some(client.get_run(run_id).await?),
            Err(why) => return Err(Missing::NotGiven(format!("task {key}: {why}"))),
        }
    }
    Err(Missing::NotGiven(format!(
        "its jobs start each other through more than {MAX_LEVELS} levels"
    )))
}
