//! Reads the errors of a failed run: those of its failed tasks, and of the runs that they started.

use databricks_client::{
    Client, RunId,
    jobs::{Run, RunOutput},
};

use super::reason::{self, FailedRun, FailedTask, MAX_FAILED_TASKS};

/// Runs below the task's own run whose errors are read, when a job starts a job: the limit of Databricks.
pub(super) const MAX_LEVELS: usize = 4;

/// Outputs and runs that are read for one failed run.
pub(super) const MAX_READS: usize = 15;

/// Reads the errors of one failed run.
pub(super) struct FailureReader<'a> {
    pub(super) client: &'a Client,
    /// Outputs and runs that may still be read.
    pub(super) reads_left: usize,
    /// The first transient failure. Nothing is read after it, since further reads would most likely fail too.
    pub(super) transient: Option<String>,
}

impl FailureReader<'_> {
    /// Returns the failed tasks of a run with their outputs, down to this level of started runs.
    pub(super) async fn read(&mut self, run: &Run, levels: usize) -> FailedRun {
        let failed = reason::failed_tasks(run);
        let omitted = failed.len().saturating_sub(MAX_FAILED_TASKS);
        let mut tasks = Vec::new();
        for task in failed.into_iter().take(MAX_FAILED_TASKS) {
            let output = match task.run_id {
                Some(task_run_id) => self.output(task_run_id).await,
                None => None,
            };
            let started = output.as_ref().and_then(|output| output.run_job_output.as_ref()?.run_id);
            let started = match started {
                Some(run_id) if levels > 0 => Box::pin(self.started_run(run_id, levels - 1)).await,
                _ => None,
            };
            tasks.push(FailedTask { task: task.clone(), output, started });
        }
        FailedRun { tasks, omitted }
    }

    /// Returns the failed tasks of a run that a task started.
    async fn started_run(&mut self, run_id: RunId, levels: usize) -> Option<(Run, FailedRun)> {
        let client = self.take_read()?;
        match client.get_run(run_id).await {
            Ok(run) => {
                let failed = self.read(&run, levels).await;
                Some((run, failed))
            }
            Err(error) => {
                self.transient = error.is_retryable().then(|| error.to_string());
                None
            }
        }
    }

    /// Returns the output of a task. Not every type of task has one, and not every principal may read it.
    async fn output(&mut self, task_run_id: RunId) -> Option<RunOutput> {
        let client = self.take_read()?;
        match client.get_run_output(task_run_id).await {
            Ok(output) => Some(output),
            Err(error) => {
                self.transient = error.is_retryable().then(|| error.to_string());
                None
            }
        }
    }

    /// Returns the client if another read is permitted.
    fn take_read(&mut self) -> Option<Client> {
        if self.transient.is_some() {
            return None;
        }
        self.reads_left = self.reads_left.checked_sub(1)?;
        Some(self.client.clone())
    }
}
