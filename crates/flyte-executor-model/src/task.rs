//! One task from its first look to its collection: attempts, retries, system errors, deletes (FC §1, §0.4).

use crate::attempt::{Attempt, Polling};
use crate::history::History;
use crate::report::{Fault, Kind, Phase, Report, TaskError};
use crate::settings::Settings;
use flyteidl2::connector::Resource;
use std::time::Duration;

/// Whether the task's outputs are where the executor looks for them, when the answer brings none itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// The task declares none, or they are there.
    Fine,
    /// The task declares some, and there is no `outputs.pb`.
    Missing,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The executor hears of the task, or a time has come that an [`Action::Wake`] asked for.
    Due(Timer),
    /// `CreateTask` was answered. `stored` is whether the executor could write down what came of it: if not, all is as if
    /// nothing had been answered (FC §0.5).
    Created {
        /// The handle.
        answer: Result<Vec<u8>, Fault>,
        /// Whether the outcome was written down.
        stored: bool,
    },
    /// `GetTask` was answered.
    Got {
        /// For which attempt.
        attempt: u32,
        /// The state of the work.
        answer: Result<Resource, Fault>,
    },
    /// `DeleteTask` was answered.
    Deleted(Result<(), Fault>),
    /// The user aborts the task.
    Abort,
    /// The executor was started anew. What it waited for, times and answers, never comes: whoever drives the model drops
    /// them.
    Restarted,
}

/// A time that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// To look at the task. Of several the latest counts.
    Look(u64),
    /// To poll this attempt.
    Poll(u32),
    /// To collect the task.
    Collect,
}

/// A call of the connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `CreateTask` for this attempt.
    Create {
        /// From 0.
        attempt: u32,
    },
    /// `GetTask`.
    Get {
        /// From 0.
        attempt: u32,
        /// The handle.
        resource_meta: Vec<u8>,
    },
    /// `DeleteTask`.
    Delete {
        /// From 0.
        attempt: u32,
        /// The handle.
        resource_meta: Vec<u8>,
    },
}

/// What the executor does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Call the connector, and answer with the event of that name.
    Call(Call),
    /// Come back with [`Event::Due`] after that time.
    Wake {
        /// From now.
        after: Duration,
        /// With what.
        timer: Timer,
    },
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Succeeded.
    Success,
    /// Failed for good.
    Failure(TaskError),
    /// The user aborted it.
    Aborted,
}

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// On its way.
    Underway,
    /// In a phase that nothing will ever end (FC §0.3).
    Frozen,
    /// Ended, and not collected yet.
    Ended,
    /// Ended and collected: the executor will never call about it again.
    Collected,
}

/// What the executor is doing with the task.
#[derive(Debug, Clone, PartialEq)]
enum Stage {
    /// Nothing was launched yet in this attempt.
    Fresh,
    /// `CreateTask` is under way.
    Creating,
    /// It has a handle and is polled.
    Watching(Attempt),
    /// The failed attempt is being deleted, before the next one; nothing of that is written down yet.
    DeletingFailed(Attempt),
    /// The task has ended with a handle, and waits to be collected.
    Ended(Option<Attempt>),
    /// The last attempt is being deleted; the finalizer stays until that is OK.
    Deleting(Attempt),
    Collected,
}

/// One task in the executor.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    settings: Settings,
    retries: u32,
    outputs: Outputs,
    refusal: Option<String>,
    number: u32,
    stage: Stage,
    system_failures: u32,
    looks: u64,
    abort: bool,
    end: Option<End>,
    history: History,
}

impl Task {
    /// A task that may be tried again so many times. `refusal` is what is wrong with its template
    /// ([`refusal_before_any_call`](crate::refusal_before_any_call)). It begins with the first [`Event::Due`] of any
    /// [`Timer::Look`].
    pub fn new(
        settings: Settings,
        retries: u32,
        outputs: Outputs,
        refusal: Option<String>,
    ) -> Self {
        Self {
            settings,
            retries,
            outputs,
            refusal,
            number: 0,
            stage: Stage::Fresh,
            system_failures: 0,
            looks: 0,
            abort: false,
            end: None,
            history: History::default(),
        }
    }

    /// The event that begins it.
    pub const BEGIN: Event = Event::Due(Timer::Look(0));

    /// The number of the present attempt, from 0.
    pub fn attempt(&self) -> u32 {
        self.number
    }

    /// How it ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// `GetTask` errors of the present attempt.
    pub fn sync_failures(&self) -> u32 {
        match &self.stage {
            Stage::Watching(attempt) => attempt.failures(),
            _ => 0,
        }
    }

