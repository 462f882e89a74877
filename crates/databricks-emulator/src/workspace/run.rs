//! One run: what was submitted, what it was told to do, and where it is.

use super::RunSummary;
use crate::delivery::{Change, Delivered};
use crate::ending::{self, Ending};
use crate::exec::{Execution, Executor};
use crate::script::{LifeCycle, Outcome, Script, Step};
use crate::timeline::Timeline;
use crate::validate::{Submission, SubmittedTask};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: i64,
    pub(crate) job_id: i64,
    /// In the order of the tasks.
    pub(crate) task_ids: Vec<i64>,
    pub(crate) submission: Submission,
    pub(crate) script: Script,
    pub(crate) timeline: Timeline,
    ending: Ending,
    /// In the order of the tasks.
    task_endings: Vec<Ending>,
    cancelled: Ending,
    blocked: Step,
    /// What decides its end in the place of its script, until it has.
    execution: Option<Execution>,
    /// How far its logs are delivered.
    delivered: Delivered,
    /// Whether a part of the logs is missing already.
    pub(crate) logs_truncated: bool,
}

/// Where a run or a task is.
#[derive(Debug)]
pub(crate) enum Standing<'a> {
    /// On a step; while TERMINATING how it will end is known already (DA §2.2).
    On { step: &'a Step, known: Option<&'a Ending> },
    /// At the end.
    Ended(&'a Ending),
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
        let (ending, task_endings) = endings(&submission.tasks, &script);
        Self {
            id,
            job_id,
            task_ids,
            submission,
            script,
            timeline,
            ending,
            task_endings,
            cancelled: Ending::cancelled(),
            blocked: Step::new(LifeCycle::Blocked),
            execution: None,
            delivered: Delivered::default(),
            logs_truncated: false,
        }
    }

    /// The same run, but its work is done: it is RUNNING as long as that takes, and ends as that ends.
    pub(crate) fn executed_by(mut self, executor: &Executor) -> Self {
        self.timeline = self.timeline.held_in(&LifeCycle::Running);
        self.execution = Some(executor.start(&self.submission, self.timeline.time_to_hold()));
        self.proceed();
        self
    }

    /// Lets the time that has passed move it.
    pub(crate) fn settle(&mut self, now: Duration) {
        self.timeline.settle(now);
        self.take_result();
        self.timeline.settle(now);
        self.proceed();
    }

    /// Counts a poll.
    pub(crate) fn poll(&mut self, now: Duration) {
        self.settle(now);
        self.timeline.poll(now);
        self.proceed();
    }

    /// What its clusters deliver now; nothing before it is RUNNING.
    pub(crate) fn deliver(&mut self) -> Vec<Change> {
        match &self.script.delivery {
            Some(script) if self.timeline.reached(&LifeCycle::Running) => {
                self.delivered.go_on(script, self.timeline.ended())
            }
            _ => Vec::new(),
        }
    }

    /// Moves it one step, but for one whose work is being done.
    pub(crate) fn advance(&mut self, now: Duration) {
        self.settle(now);
        self.timeline.advance(now);
        self.proceed();
    }

    /// Asks it to stop.
    pub(crate) fn cancel(&mut self, now: Duration) {
        self.settle(now);
        self.timeline.cancel(now);
        if self.timeline.cancelled() {
            self.stop();
        }
    }

    /// Ends its work at once.
    pub(crate) fn stop(&self) {
        if let Some(execution) = &self.execution {
            execution.stop();
        }
    }

    /// Starts its work once it is time.
    fn proceed(&self) {
        if let Some(execution) = self.execution.as_ref().filter(|_| self.timeline.is_held()) {
            execution.go();
        }
    }

    /// Ends RUNNING when the work is done. Of one that was cancelled only the logs are left to know.
    fn take_result(&mut self) {
        if !self.timeline.is_held() && !self.timeline.cancelled() {
            return;
        }
        let Some(finished) = self.execution.as_ref().and_then(Execution::take_finished) else {
            return;
        };
        self.execution = None;
        self.script.outcome = finished.end.outcome;
        self.script.logs = finished.end.logs;
        self.script.tasks.clear();
        self.logs_truncated = finished.end.logs_truncated;
        (self.ending, self.task_endings) = endings(&self.submission.tasks, &self.script);
        self.timeline.release(finished.at);
    }

    /// The place of the task whose run has this id; none for the id of the run itself.
    pub(crate) fn place_of(&self, id: i64) -> Option<usize> {
        let place = || self.task_ids.iter().position(|task_id| *task_id == id);
        if self.id == id { None } else { place() }
    }

    /// The id of the run of the task at this place.
    pub(crate) fn task_id(&self, place: usize) -> i64 {
        self.task_ids.get(place).copied().unwrap_or(self.id)
    }

    /// Where the run is.
    pub(crate) fn standing(&self) -> Standing<'_> {
        self.standing_on(self.timeline.step(), &self.ending)
    }

    /// Where the task at this place is. One that depends on others is BLOCKED until the run ends or is stopped; all
    /// others move with the run.
    pub(crate) fn task_standing(&self, place: usize) -> Standing<'_> {
        let waits =
            self.submission.tasks.get(place).is_some_and(|task| !task.depends_on.is_empty());
        let step = self.timeline.step().map(|step| match step.state {
            LifeCycle::Terminating => step,
            _ if waits => &self.blocked,
            _ => step,
        });
        self.standing_on(step, self.task_endings.get(place).unwrap_or(&self.ending))
    }

    fn standing_on<'a>(&'a self, step: Option<&'a Step>, scripted: &'a Ending) -> Standing<'a> {
        let ending = if self.timeline.cancelled() { &self.cancelled } else { scripted };
        match step {
            Some(step) => Standing::On {
                step,
                known: Some(ending).filter(|_| step.state == LifeCycle::Terminating),
            },
            None => Standing::Ended(ending),
        }
    }

    pub(crate) fn summary(&self) -> RunSummary {
        let (life_cycle, result) = match self.standing() {
            Standing::On { step, .. } => (step.state.as_str().to_owned(), None),
            Standing::Ended(Ending { state, .. }) => (
                state.life_cycle_state.clone().unwrap_or_else(|| "TERMINATED".to_owned()),
                state.result_state.clone(),
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

/// How the run and its tasks end when nobody cancels. The first task that does not succeed decides for the run.
fn endings(tasks: &[SubmittedTask], script: &Script) -> (Ending, Vec<Ending>) {
    let mut endings: BTreeMap<&str, (bool, Ending)> = BTreeMap::new();
    let mut any_skipped = false;
    // A submission has no circles, so that every round decides a task at least.
    while endings.len() < tasks.len() {
        let before = endings.len();
        for task in tasks {
            let upstream: Option<Vec<bool>> = task
                .depends_on
                .iter()
                .map(|key| endings.get(key.as_str()).map(|(won, _)| *won))
                .collect();
            let Some(upstream) = upstream else { continue };
            if endings.contains_key(task.key.as_str()) {
                continue;
            }
            let runs = task.runs_after_failure || upstream.iter().all(|won| *won);
            any_skipped |= !runs;
            let outcome = script.outcome_of(&task.key);
            let ending = if runs { Ending::of_task(outcome) } else { Ending::upstream_failed() };
            endings.insert(&task.key, (runs && ending::succeeded(outcome), ending));
        }
        if endings.len() == before {
            break;
        }
    }
    let decides = |task: &&SubmittedTask| !ending::succeeded(script.outcome_of(&task.key));
    let run = match tasks.iter().find(decides) {
        Some(task) => Ending::of_run(script.outcome_of(&task.key), &task.key, any_skipped),
        // Also for one that won in a special way, such as SUCCESS_WITH_FAILURES.
        None => Ending::of_task(
            tasks.first().map_or(&Outcome::Success, |task| script.outcome_of(&task.key)),
        ),
    };
    let tasks =
        tasks.iter().filter_map(|task| Some(endings.get(task.key.as_str())?.1.clone())).collect();
    (run, tasks)
}
