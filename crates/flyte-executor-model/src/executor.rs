//! Runs the model with a clock and a network, for many tasks concurrently.

use crate::client::{CallResult, Client, Try};
use crate::report::CallFailure;
use crate::settings::Deadlines;
use crate::task::{Action, Call, End, Event, Task, TaskStatus};
use flyteidl2::connector::{CreateTaskRequest, DeleteTaskRequest, GetTaskRequest};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

/// Concurrent reconciliations. Creates and deletes happen during one (flyte-contract.md#createtask).
const RECONCILIATIONS: usize = 512;
/// Concurrent polls (flyte-contract.md#gettask).
const POLLS: usize = 10;

/// An executor.
#[derive(Debug, Clone)]
pub struct Executor {
    client: Client,
    deadlines: Deadlines,
    reconciliations: Arc<Semaphore>,
    polls: Arc<Semaphore>,
}

/// The requests that the executor sends for a task.
pub trait Requests: Send + Sync {
    /// Returns the `CreateTask` request of an attempt, from 0.
    fn create(&self, attempt: u32) -> CreateTaskRequest;
    /// Returns the `GetTask` request of an attempt.
    fn get(&self, attempt: u32, resource_meta: Vec<u8>) -> GetTaskRequest;
    /// Returns the `DeleteTask` request of an attempt.
    fn delete(&self, attempt: u32, resource_meta: Vec<u8>) -> DeleteTaskRequest;
}

/// Disruptions of one task by its user and its executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disruptions {
    /// When the user aborts it, from its start. `None`: never.
    pub abort_after: Option<Duration>,
    /// The number of creates whose result the executor fails to persist, so that it sends them again
    /// (flyte-contract.md#createtask).
    pub unstored: u32,
    /// When the executor restarts, from the start of the task. `None`: never. Calls in flight are aborted.
    pub restart_after: Option<Duration>,
    /// Stops the task after this time.
    pub timeout: Duration,
}

/// The method of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `CreateTask`.
    Create,
    /// `GetTask`.
    Get,
    /// `DeleteTask`.
    Delete,
}

/// A recorded call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedCall {
    /// The start, since the start of the task.
    pub began: Duration,
    /// The duration.
    pub took: Duration,
    /// The method.
    pub method: Method,
    /// The attempt, from 0.
    pub attempt: u32,
    /// All tries.
    pub tries: Vec<Try>,
    /// The result or the error.
    pub outcome: Result<CallOutput, CallFailure>,
    /// Whether the executor persisted the result.
    pub stored: bool,
}

/// The result of a successful call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutput {
    /// A create returned this handle.
    Launched(Vec<u8>),
    /// A get returned this phase number and message.
    Phase(i32, String),
    /// A delete succeeded.
    Deleted,
}

/// The result of running a task.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its status.
    pub status: TaskStatus,
    /// How it ended, if it did.
    pub end: Option<End>,
    /// Its last attempt, from 0.
    pub attempt: u32,
    /// All calls for the task.
    pub calls: Vec<TracedCall>,
}

impl Executor {
    /// Creates an executor with the stock concurrency limits.
    pub fn new(client: Client, deadlines: Deadlines) -> Self {
        Self {
            client,
            deadlines,
            reconciliations: Arc::new(Semaphore::new(RECONCILIATIONS)),
            polls: Arc::new(Semaphore::new(POLLS)),
        }
    }

    /// Sets the number of concurrent polls. With shorter intervals more are needed, because calls take as long as before.
    #[must_use]
    pub fn with_polls(mut self, polls: usize) -> Self {
        self.polls = Arc::new(Semaphore::new(polls));
        self
    }

    /// Runs a task until it is collected, frozen, or timed out.
    pub async fn run(
        &self,
        mut task: Task,
        requests: &dyn Requests,
        disruptions: Disruptions,
    ) -> Finished {
        let began = Instant::now();
        let mut calls: FuturesUnordered<BoxFuture<'_, (TracedCall, Event)>> =
            FuturesUnordered::new();
        let mut timers: Vec<(Instant, Event)> = vec![(began, Task::BEGIN)];
        timers.extend(disruptions.abort_after.map(|after| (began + after, Event::Abort)));
        timers.extend(disruptions.restart_after.map(|after| (began + after, Event::Restarted)));
        let mut unstored = disruptions.unstored;
        let mut trace = Vec::new();
        let over = began + disruptions.timeout;
        while !matches!(task.status(), TaskStatus::Collected | TaskStatus::Frozen) {
            let next = timers.iter().map(|(at, _)| *at).min().unwrap_or(over).min(over);
            let event = tokio::select! {
                Some((traced, event)) = calls.next(), if !calls.is_empty() => {
                    trace.push(traced);
                    event
                }
                () = sleep_until(next) => {
                    if next >= over {
                        break;
                    }
                    let due = timers.iter().position(|(at, _)| *at == next);
                    let Some(due) = due else { continue };
                    timers.swap_remove(due).1
                }
            };
            if event == Event::Restarted {
                calls.clear();
                timers.retain(|(_, event)| *event == Event::Abort);
            }
            for action in task.step(event) {
                match action {
                    Action::Wake { after, timer } => {
                        timers.push((Instant::now() + after, Event::Due(timer)));
                    }
                    Action::Call(call) => {
                        let mut stored = true;
                        if matches!(call, Call::Create { .. }) && unstored > 0 {
                            unstored -= 1;
                            stored = false;
                        }
                        calls.push(Box::pin(self.call(call, requests, began, stored)));
                    }
                }
            }
        }
        Finished {
            status: task.status(),
            end: task.end().cloned(),
            attempt: task.attempt(),
            calls: trace,
        }
    }

    async fn call(
        &self,
        call: Call,
        requests: &dyn Requests,
        task_began: Instant,
        stored: bool,
    ) -> (TracedCall, Event) {
        let slots =
            if matches!(call, Call::Get { .. }) { &self.polls } else { &self.reconciliations };
        // The semaphore is never closed.
        let _slot = slots.acquire().await;
        let began = Instant::now();
        let (method, attempt, tries, outcome, event) = match call {
            Call::Create { attempt } => {
                let CallResult { response, tries } =
                    self.client.create(requests.create(attempt), self.deadlines.create).await;
                let response = response.map(|response| response.resource_meta);
                let outcome = response.clone().map(CallOutput::Launched);
                (Method::Create, attempt, tries, outcome, Event::Created { response, stored })
            }
            Call::Get { attempt, resource_meta } => {
                let request = requests.get(attempt, resource_meta);
                let CallResult { response, tries } =
                    self.client.get(request, self.deadlines.get).await;
                let response = response.map(|response| response.resource.unwrap_or_default());
                let outcome = response
                    .as_ref()
                    .map(|resource| CallOutput::Phase(resource.phase, resource.message.clone()))
                    .map_err(Clone::clone);
                (Method::Get, attempt, tries, outcome, Event::Got { attempt, response })
            }
            Call::Delete { attempt, resource_meta } => {
                let request = requests.delete(attempt, resource_meta);
                let CallResult { response, tries } =
                    self.client.delete(request, self.deadlines.delete).await;
                let response = response.map(|_empty| ());
                let outcome = response.clone().map(|()| CallOutput::Deleted);
                (Method::Delete, attempt, tries, outcome, Event::Deleted(response))
            }
        };
        let traced = TracedCall {
            began: began.duration_since(task_began),
            took: began.elapsed(),
            method,
            attempt,
            tries,
            outcome,
            stored,
        };
        (traced, event)
    }
}
