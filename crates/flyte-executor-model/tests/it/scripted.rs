//! A connector with scripted responses, and a simulated clock.

use flyte_executor_model::{
    Action, Call, CallFailure, ConnectBackoff, Deadlines, Event, ExecutorSettings, Outputs, Task,
    TaskStatus,
};
use flyteidl2::connector::Resource;
use flyteidl2::core::{TaskLog, task_execution::Phase as Wire};
use std::collections::BTreeMap;
use std::time::Duration;

#[expect(clippy::unnecessary_wraps, reason = "an element of a list of responses and errors")]
pub fn response(phase: Wire, message: &str) -> Result<Resource, CallFailure> {
    Ok(Resource { phase: phase.into(), message: message.to_owned(), ..Resource::default() })
}

pub fn linked(phase: Wire, uri: &str) -> Result<Resource, CallFailure> {
    let link = TaskLog { name: "Databricks Console".into(), uri: uri.into(), ..TaskLog::default() };
    response(phase, "").map(|resource| Resource { log_links: vec![link], ..resource })
}

pub fn fault(message: &str) -> CallFailure {
    CallFailure { code: "Unavailable".to_owned(), message: message.to_owned() }
}

pub fn errors(count: usize) -> Vec<Result<Resource, CallFailure>> {
    (1..=count).map(|number| Err(fault(&format!("error {number}")))).collect()
}

/// A time without a connector, as grpc-go with `waitForReady` sees it.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    pub from: Duration,
    pub until: Duration,
    pub deadlines: Deadlines,
}

impl Outage {
    /// Returns when the client is connected again: connects are tried with growing waits.
    pub fn connected_at(&self) -> Duration {
        let (mut at, mut failures) = (self.from, 0);
        while at < self.until {
            failures += 1;
            at += ConnectBackoff::default().wait(failures, 0.5);
        }
        at
    }

    /// Returns how long a call takes that begins now, and its error.
    fn wait(&self, call: &Call, now: Duration) -> (Duration, Option<CallFailure>) {
        let connected_at = self.connected_at();
        if now < self.from || now >= connected_at {
            return (RESPONSE_TIME, None);
        }
        let left = connected_at.saturating_sub(now);
        let deadline = match call {
            Call::Create { .. } => self.deadlines.create,
            Call::Get { .. } => self.deadlines.get,
            Call::Delete { .. } => self.deadlines.delete,
        };
        match deadline.filter(|deadline| *deadline < left) {
            Some(deadline) => {
                let code = "DeadlineExceeded".to_owned();
                let message = "context deadline exceeded".to_owned();
                (deadline, Some(CallFailure { code, message }))
            }
            None => (left + RESPONSE_TIME, None),
        }
    }
}

const RESPONSE_TIME: Duration = Duration::from_millis(1);

/// A received call: its time and name.
pub type Seen = (Duration, String);

/// A task, its connector and the current time.
pub struct Stage {
    pub task: Task,
    /// Errors of the next creates. Without any they succeed.
    pub create_faults: Vec<CallFailure>,
    /// The number of creates whose result the executor fails to persist.
    pub unstored: usize,
    /// The responses to polls. The last one is repeated.
    pub gets: Vec<Result<Resource, CallFailure>>,
    pub delete_faults: Vec<CallFailure>,
    pub calls: Vec<Seen>,
    pub outage: Option<Outage>,
    now: Duration,
    queue: BTreeMap<(Duration, u64), Event>,
    entries: u64,
}

impl Stage {
    pub fn new(retries: u32, gets: Vec<Result<Resource, CallFailure>>) -> Self {
        Self::of(Task::new(ExecutorSettings::default(), retries, Outputs::Present, None), gets)
    }

    pub fn of(task: Task, gets: Vec<Result<Resource, CallFailure>>) -> Self {
        Self::beginning_at(Duration::ZERO, task, gets)
    }