    /// What of it is stored for the user.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        match &self.stage {
            Stage::Collected => Standing::Collected,
            Stage::Watching(attempt) if attempt.is_frozen() => Standing::Frozen,
            _ if self.end.is_some() => Standing::Ended,
            _ => Standing::Underway,
        }
    }

    /// What follows from an event.
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Due(Timer::Look(number)) => {
                if number == self.looks {
                    self.look()
                } else {
                    Vec::new()
                }
            }
            Event::Due(Timer::Poll(attempt)) => self.poll(attempt),
            Event::Due(Timer::Collect) => {
                match std::mem::replace(&mut self.stage, Stage::Collected) {
                    Stage::Ended(Some(attempt)) => self.delete_last(attempt),
                    Stage::Ended(None) => Vec::new(),
                    other => {
                        self.stage = other;
                        Vec::new()
                    }
                }
            }
            Event::Created { answer, stored } => self.created(answer, stored),
            Event::Got { attempt, answer } => self.got(attempt, answer.as_ref()),
            Event::Deleted(answer) => self.deleted(answer.is_ok()),
            Event::Abort => {
                self.abort = true;
                // One look at a task at a time: what is under way is awaited.
                match self.stage {
                    Stage::Fresh | Stage::Watching(_) => self.look(),
                    _ => Vec::new(),
                }
            }
            Event::Restarted => self.restarted(),
        }
    }

    /// The executor finds the task as it is written down, and looks at it.
    fn restarted(&mut self) -> Vec<Action> {
        match std::mem::replace(&mut self.stage, Stage::Fresh) {
            // An answer that never comes was never written down.
            Stage::Fresh | Stage::Creating => vec![self.look_after(Duration::ZERO)],
            Stage::Watching(mut attempt) | Stage::DeletingFailed(mut attempt) => {
                attempt.restarted();
                self.stage = Stage::Watching(attempt);
                let poll = Action::Wake { after: Duration::ZERO, timer: Timer::Poll(self.number) };
                vec![poll, self.look_after(Duration::ZERO)]
            }
            Stage::Deleting(attempt) => {
                self.stage = Stage::Deleting(attempt);
                vec![self.look_after(Duration::ZERO)]
            }
            Stage::Ended(attempt) => {
                self.stage = Stage::Ended(attempt);
                vec![Action::Wake { after: self.settings.collect_after, timer: Timer::Collect }]
            }
            Stage::Collected => {
                self.stage = Stage::Collected;
                Vec::new()
            }
        }
    }

    /// One look at the task: launches it, or passes on how it stands.
    fn look(&mut self) -> Vec<Action> {
        match &self.stage {
            Stage::Fresh | Stage::Watching(_) if self.abort => self.aborted(),
            Stage::Fresh => self.launch(),
            Stage::Watching(attempt) => match attempt.look(self.outputs) {
                Ok(report) => {
                    self.system_failures = 0;
                    self.passed_on(report)
                }
                Err(fault) => self.system_error(fault),
            },
            // A delete that failed: it is tried again.
            Stage::Deleting(attempt) => self.delete_last(attempt.clone()),
            Stage::Creating | Stage::DeletingFailed(_) | Stage::Ended(_) | Stage::Collected => {
                Vec::new()
            }
        }
    }

    fn launch(&mut self) -> Vec<Action> {
        if let Some(refusal) = self.refusal.clone() {
            return self
                .retryable(Report::failure(Phase::RetryableFailure, TaskError::user(refusal)));
        }
        self.history
            .record(self.number, &Report::new(Phase::Queued, 0, "Allocation token required"));
        self.stage = Stage::Creating;
        vec![Action::Call(Call::Create { attempt: self.number })]
    }

    fn created(&mut self, answer: Result<Vec<u8>, Fault>, stored: bool) -> Vec<Action> {
        if self.stage != Stage::Creating {
            return Vec::new();
        }
        self.stage = Stage::Fresh;
        if !stored {
            // The same Create again, for the same attempt.
            return vec![self.look_after(self.settings.system_retry)];
        }
        match answer {
            Ok(resource_meta) => {
                self.history.record(self.number, &Report::new(Phase::Queued, 2, "launched"));
                self.stage = Stage::Watching(Attempt::new(resource_meta));
                let poll = Action::Wake { after: Duration::ZERO, timer: Timer::Poll(self.number) };
                vec![poll, self.look_after(Duration::ZERO)]
            }
            Err(fault) => {
                let error = TaskError::user(fault.of_create());
                self.retryable(Report::failure(Phase::RetryableFailure, error))
            }
        }
    }

    fn poll(&mut self, number: u32) -> Vec<Action> {
        let Stage::Watching(attempt) = &mut self.stage else { return Vec::new() };
        if number != self.number {
            return Vec::new();
        }
        match attempt.poll(&self.settings) {
            Polling::Get => {
                let resource_meta = attempt.resource_meta().to_vec();
                vec![Action::Call(Call::Get { attempt: number, resource_meta })]
            }
            Polling::Over => Vec::new(),
        }
    }

    fn got(&mut self, number: u32, answer: Result<&Resource, &Fault>) -> Vec<Action> {
        let Stage::Watching(attempt) = &mut self.stage else { return Vec::new() };
        if number != self.number {
            return Vec::new();
        }
        attempt.got(answer.cloned());
        vec![Action::Wake { after: self.settings.resync, timer: Timer::Poll(number) }]
    }

    /// A look that was no system error.
    fn passed_on(&mut self, report: Report) -> Vec<Action> {
        match report.phase {
            Phase::Success => {
                self.history.record(self.number, &report);
                self.finish(End::Success)
            }
            Phase::PermanentFailure => {
                self.history.record(self.number, &report);
                self.finish(failure(report))
            }
            Phase::RetryableFailure => self.retryable(report),
            Phase::Queued | Phase::WaitingForResources | Phase::Initializing | Phase::Running => {
                self.history.record(self.number, &report);
                vec![self.look_after(self.settings.reconcile)]
            }
        }
    }

    /// The attempt failed: the next one at once, or the end. The reason of a failure that is tried again is not stored
    /// (DESIGN §3.1).
    fn retryable(&mut self, report: Report) -> Vec<Action> {
        let launched = match std::mem::replace(&mut self.stage, Stage::Fresh) {
            Stage::Watching(attempt) => Some(attempt),
            _ => None,
        };
        if self.number >= self.retries {
            self.history
                .record(self.number, &Report { phase: Phase::PermanentFailure, ..report.clone() });
            if let Some(attempt) = launched {
                self.stage = Stage::Watching(attempt);
            }
            return self.finish(failure(report));
        }
        match launched {
            Some(attempt) => {
                let resource_meta = attempt.resource_meta().to_vec();
                self.stage = Stage::DeletingFailed(attempt);
                vec![Action::Call(Call::Delete { attempt: self.number, resource_meta })]
            }
            // Without a handle there is nothing to delete (FC §1.7).
            None => self.next_attempt(),
        }
    }

    fn next_attempt(&mut self) -> Vec<Action> {
        self.number += 1;
        self.system_failures = 0;
        self.stage = Stage::Fresh;
        vec![self.look_after(Duration::ZERO)]
    }

    fn system_error(&mut self, fault: String) -> Vec<Action> {
        self.system_failures += 1;
        if self.system_failures <= self.settings.max_system_failures {
            return vec![self.look_after(self.settings.system_retry)];
        }
        let error =
            TaskError { code: "MaxSystemFailuresExceeded", kind: Kind::System, message: fault };
        let report = Report::failure(Phase::PermanentFailure, error);
        self.history.record(self.number, &report);
        self.finish(failure(report))
    }

    fn finish(&mut self, end: End) -> Vec<Action> {
        self.end = Some(end);
        let attempt = match std::mem::replace(&mut self.stage, Stage::Fresh) {
            Stage::Watching(attempt) => Some(attempt),
            _ => None,
        };
        self.stage = Stage::Ended(attempt);
        vec![Action::Wake { after: self.settings.collect_after, timer: Timer::Collect }]
    }

    fn aborted(&mut self) -> Vec<Action> {
        self.end = Some(End::Aborted);
        match std::mem::replace(&mut self.stage, Stage::Collected) {
            Stage::Watching(attempt) => self.delete_last(attempt),
            _ => Vec::new(),
        }
    }

    /// Deletes what the task leaves behind, until that is answered without an error.
    fn delete_last(&mut self, attempt: Attempt) -> Vec<Action> {
        let resource_meta = attempt.resource_meta().to_vec();
        self.stage = Stage::Deleting(attempt);
        // The look that was due would delete a second time, beside this one.
        self.looks += 1;
        vec![Action::Call(Call::Delete { attempt: self.number, resource_meta })]
    }

    fn deleted(&mut self, is_ok: bool) -> Vec<Action> {
        match self.stage {
            // Before another attempt an error is only logged (FC §1.7).
            Stage::DeletingFailed(_) if self.abort => {
                self.stage = Stage::Collected;
                self.end = Some(End::Aborted);
                Vec::new()
            }
            Stage::DeletingFailed(_) => self.next_attempt(),
            Stage::Deleting(_) if is_ok => {
                self.stage = Stage::Collected;
                Vec::new()
            }
            Stage::Deleting(_) => vec![self.look_after(self.settings.reconcile)],
            _ => Vec::new(),
        }
    }

    fn look_after(&mut self, after: Duration) -> Action {
        self.looks += 1;
        Action::Wake { after, timer: Timer::Look(self.looks) }
    }
}

fn failure(report: Report) -> End {
    End::Failure(report.error.unwrap_or(TaskError {
        code: "UnknownError",
        kind: Kind::System,
        message: report.reason,
    }))
}
