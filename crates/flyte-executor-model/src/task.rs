//! The state machine of one task: attempts, retries, system errors, deletes and garbage collection
//! (flyte-contract.md#createtask, flyte-contract.md#gettask, flyte-contract.md#deletetask).

use crate::attempt::{Attempt, NextPoll, Outputs};
use crate::history::History;
use crate::report::{CallFailure, ErrorClass, Phase, Report, TaskError};
use crate::settings::ExecutorSettings;
use flyteidl2::connector::Resource;
use std::time::Duration;

/// An event for a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The task is new, or a timer of an [`Action::Wake`] has expired.
    Due(Timer),
    /// `CreateTask` returned. If the executor could not persist the result, it is as if the call had not returned
    /// (flyte-contract.md#createtask).
    Created {
        /// The handle or the error.
        response: Result<Vec<u8>, CallFailure>,
        /// Whether the result was persisted.
        stored: bool,
    },
    /// `GetTask` returned.
    Got {
        /// The attempt, from 0.
        attempt: u32,
        /// The resource or the error.
        response: Result<Resource, CallFailure>,
    },
    /// `DeleteTask` returned.
    Deleted(Result<(), CallFailure>),
    /// The user aborts the task.
    Abort,
    /// The executor restarted. The caller must drop pending timers and calls.
    Restarted,
}

/// A timer of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// Reconciles the task. Only the latest one is valid.
    Reconcile(u64),
    /// Polls this attempt.
    Poll(u32),
    /// Garbage-collects the task.
    Collect,
}

/// A call to the connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `CreateTask`.
    Create {
        /// The attempt, from 0.
        attempt: u32,
    },
    /// `GetTask`.
    Get {
        /// The attempt, from 0.
        attempt: u32,
        /// The handle.
        resource_meta: Vec<u8>,
    },
    /// `DeleteTask`.
    Delete {
        /// The attempt, from 0.
        attempt: u32,
        /// The handle.
        resource_meta: Vec<u8>,
    },
}

/// What the caller of [`Task::step`] must do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Call the connector, and pass on its result as an event.
    Call(Call),
    /// Send [`Event::Due`] after this time.
    Wake {
        /// The delay from now.
        after: Duration,
        /// The timer of the event.
        timer: Timer,
    },
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Succeeded.
    Success,
    /// Failed.
    Failure(TaskError),
    /// Aborted by the user.
    Aborted,
}

/// The status of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStatus {
    /// Not ended.
    Active,
    /// Stuck in a non-terminal phase forever (flyte-contract.md#gettask-errors).
    Frozen,
    /// Ended, not yet garbage-collected.
    Ended,
    /// Garbage-collected: the executor makes no more calls for it.
    Collected,
}

/// The state of a task in the executor.
#[derive(Debug, Clone, PartialEq)]
enum State {
    /// The attempt is not launched.
    Fresh,
    /// `CreateTask` is in flight.
    Creating,
    /// The attempt is launched and polled.
    Polling(Attempt),
    /// The failed attempt is being deleted before the next one. Nothing of this is persisted yet.
    DeletingFailed(Attempt),
    /// The task has ended and waits for garbage collection.
    Ended(Option<Attempt>),
    /// The last attempt is being deleted. The finalizer stays until that succeeds.
    Deleting(Attempt),
    Collected,
}

/// One task in the executor.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    settings: ExecutorSettings,
    retries: u32,
    outputs: Outputs,
    launch_error: Option<String>,
    number: u32,
    state: State,
    system_failures: u32,
    reconciliations: u64,
    abort: bool,
    end: Option<End>,
    history: History,
}

impl Task {
    /// Creates a task with this number of retries. `launch_error` is the error of its template
    /// ([`launch_error`](crate::launch_error)). Start it with [`Task::BEGIN`].
    pub fn new(
        settings: ExecutorSettings,
        retries: u32,
        outputs: Outputs,
        launch_error: Option<String>,
    ) -> Self {
        Self {
            settings,
            retries,
            outputs,
            launch_error,
            number: 0,
            state: State::Fresh,
            system_failures: 0,
            reconciliations: 0,
            abort: false,
            end: None,
            history: History::default(),
        }
    }

    /// The event that starts a task.
    pub const BEGIN: Event = Event::Due(Timer::Reconcile(0));

    /// Returns the current attempt, from 0.
    pub fn attempt(&self) -> u32 {
        self.number
    }

    /// Returns how the task ended, if it did.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Returns the stored events and links.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Returns the status of the task.
    pub fn status(&self) -> TaskStatus {
        match &self.state {
            State::Collected => TaskStatus::Collected,
            State::Polling(attempt) if attempt.is_frozen() => TaskStatus::Frozen,
            _ if self.end.is_some() => TaskStatus::Ended,
            _ => TaskStatus::Active,
        }
    }

