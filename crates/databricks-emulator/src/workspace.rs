//! What the workspace remembers: scripts, runs, and the tokens that started them.

mod run;

pub(crate) use run::{Run, Standing};

use crate::answers;
use crate::builder::EmulatorBuilder;
use crate::clock::now;
use crate::delivery::Change;
use crate::exec::Executor;
use crate::recorded::REMEMBERED;
use crate::refusal::{Refusal, invalid, unknown_run};
use crate::script::Script;
use crate::validate::{Format, Submission};
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One run as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RunSummary {
    /// The id that the submit answered.
    pub run_id: i64,
    /// The ids of its task runs, in the order of the submitted tasks.
    pub task_run_ids: Vec<i64>,
    /// The name as submitted, or `Untitled`.
    pub run_name: String,
    /// The legacy life cycle state of the run; TERMINATED when its script leaves it out of the answers.
    pub life_cycle: String,
    /// The legacy result, once there is one.
    pub result: Option<String>,
    /// Whether a cancel came before the end.
    pub cancelled: bool,
    /// The token of the submit, if it had one.
    pub idempotency_token: Option<String>,
}

/// The state behind the API. Every call takes its one lock once, so that each is atomic.
#[derive(Debug)]
pub(crate) struct Workspace {
    default_script: Script,
    first_run_id: i64,
    /// Executes the runs whose name has no script.
    executor: Option<Executor>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    scripts: HashMap<String, Script>,
    runs: BTreeMap<i64, Run>,
    /// The run that each task run belongs to.
    task_runs: HashMap<i64, i64>,
    /// The run that each idempotency token started; it may be deleted since.
    tokens: HashMap<String, i64>,
    /// The latest ones.
    submissions: VecDeque<Arc<Map<String, Value>>>,
    /// Saved jobs: the body that each submits.
    jobs: HashMap<i64, Map<String, Value>>,
    next_id: i64,
}