    pub fn beginning_at(
        begin: Duration,
        task: Task,
        gets: Vec<Result<Resource, CallFailure>>,
    ) -> Self {
        let mut stage = Self {
            task,
            create_faults: Vec::new(),
            unstored: 0,
            gets,
            delete_faults: Vec::new(),
            calls: Vec::new(),
            outage: None,
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            entries: 0,
        };
        stage.at(begin, Task::BEGIN);
        stage
    }

    pub fn at(&mut self, at: Duration, event: Event) {
        self.entries += 1;
        self.queue.insert((at, self.entries), event);
    }

    /// Advances the clock to this time.
    pub fn run_until(&mut self, end: Duration) -> &mut Self {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            self.now = entry.key().0;
            let event = entry.remove();
            if event == Event::Restarted {
                // Pending timers and calls are lost; user actions are not.
                self.queue.retain(|_, event| matches!(event, Event::Abort | Event::Restarted));
            }
            for action in self.task.step(event) {
                match action {
                    Action::Wake { after, timer } => self.at(self.now + after, Event::Due(timer)),
                    Action::Call(call) => {
                        let (took, failure) = match self.outage {
                            Some(outage) => outage.wait(&call, self.now),
                            None => (RESPONSE_TIME, None),
                        };
                        let event = match failure {
                            Some(failure) => self.failed(&call, failure),
                            None => self.answered(&call),
                        };
                        self.at(self.now + took, event);
                    }
                }
            }
        }
        self
    }

    /// Advances the clock until the executor makes no more calls.
    pub fn run_to_collection(&mut self) -> &mut Self {
        self.run_until(Duration::from_hours(48));
        assert_eq!(self.task.status(), TaskStatus::Collected);
        self
    }

    fn failed(&mut self, call: &Call, failure: CallFailure) -> Event {
        let (name, event) = match call {
            Call::Create { .. } => {
                ("create", Event::Created { response: Err(failure), stored: true })
            }
            Call::Get { attempt, .. } => {
                ("get", Event::Got { attempt: *attempt, response: Err(failure) })
            }
            Call::Delete { .. } => ("delete", Event::Deleted(Err(failure))),
        };
        self.calls.push((self.now, format!("{name} failed")));
        event
    }

    fn answered(&mut self, call: &Call) -> Event {
        let next = |list: &mut Vec<CallFailure>| (!list.is_empty()).then(|| list.remove(0));
        let (name, event) = match call {
            Call::Create { attempt } => {
                let stored = self.unstored == 0;
                self.unstored = self.unstored.saturating_sub(1);
                let response = next(&mut self.create_faults)
                    .map_or_else(|| Ok(format!("meta {attempt}").into_bytes()), Err);
                (format!("create {attempt}"), Event::Created { response, stored })
            }
            Call::Get { attempt, resource_meta } => {
                assert_eq!(*resource_meta, format!("meta {attempt}").into_bytes());
                let response =
                    if self.gets.len() > 1 { self.gets.remove(0) } else { self.gets[0].clone() };
                (format!("get {attempt}"), Event::Got { attempt: *attempt, response })
            }
            Call::Delete { attempt, resource_meta } => {
                assert_eq!(*resource_meta, format!("meta {attempt}").into_bytes());
                let response = next(&mut self.delete_faults).map_or(Ok(()), Err);
                (format!("delete {attempt}"), Event::Deleted(response))
            }
        };
        self.calls.push((self.now, name));
        event
    }

    pub fn names(&self) -> Vec<&str> {
        self.calls.iter().map(|(_, name)| name.as_str()).collect()
    }

    pub fn count(&self, method: &str) -> usize {
        self.calls.iter().filter(|(_, name)| name.starts_with(method)).count()
    }

    pub fn failure(&self) -> (&'static str, flyte_executor_model::ErrorClass, &str) {
        match self.task.end() {
            Some(flyte_executor_model::End::Failure(error)) => {
                (error.code, error.class, error.message.as_str())
            }
            other => panic!("{other:?} is no failure"),
        }
    }
}
