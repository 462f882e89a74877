//! Stores scripts, saved jobs, runs and idempotency tokens.

use super::exec::Executor;
use super::run::{Run, RunSummary};
use super::script::{Outcome, Script};
use super::validation::{RunFormat, Submission};
use crate::api::error::{ApiError, invalid, unknown_run};
use crate::api::request_log::HISTORY_LIMIT;
use crate::clock::now;
use crate::storage::data_files::FileChange;
use axum::http::StatusCode;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// All runs and what they are started from. Every method locks once, so that it is atomic.
#[derive(Debug)]
pub(crate) struct RunStore {
    default_script: Script,
    first_run_id: i64,
    /// Executes the runs whose name has no script.
    executor: Option<Executor>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    scripts: HashMap<String, Script>,
    runs: BTreeMap<i64, Run>,
    /// The id of the run of each task run.
    task_runs: HashMap<i64, i64>,
    /// The id of the run that each idempotency token started, which may be deleted.
    tokens: HashMap<String, i64>,
    /// The latest bodies that started a run.
    submissions: VecDeque<Arc<Map<String, Value>>>,
    /// Saved jobs: the body that a run of each submits.
    jobs: HashMap<i64, Map<String, Value>>,
    next_id: i64,
}

impl RunStore {
    pub(crate) fn new(
        default_script: Script,
        first_run_id: i64,
        executor: Option<Executor>,
    ) -> Self {
        Self {
            default_script,
            first_run_id,
            executor,
            state: Mutex::new(State { next_id: first_run_id, ..State::default() }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_script(&self, run_name: &str, script: Script) {
        self.lock().scripts.insert(run_name.to_owned(), script);
    }

    pub(crate) fn submissions(&self) -> Vec<Value> {
        self.lock().submissions.iter().map(|body| Value::Object(body.as_ref().clone())).collect()
    }

    pub(crate) fn save_job(&self, job_id: i64, settings: Map<String, Value>) {
        self.lock().jobs.insert(job_id, settings);
    }

    /// Returns the settings of a saved job.
    pub(crate) fn job(&self, job_id: i64) -> Option<Map<String, Value>> {
        self.lock().jobs.get(&job_id).cloned()
    }

    /// Starts a run, or returns the one that the idempotency token started (databricks-api.md#idempotency-token).
    pub(crate) fn submit(&self, submission: Submission) -> Result<i64, ApiError> {
        let now = now();
        let mut state = self.lock();
        if let Some(run_id) =
            submission.idempotency_token.as_ref().and_then(|token| state.tokens.get(token))
        {
            return if state.runs.contains_key(run_id) {
                Ok(*run_id)
            } else {
                Err(invalid("The run that this idempotency_token started has been deleted."))
            };
        }
        let run_id = state.next_id;
        let task_ids: Vec<i64> = match submission.format {
            RunFormat::SingleTask => vec![run_id],
            RunFormat::MultiTask => (run_id + 1..).take(submission.tasks.len()).collect(),
        };
        state.next_id = task_ids.last().copied().unwrap_or(run_id) + 1;
        for task_id in &task_ids {
            state.task_runs.insert(*task_id, run_id);
        }
        if let Some(token) = &submission.idempotency_token {
            state.tokens.insert(token.clone(), run_id);
        }
        if state.submissions.len() == HISTORY_LIMIT {
            state.submissions.pop_front();
        }
        state.submissions.push_back(Arc::clone(&submission.body));
        let script = state.scripts.get(&submission.run_name);
        let executor = self.executor.as_ref().filter(|_| script.is_none());
        let script = script.unwrap_or(&self.default_script).clone();
        // The service creates a job for each submitted run. Any id works that is not a run id.
        let job_id = run_id.wrapping_sub(self.first_run_id).wrapping_add(218_406_790_113_205);
        let mut run = Run::new(run_id, job_id, task_ids, submission, script, now);
        if let Some(executor) = executor {
            run = run.executed_by(executor);
        }
        state.runs.insert(run_id, run);
        Ok(run_id)
    }

    /// Reads a run by its id or by the id of one of its task runs, as it was `steps_back` steps earlier.
    ///
    /// `reader` gets the run, the index of the task if `id` is that of a task run, and the current time.
    pub(crate) fn read<T>(
        &self,
        id: i64,
        counts_as_poll: bool,
        steps_back: u32,
        reader: impl FnOnce(&Run, Option<usize>, Duration) -> T,
    ) -> Result<T, ApiError> {
        let now = now();
        let mut state = self.lock();
        let run = state.run_mut(id).ok_or_else(|| unknown_run(id))?;
        if counts_as_poll {
            run.poll(now);
        } else {
            run.settle(now);
        }
        let task = run.task_index(id);
        let shown = run.timeline.stepped_back(steps_back);
        let real = std::mem::replace(&mut run.timeline, shown);
        let result = reader(run, task, now);
        run.timeline = real;
        Ok(result)
    }

    /// Returns the id and name of the run with this id or task run id.
    pub(crate) fn find(&self, id: i64) -> Option<(i64, String)> {
        let mut state = self.lock();
        state.run_mut(id).map(|run| (run.id, run.submission.run_name.clone()))
    }

    /// Reads all runs, latest first.
    pub(crate) fn read_all<T>(
        &self,
        mut reader: impl FnMut(&Run, Duration) -> Option<T>,
    ) -> Vec<T> {
        let now = now();
        let mut state = self.lock();
        state.runs.values_mut().for_each(|run| run.settle(now));
        state.runs.values().rev().filter_map(|run| reader(run, now)).collect()
    }

    /// Cancels the run with this id or task run id. A terminated run does not change (databricks-api.md#cancel).
    pub(crate) fn cancel(&self, id: i64) -> Result<(), ApiError> {
        let mut state = self.lock();
        let run = state.run_mut(id).ok_or_else(|| unknown_run(id))?;
        run.cancel(now());
        Ok(())
    }

    /// Deletes a terminated run (databricks-api.md#cancel).
    pub(crate) fn delete(&self, run_id: i64) -> Result<(), ApiError> {
        let mut state = self.lock();
        let run = state.runs.get_mut(&run_id).ok_or_else(|| unknown_run(run_id))?;
        run.settle(now());
        if !run.timeline.has_ended() {
            return Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "INVALID_STATE",
                format!("Run {run_id} is active; cancel it before deleting it."),
            ));
        }
        state.remove(run_id);
        Ok(())
    }

    /// Removes a run, active or not. Returns true if it existed.
    pub(crate) fn remove(&self, run_id: i64) -> bool {
        self.lock().remove(run_id)
    }

    pub(crate) fn summaries(&self) -> Vec<RunSummary> {
        let mut summaries = self.read_all(|run, _| Some(run.summary()));
        summaries.reverse();
        summaries
    }

    pub(crate) fn summary(&self, run_id: i64) -> Option<RunSummary> {
        self.read(run_id, false, 0, |run, task, _| task.is_none().then(|| run.summary()))
            .ok()
            .flatten()
    }

    pub(crate) fn advance(&self, run_id: i64) -> Option<RunSummary> {
        let mut state = self.lock();
        let run = state.runs.get_mut(&run_id)?;
        run.advance(now());
        Some(run.summary())
    }

    pub(crate) fn end(&self, run_id: i64, outcome: Outcome) -> Option<RunSummary> {
        let mut state = self.lock();
        let run = state.runs.get_mut(&run_id)?;
        run.end(outcome, now());
        Some(run.summary())
    }

    /// Returns the log changes due at this poll of the run, and the folders to apply them to.
    pub(crate) fn deliver_logs(&self, run_id: i64) -> (Vec<String>, Vec<FileChange>) {
        let mut state = self.lock();
        let Some(run) = state.run_mut(run_id) else { return Default::default() };
        let changes = run.deliver_logs();
        let tasks = run.submission.tasks.iter().enumerate();
        let folders = tasks.filter_map(|(index, task)| run.log_folder(index, task));
        (folders.filter(|folder| !folder.contains("://")).collect(), changes)
    }

    /// Returns the folder for the driver logs of a task's cluster.
    pub(crate) fn log_folder(&self, run_id: i64, task_key: &str) -> Option<String> {
        let find = |run: &Run| {
            let mut tasks = run.submission.tasks.iter().enumerate();
            let (index, task) = tasks.find(|(_, task)| task.key == task_key)?;
            run.log_folder(index, task)
        };
        self.read(run_id, false, 0, |run, _, _| find(run)).ok().flatten()
    }

    /// Kills all executions and starts no further ones. Does not wait.
    pub(crate) fn stop_executions(&self) {
        if let Some(executor) = &self.executor {
            executor.stop();
        }
    }

    /// Waits until all stopped executions have ended. Blocks.
    pub(crate) fn join_executions(&self) {
        if let Some(executor) = &self.executor {
            executor.join();
        }
    }
}

impl State {
    fn run_mut(&mut self, id: i64) -> Option<&mut Run> {
        let run_id = self.task_runs.get(&id).copied().unwrap_or(id);
        self.runs.get_mut(&run_id)
    }

    fn remove(&mut self, run_id: i64) -> bool {
        let Some(run) = self.runs.remove(&run_id) else { return false };
        run.stop();
        for task_id in &run.task_ids {
            self.task_runs.remove(task_id);
        }
        true
    }
}
