//! One run: its submission, its script and its current state.

use super::exec::{Execution, Executor};
use super::log_delivery::DeliveryCursor;
use super::script::{LifeCycle, Outcome, Script, Step};
use super::termination::{self, TerminalState};
use super::timeline::Timeline;
use super::validation::{Submission, SubmittedTask};
use crate::storage::data_files::FileChange;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The state of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RunSummary {
    /// The run id.
    pub run_id: i64,
    /// The ids of its task runs, in the order of the submitted tasks.
    pub task_run_ids: Vec<i64>,
    /// The name as submitted, or `Untitled`.
    pub run_name: String,
    /// The legacy life cycle state. TERMINATED if the script omits it from responses.
    pub life_cycle: String,
    /// The legacy result state, once the run has ended.
    pub result: Option<String>,
    /// Whether the run was cancelled before it ended.
    pub cancelled: bool,
    /// The idempotency token of the submit.
    pub idempotency_token: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: i64,
    pub(crate) job_id: i64,
    /// In the order of the tasks.
    pub(crate) task_ids: Vec<i64>,
    pub(crate) submission: Submission,
    pub(crate) script: Script,
    pub(crate) timeline: Timeline,
    /// The terminal state unless the run is cancelled.
    terminal_state: TerminalState,
    /// The same for each task.
    task_terminal_states: Vec<TerminalState>,
    cancelled: TerminalState,
    blocked: Step,
    /// The process that replaces the script, until its result is taken.
    execution: Option<Execution>,
    log_delivery: DeliveryCursor,
    /// Whether the executed process wrote more logs than are kept.
    pub(crate) logs_truncated: bool,
}

/// The current state of a run or task.
#[derive(Debug)]
pub(crate) enum CurrentState<'a> {
    /// On a step. While TERMINATING, the terminal state is known already (databricks-api.md#status).
    Active {
        step: &'a Step,
        terminal_state: Option<&'a TerminalState>,
    },
    Terminated(&'a TerminalState),
}

impl Run {
    pub(crate) fn new(
        id: i64,
        job_id: i64,
        task_ids: Vec<i64>,
        submission: Submission,
        script: Script,
        now: Duration,
    ) -> Self {
        let timeline = Timeline::new(script.pace, script.steps.clone(), now);
        let (terminal_state, task_terminal_states) = terminal_states(&submission.tasks, &script);
        Self {
            id,
            job_id,
            task_ids,
            submission,
            script,
            timeline,
            terminal_state,
            task_terminal_states,
            cancelled: TerminalState::cancelled(),
            blocked: Step::new(LifeCycle::Blocked),
            execution: None,
            log_delivery: DeliveryCursor::default(),
            logs_truncated: false,
        }
    }

    /// Executes the run: it stays RUNNING as long as its process runs, and ends with the result of the process.
    pub(crate) fn executed_by(mut self, executor: &Executor) -> Self {
        self.timeline = self.timeline.hold_in(&LifeCycle::Running);
        self.execution = Some(executor.prepare(&self.submission, self.timeline.time_to_hold()));
        self.start_if_due();
        self
    }

    /// Advances the run to this time.
    pub(crate) fn settle(&mut self, now: Duration) {
        self.timeline.settle(now);
        self.take_result();
        self.timeline.settle(now);
        self.start_if_due();
    }

    /// Counts a poll.
    pub(crate) fn poll(&mut self, now: Duration) {
        self.settle(now);
        self.timeline.poll(now);
        self.start_if_due();
    }

    /// Returns the log changes due at this poll. There are none before the run is RUNNING.
    pub(crate) fn deliver_logs(&mut self) -> Vec<FileChange> {
        match &self.script.delivery {
            Some(script) if self.timeline.reached(&LifeCycle::Running) => {
                self.log_delivery.next(script, self.timeline.has_ended())
            }
            _ => Vec::new(),
        }
    }

    /// Moves the run one step. A run whose process is running does not move.
    pub(crate) fn advance(&mut self, now: Duration) {
        self.settle(now);
        self.timeline.advance(now);
        self.start_if_due();
    }

    /// Ends the run with this outcome instead of its script's.
    pub(crate) fn end(&mut self, outcome: Outcome, now: Duration) {
        self.settle(now);
        if self.timeline.has_ended() || self.timeline.cancelled() {
            return;
        }
        self.set_outcome(outcome);
        for _ in 0..=self.script.steps.len() {
            self.timeline.advance(now);
        }
    }

    fn set_outcome(&mut self, outcome: Outcome) {
        self.script.outcome = outcome;
        self.script.tasks.clear();
        (self.terminal_state, self.task_terminal_states) =
            terminal_states(&self.submission.tasks, &self.script);
    }

    /// Requests the cancellation of the run.
    pub(crate) fn cancel(&mut self, now: Duration) {
        self.settle(now);
        self.timeline.cancel(now);
        if self.timeline.cancelled() {
            self.stop();
        }
    }

    /// Kills its process.
    pub(crate) fn stop(&self) {
        if let Some(execution) = &self.execution {
            execution.stop();
        }
    }

