//! A connector with scripted responses, and a simulated clock.

use flyte_executor_model::{
    Action, Call, CallFailure, Event, ExecutorSettings, Outputs, Task, TaskStatus,
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
    now: Duration,
    queue: BTreeMap<(Duration, u64), Event>,
    entries: u64,
}

impl Stage {
    pub fn new(retries: u32, gets: Vec<Result<Resource, CallFailure>>) -> Self {
        Self::of(Task::new(ExecutorSettings::default(), retries, Outputs::Present, None), gets)
    }

    pub fn of(task: Task, gets: Vec<Result<Resource, CallFailure>>) -> Self {
        let mut stage = Self {
            task,
            create_faults: Vec::new(),
            unstored: 0,
            gets,
            delete_faults: Vec::new(),
            calls: Vec::new(),
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            entries: 0,
        };
        stage.at(Duration::ZERO, Task::BEGIN);
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
                        let event = self.answered(&call);
                        self.at(self.now + Duration::from_millis(1), event);
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
