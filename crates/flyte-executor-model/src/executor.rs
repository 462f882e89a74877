//! The executor around the model: a clock, a network, and as many tasks at once as there are.

use crate::client::{Called, Client, Try};
use crate::report::Fault;
use crate::settings::Deadlines;
use crate::task::{Action, Call, End, Event, Standing, Task};
use flyteidl2::connector::{CreateTaskRequest, DeleteTaskRequest, GetTaskRequest};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

/// How many tasks the executor looks at at once; a create and a delete happen within a look (FC §1.3).
const LOOKS: usize = 512;
/// How many polls are under way at once (FC §1.5).
const POLLS: usize = 10;

/// An executor.
#[derive(Debug, Clone)]
pub struct Executor {
    client: Client,
    deadlines: Deadlines,
    looks: Arc<Semaphore>,
    polls: Arc<Semaphore>,
}

/// What the executor sends for a task.
pub trait Requests: Send + Sync {
    /// `CreateTask` for this attempt, from 0.
    fn create(&self, attempt: u32) -> CreateTaskRequest;
    /// `GetTask` for this attempt.
    fn get(&self, attempt: u32, resource_meta: Vec<u8>) -> GetTaskRequest;
    /// `DeleteTask` for this attempt.
    fn delete(&self, attempt: u32, resource_meta: Vec<u8>) -> DeleteTaskRequest;
}

/// What befalls a task from the executor's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fate {
    /// When its user aborts it, from its beginning; `None`: never.
    pub abort_after: Option<Duration>,
    /// How many of its creates the executor cannot write down, and sends again (FC §0.5).
    pub unstored: u32,
    /// When the executor is started anew, from the task's beginning; `None`: never. The calls under way break off.
    pub restart_after: Option<Duration>,
    /// When to stop looking, whatever has become of it.
    pub patience: Duration,
}

/// What one call was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `CreateTask`.
    Create,
    /// `GetTask`.
    Get,
    /// `DeleteTask`.
    Delete,
}

/// One call in the life of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// When it began, from the beginning of the task.
    pub began: Duration,
    /// How long it took.
    pub took: Duration,
    /// What it was.
    pub verb: Verb,
    /// For which attempt, from 0.
    pub attempt: u32,
    /// The tries it took.
    pub tries: Vec<Try>,
    /// What it came to: the handle of a create, the phase of a get, or the error.
    pub outcome: Result<Outcome, Fault>,
    /// Whether the executor could write down what came of it.
    pub stored: bool,
}

/// What a call that was answered came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The handle of a create.
    Launched(Vec<u8>),
    /// The phase number and the message of a get.
    Phase(i32, String),
    /// A delete.
    Deleted,
}

/// A task that the executor is done with.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How it stands.
    pub standing: Standing,
    /// How it ended, if it did.
    pub end: Option<End>,
    /// Its last attempt, from 0.
    pub attempt: u32,
    /// Every call about it.
    pub calls: Vec<Traced>,
}

impl Executor {
    /// An executor that calls through this client, with the stock numbers of calls at once.
    pub fn new(client: Client, deadlines: Deadlines) -> Self {
        Self {
            client,
            deadlines,
            looks: Arc::new(Semaphore::new(LOOKS)),
            polls: Arc::new(Semaphore::new(POLLS)),
        }
    }

    /// The same executor with so many polls at once. One whose waits are shorter needs more of them, for the calls
    /// themselves are as long as ever.
    #[must_use]
    pub fn with_polls(mut self, polls: usize) -> Self {
        self.polls = Arc::new(Semaphore::new(polls));
        self
    }

    /// Runs a task until it is collected, frozen, or out of patience.
    pub async fn run(&self, mut task: Task, requests: &dyn Requests, fate: Fate) -> Finished {
        let began = Instant::now();
        let mut calls: FuturesUnordered<BoxFuture<'_, (Traced, Event)>> = FuturesUnordered::new();
        let mut timers: Vec<(Instant, Event)> = vec![(began, Task::BEGIN)];
        timers.extend(fate.abort_after.map(|after| (began + after, Event::Abort)));
        timers.extend(fate.restart_after.map(|after| (began + after, Event::Restarted)));
        let mut unstored = fate.unstored;
        let mut trace = Vec::new();
        let over = began + fate.patience;
        while !matches!(task.standing(), Standing::Collected | Standing::Frozen) {
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
            standing: task.standing(),
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
    ) -> (Traced, Event) {
        let slots = if matches!(call, Call::Get { .. }) { &self.polls } else { &self.looks };
        // The semaphore is never closed.
        let _slot = slots.acquire().await;
        let began = Instant::now();
        let (verb, attempt, tries, outcome, event) = match call {
            Call::Create { attempt } => {
                let Called { answer, tries } =
                    self.client.create(requests.create(attempt), self.deadlines.create).await;
                let answer = answer.map(|answer| answer.resource_meta);
                let outcome = answer.clone().map(Outcome::Launched);
                (Verb::Create, attempt, tries, outcome, Event::Created { answer, stored })
            }
            Call::Get { attempt, resource_meta } => {
                let request = requests.get(attempt, resource_meta);
                let Called { answer, tries } = self.client.get(request, self.deadlines.get).await;
                let answer = answer.map(|answer| answer.resource.unwrap_or_default());
                let outcome = answer
                    .as_ref()
                    .map(|resource| Outcome::Phase(resource.phase, resource.message.clone()))
                    .map_err(Clone::clone);
                (Verb::Get, attempt, tries, outcome, Event::Got { attempt, answer })
            }
            Call::Delete { attempt, resource_meta } => {
                let request = requests.delete(attempt, resource_meta);
                let Called { answer, tries } =
                    self.client.delete(request, self.deadlines.delete).await;
                let answer = answer.map(|_empty| ());
                let outcome = answer.clone().map(|()| Outcome::Deleted);
                (Verb::Delete, attempt, tries, outcome, Event::Deleted(answer))
            }
        };
        let traced = Traced {
            began: began.duration_since(task_began),
            took: began.elapsed(),
            verb,
            attempt,
            tries,
            outcome,
            stored,
        };
        (traced, event)
    }
}