    /// Starts its process once the run is RUNNING.
    fn start_if_due(&self) {
        if let Some(execution) = self.execution.as_ref().filter(|_| self.timeline.is_held()) {
            execution.start();
        }
    }

    /// Leaves RUNNING when the process has ended. For a cancelled run only takes its logs.
    fn take_result(&mut self) {
        if !self.timeline.is_held() && !self.timeline.cancelled() {
            return;
        }
        let Some(finished) = self.execution.as_ref().and_then(Execution::take_finished) else {
            return;
        };
        self.execution = None;
        self.script.logs = finished.result.logs;
        self.logs_truncated = finished.result.logs_truncated;
        self.set_outcome(finished.result.outcome);
        self.timeline.release(finished.at);
    }

    /// Returns the index of the task with this task run id, or `None` for the run's own id.
    pub(crate) fn task_index(&self, id: i64) -> Option<usize> {
        let index = || self.task_ids.iter().position(|task_id| *task_id == id);
        if self.id == id { None } else { index() }
    }

    /// Returns the task run id of a task.
    pub(crate) fn task_id(&self, index: usize) -> i64 {
        self.task_ids.get(index).copied().unwrap_or(self.id)
    }

    pub(crate) fn current_state(&self) -> CurrentState<'_> {
        self.state_on(self.timeline.step(), &self.terminal_state)
    }

    /// Returns the state of a task. A task with dependencies is BLOCKED until the run ends or is cancelled; all others
    /// move with the run.
    pub(crate) fn task_state(&self, index: usize) -> CurrentState<'_> {
        let is_blocked =
            self.submission.tasks.get(index).is_some_and(|task| !task.depends_on.is_empty());
        let step = self.timeline.step().map(|step| match step.state {
            LifeCycle::Terminating => step,
            _ if is_blocked => &self.blocked,
            _ => step,
        });
        self.state_on(step, self.task_terminal_states.get(index).unwrap_or(&self.terminal_state))
    }

    fn state_on<'a>(
        &'a self,
        step: Option<&'a Step>,
        scripted: &'a TerminalState,
    ) -> CurrentState<'a> {
        let terminal_state = if self.timeline.cancelled() { &self.cancelled } else { scripted };
        match step {
            Some(step) => CurrentState::Active {
                step,
                terminal_state: Some(terminal_state)
                    .filter(|_| step.state == LifeCycle::Terminating),
            },
            None => CurrentState::Terminated(terminal_state),
        }
    }

    pub(crate) fn summary(&self) -> RunSummary {
        let (life_cycle, result) = match self.current_state() {
            CurrentState::Active { step, .. } => (step.state.as_str().to_owned(), None),
            CurrentState::Terminated(TerminalState { termination, .. }) => (
                termination.life_cycle_state.clone().unwrap_or_else(|| "TERMINATED".to_owned()),
                termination.result_state.clone(),
            ),
        };
        RunSummary {
            run_id: self.id,
            task_run_ids: self.task_ids.clone(),
            run_name: self.submission.run_name.clone(),
            life_cycle,
            result,
            cancelled: self.timeline.cancelled(),
            idempotency_token: self.submission.idempotency_token.clone(),
        }
    }
}

/// Returns the terminal states of the run and its tasks, unless cancelled. The first failed task decides that of the run.
fn terminal_states(
    tasks: &[SubmittedTask],
    script: &Script,
) -> (TerminalState, Vec<TerminalState>) {
    let mut states: BTreeMap<&str, (bool, TerminalState)> = BTreeMap::new();
    let mut any_skipped = false;
    // Dependencies have no cycles, so every round decides at least one task.
    while states.len() < tasks.len() {
        let before = states.len();
        for task in tasks {
            let has_succeeded =
                |key: &String| states.get(key.as_str()).map(|(succeeded, _)| *succeeded);
            let upstream: Option<Vec<bool>> = task.depends_on.iter().map(has_succeeded).collect();
            let Some(upstream) = upstream else { continue };
            if states.contains_key(task.key.as_str()) {
                continue;
            }
            let runs = task.runs_after_failure || upstream.iter().all(|succeeded| *succeeded);
            any_skipped |= !runs;
            let outcome = script.outcome_of(&task.key);
            let state = if runs {
                TerminalState::of_task(outcome)
            } else {
                TerminalState::upstream_failed()
            };
            states.insert(&task.key, (runs && termination::is_success(outcome), state));
        }
        if states.len() == before {
            break;
        }
    }
    let failed = |task: &&SubmittedTask| !termination::is_success(script.outcome_of(&task.key));
    let run = match tasks.iter().find(failed) {
        Some(task) => TerminalState::of_run(script.outcome_of(&task.key), &task.key, any_skipped),
        // Keeps special kinds of success, such as SUCCESS_WITH_FAILURES.
        None => TerminalState::of_task(
            tasks.first().map_or(&Outcome::Success, |task| script.outcome_of(&task.key)),
        ),
    };
    let tasks =
        tasks.iter().filter_map(|task| Some(states.get(task.key.as_str())?.1.clone())).collect();
    (run, tasks)
}