impl Workspace {
    pub(crate) fn new(settings: &EmulatorBuilder, executor: Option<Executor>) -> Self {
        Self {
            default_script: settings.default_script.clone(),
            first_run_id: settings.first_run_id,
            executor,
            state: Mutex::new(State {
                scripts: HashMap::new(),
                runs: BTreeMap::new(),
                task_runs: HashMap::new(),
                tokens: HashMap::new(),
                submissions: VecDeque::new(),
                jobs: HashMap::new(),
                next_id: settings.first_run_id,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn script(&self, run_name: &str, script: Script) {
        self.lock().scripts.insert(run_name.to_owned(), script);
    }

    pub(crate) fn submissions(&self) -> Vec<Value> {
        self.lock().submissions.iter().map(|body| Value::Object(body.as_ref().clone())).collect()
    }

    pub(crate) fn save_job(&self, job_id: i64, settings: Map<String, Value>) {
        self.lock().jobs.insert(job_id, settings);
    }

    /// The settings of a saved job.
    pub(crate) fn job(&self, job_id: i64) -> Option<Map<String, Value>> {
        self.lock().jobs.get(&job_id).cloned()
    }

    /// Starts a run, or finds the one that this token started (DA §3.1).
    pub(crate) fn submit(&self, submission: Submission) -> Result<i64, Refusal> {
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
            Format::SingleTask => vec![run_id],
            Format::MultiTask => (run_id + 1..).take(submission.tasks.len()).collect(),
        };
        state.next_id = task_ids.last().copied().unwrap_or(run_id) + 1;
        for task_id in &task_ids {
            state.task_runs.insert(*task_id, run_id);
        }
        if let Some(token) = &submission.idempotency_token {
            state.tokens.insert(token.clone(), run_id);
        }
        if state.submissions.len() == REMEMBERED {
            state.submissions.pop_front();
        }
        state.submissions.push_back(Arc::clone(&submission.body));
        let own_script = state.scripts.get(&submission.run_name);
        let executor = self.executor.as_ref().filter(|_| own_script.is_none());
        let script = own_script.unwrap_or(&self.default_script).clone();
        // Any number will do for the job that the service makes up; it must only be no run's id.
        let job_id = run_id.wrapping_sub(self.first_run_id).wrapping_add(218_406_790_113_205);
        let mut run = Run::new(run_id, job_id, task_ids, submission, script, now);
        if let Some(executor) = executor {
            run = run.executed_by(executor);
        }
        state.runs.insert(run_id, run);
        Ok(run_id)
    }

    /// Reads a run by its own id or by that of one of its tasks: the reader gets the run, the place of the task when the
    /// id is a task's and not the run's, and the time.
    pub(crate) fn read<T>(
        &self,
        id: i64,
        counts_as_poll: bool,
        reader: impl FnOnce(&Run, Option<usize>, Duration) -> T,
    ) -> Result<T, Refusal> {
        let now = now();
        let mut state = self.lock();
        let run = state.run_mut(id).ok_or_else(|| unknown_run(id))?;
        if counts_as_poll {
            run.poll(now);
        } else {
            run.settle(now);
        }
        let task = run.place_of(id);
        Ok(reader(run, task, now))
    }

    /// The same for a read that sees the run so many steps earlier than it is.
    pub(crate) fn read_earlier<T>(
        &self,
        id: i64,
        steps: u32,
        reader: impl FnOnce(&Run, Option<usize>, Duration) -> T,
    ) -> Result<T, Refusal> {
        let now = now();
        let mut state = self.lock();
        let run = state.run_mut(id).ok_or_else(|| unknown_run(id))?;
        run.settle(now);
        let task = run.place_of(id);
        let earlier = run.timeline.stepped_back(steps);
        let real = std::mem::replace(&mut run.timeline, earlier);
        let answer = reader(run, task, now);
        run.timeline = real;
        Ok(answer)
    }

    /// The run that this is the id of, or of a task of it, and its name.
    pub(crate) fn run_around(&self, id: i64) -> Option<(i64, String)> {
        let mut state = self.lock();
        state.run_mut(id).map(|run| (run.id, run.submission.run_name.clone()))
    }

    /// Reads every run, latest first.
    pub(crate) fn read_all<T>(
        &self,
        mut reader: impl FnMut(&Run, Duration) -> Option<T>,
    ) -> Vec<T> {
        let now = now();
        let mut state = self.lock();
        state.runs.values_mut().for_each(|run| run.settle(now));
        state.runs.values().rev().filter_map(|run| reader(run, now)).collect()
    }

    /// Cancels the run of this id, or the one around the task run of this id. Nothing when it has ended (DA §3.2).
    pub(crate) fn cancel(&self, id: i64) -> Result<(), Refusal> {
        let mut state = self.lock();
        let run = state.run_mut(id).ok_or_else(|| unknown_run(id))?;
        run.cancel(now());
        Ok(())
    }

    /// Deletes a run that has ended (DA §3.2).
    pub(crate) fn delete(&self, run_id: i64) -> Result<(), Refusal> {
        let mut state = self.lock();
        let run = state.runs.get_mut(&run_id).ok_or_else(|| unknown_run(run_id))?;
        run.settle(now());
        if !run.timeline.ended() {
            return Err(Refusal {
                status: StatusCode::BAD_REQUEST,
                error_code: "INVALID_STATE",
                message: format!("Run {run_id} is active; cancel it before it is deleted."),
            });
        }
        state.remove(run_id);
        Ok(())
    }

    /// Forgets a run, active or not.
    pub(crate) fn forget(&self, run_id: i64) -> bool {
        self.lock().remove(run_id)
    }

    pub(crate) fn summaries(&self) -> Vec<RunSummary> {
        let mut summaries = self.read_all(|run, _| Some(run.summary()));
        summaries.reverse();
        summaries
    }

    pub(crate) fn summary(&self, run_id: i64) -> Option<RunSummary> {
        self.read(run_id, false, |run, task, _| task.is_none().then(|| run.summary()))
            .ok()
            .flatten()
    }

    pub(crate) fn advance(&self, run_id: i64) -> Option<RunSummary> {
        let mut state = self.lock();
        let run = state.runs.get_mut(&run_id)?;
        run.advance(now());
        Some(run.summary())
    }

    /// What the clusters of a run deliver at a poll, and to which folders.
    pub(crate) fn deliver(&self, run_id: i64) -> (Vec<String>, Vec<Change>) {
        let mut state = self.lock();
        let Some(run) = state.run_mut(run_id) else { return Default::default() };
        let changes = run.deliver();
        let tasks = run.submission.tasks.iter().enumerate();
        let folders = tasks.filter_map(|(place, task)| answers::log_folder(run, place, task));
        (folders.filter(|folder| !folder.contains("://")).collect(), changes)
    }

    /// Where the cluster of a task delivers its driver's logs to.
    pub(crate) fn log_folder(&self, run_id: i64, task_key: &str) -> Option<String> {
        let find = |run: &Run| {
            let mut tasks = run.submission.tasks.iter().enumerate();
            let (place, task) = tasks.find(|(_, task)| task.key == task_key)?;
            answers::log_folder(run, place, task)
        };
        self.read(run_id, false, |run, _, _| find(run)).ok().flatten()
    }

    /// Ends what is being executed, and executes nothing from now on. Does not wait.
    pub(crate) fn stop_executions(&self) {
        if let Some(executor) = &self.executor {
            executor.stop();
        }
    }

    /// Waits until what was stopped is gone. Blocks.
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