    /// Handles an event and returns the next actions.
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Due(Timer::Reconcile(number)) => {
                if number == self.reconciliations {
                    self.reconcile()
                } else {
                    Vec::new()
                }
            }
            Event::Due(Timer::Poll(attempt)) => self.poll(attempt),
            Event::Due(Timer::Collect) => {
                match std::mem::replace(&mut self.state, State::Collected) {
                    State::Ended(Some(attempt)) => self.delete_last(attempt),
                    State::Ended(None) => Vec::new(),
                    other => {
                        self.state = other;
                        Vec::new()
                    }
                }
            }
            Event::Created { response, stored } => self.created(response, stored),
            Event::Got { attempt, response } => self.got(attempt, response.as_ref()),
            Event::Deleted(response) => self.deleted(response.is_ok()),
            Event::Abort => {
                self.abort = true;
                // A task has one reconciliation at a time, so a call in flight is awaited first.
                match self.state {
                    State::Fresh | State::Polling(_) => self.reconcile(),
                    _ => Vec::new(),
                }
            }
            Event::Restarted => self.restarted(),
        }
    }

    /// Resumes the task from its persisted state.
    fn restarted(&mut self) -> Vec<Action> {
        match std::mem::replace(&mut self.state, State::Fresh) {
            // The result of a create in flight was not persisted.
            State::Fresh | State::Creating => vec![self.reconcile_after(Duration::ZERO)],
            State::Polling(mut attempt) | State::DeletingFailed(mut attempt) => {
                attempt.restarted();
                self.state = State::Polling(attempt);
                let poll = Action::Wake { after: Duration::ZERO, timer: Timer::Poll(self.number) };
                vec![poll, self.reconcile_after(Duration::ZERO)]
            }
            State::Deleting(attempt) => {
                self.state = State::Deleting(attempt);
                vec![self.reconcile_after(Duration::ZERO)]
            }
            State::Ended(attempt) => {
                self.state = State::Ended(attempt);
                vec![Action::Wake { after: self.settings.collect_after, timer: Timer::Collect }]
            }
            State::Collected => {
                self.state = State::Collected;
                Vec::new()
            }
        }
    }

    /// Reconciles the task: launches it, or handles the plugin's report.
    fn reconcile(&mut self) -> Vec<Action> {
        match &self.state {
            State::Fresh | State::Polling(_) if self.abort => self.aborted(),
            State::Fresh => self.launch(),
            State::Polling(attempt) => match attempt.report(self.outputs) {
                Ok(report) => {
                    self.system_failures = 0;
                    self.handle_report(report)
                }
                Err(message) => self.system_error(message),
            },
            // Retries a failed delete.
            State::Deleting(attempt) => self.delete_last(attempt.clone()),
            State::Creating | State::DeletingFailed(_) | State::Ended(_) | State::Collected => {
                Vec::new()
            }
        }
    }

    fn launch(&mut self) -> Vec<Action> {
        if let Some(error) = self.launch_error.clone() {
            return self
                .retryable(Report::failure(Phase::RetryableFailure, TaskError::user(error)));
        }
        self.history
            .record(self.number, &Report::new(Phase::Queued, 0, "Allocation token required"));
        self.state = State::Creating;
        vec![Action::Call(Call::Create { attempt: self.number })]
    }

    fn created(&mut self, response: Result<Vec<u8>, CallFailure>, stored: bool) -> Vec<Action> {
        if self.state != State::Creating {
            return Vec::new();
        }
        self.state = State::Fresh;
        if !stored {
            // Sends the same create again.
            return vec![self.reconcile_after(self.settings.system_retry)];
        }
        match response {
            Ok(resource_meta) => {
                self.history.record(self.number, &Report::new(Phase::Queued, 2, "launched"));
                self.state = State::Polling(Attempt::new(resource_meta));
                let poll = Action::Wake { after: Duration::ZERO, timer: Timer::Poll(self.number) };
                vec![poll, self.reconcile_after(Duration::ZERO)]
            }
            Err(failure) => {
                let error = TaskError::user(failure.create_message());
                self.retryable(Report::failure(Phase::RetryableFailure, error))
            }
        }
    }

    fn poll(&mut self, number: u32) -> Vec<Action> {
        let State::Polling(attempt) = &mut self.state else { return Vec::new() };
        if number != self.number {
            return Vec::new();
        }
        // Polls start at fixed intervals, however long each takes (flyte-contract.md#observed-outages).
        let next = Action::Wake { after: self.settings.resync, timer: Timer::Poll(number) };
        match attempt.poll(&self.settings) {
            NextPoll::Get => {
                let resource_meta = attempt.resource_meta().to_vec();
                vec![Action::Call(Call::Get { attempt: number, resource_meta }), next]
            }
            NextPoll::Skip => vec![next],
            NextPoll::Stop => Vec::new(),
        }
    }

    fn got(&mut self, number: u32, response: Result<&Resource, &CallFailure>) -> Vec<Action> {
        let State::Polling(attempt) = &mut self.state else { return Vec::new() };
        if number != self.number {
            return Vec::new();
        }
        attempt.got(response.cloned());
        Vec::new()
    }

    /// Handles a report that is not a system error.
    fn handle_report(&mut self, report: Report) -> Vec<Action> {
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
                vec![self.reconcile_after(self.settings.reconcile)]
            }
        }
    }

    /// Starts the next attempt immediately, or fails the task. The reason of a retried failure is not stored.
    fn retryable(&mut self, report: Report) -> Vec<Action> {
        let launched = match std::mem::replace(&mut self.state, State::Fresh) {
            State::Polling(attempt) => Some(attempt),
            _ => None,
        };
        if self.number >= self.retries {
            self.history
                .record(self.number, &Report { phase: Phase::PermanentFailure, ..report.clone() });
            if let Some(attempt) = launched {
                self.state = State::Polling(attempt);
            }
            return self.finish(failure(report));
        }
        match launched {
            Some(attempt) => {
                let resource_meta = attempt.resource_meta().to_vec();
                self.state = State::DeletingFailed(attempt);
                vec![Action::Call(Call::Delete { attempt: self.number, resource_meta })]
            }
            // Without a handle there is nothing to delete (flyte-contract.md#deletetask).
            None => self.next_attempt(),
        }
    }

    fn next_attempt(&mut self) -> Vec<Action> {
        self.number += 1;
        self.system_failures = 0;
        self.state = State::Fresh;
        vec![self.reconcile_after(Duration::ZERO)]
    }

    fn system_error(&mut self, message: String) -> Vec<Action> {
        self.system_failures += 1;
        if self.system_failures <= self.settings.max_system_failures {
            return vec![self.reconcile_after(self.settings.system_retry)];
        }
        let error =
            TaskError { code: "MaxSystemFailuresExceeded", class: ErrorClass::System, message };
        let report = Report::failure(Phase::PermanentFailure, error);
        self.history.record(self.number, &report);
        self.finish(failure(report))
    }

    fn finish(&mut self, end: End) -> Vec<Action> {
        self.end = Some(end);
        let attempt = match std::mem::replace(&mut self.state, State::Fresh) {
            State::Polling(attempt) => Some(attempt),
            _ => None,
        };
        self.state = State::Ended(attempt);
        vec![Action::Wake { after: self.settings.collect_after, timer: Timer::Collect }]
    }

    fn aborted(&mut self) -> Vec<Action> {
        self.end = Some(End::Aborted);
        match std::mem::replace(&mut self.state, State::Collected) {
            State::Polling(attempt) => self.delete_last(attempt),
            _ => Vec::new(),
        }
    }

    /// Deletes the last attempt, until that succeeds.
    fn delete_last(&mut self, attempt: Attempt) -> Vec<Action> {
        let resource_meta = attempt.resource_meta().to_vec();
        self.state = State::Deleting(attempt);
        // Invalidates the pending reconciliation, which would send a second delete.
        self.reconciliations += 1;
        vec![Action::Call(Call::Delete { attempt: self.number, resource_meta })]
    }

    fn deleted(&mut self, is_ok: bool) -> Vec<Action> {
        match self.state {
            // Before the next attempt the executor only logs an error (flyte-contract.md#deletetask).
            State::DeletingFailed(_) if self.abort => {
                self.state = State::Collected;
                self.end = Some(End::Aborted);
                Vec::new()
            }
            State::DeletingFailed(_) => self.next_attempt(),
            State::Deleting(_) if is_ok => {
                self.state = State::Collected;
                Vec::new()
            }
            State::Deleting(_) => vec![self.reconcile_after(self.settings.reconcile)],
            _ => Vec::new(),
        }
    }

    fn reconcile_after(&mut self, after: Duration) -> Action {
        self.reconciliations += 1;
        Action::Wake { after, timer: Timer::Reconcile(self.reconciliations) }
    }
}

fn failure(report: Report) -> End {
    End::Failure(report.error.unwrap_or(TaskError {
        code: "UnknownError",
        class: ErrorClass::System,
        message: report.reason,
    }))
}
