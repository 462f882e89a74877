//! Events of a run, its attempts and its clusters, as text with a time. Pure.
//!
//! They are the first lines of a log, before there is output.

use std::time::{Duration, SystemTime};

use databricks_client::{
    RunId,
    clusters::ClusterEvent,
    jobs::{MissingTasks, Outcome, Progress, ReportedState, Run, RunTask},
};

use super::cursor::AttemptCursor;
use crate::get::reason;

/// A line that is written once per attempt. Each is a bit of [`AttemptCursor::written`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum OneTimeLine {
    /// It is or was queued.
    Waiting = 1,
    /// Its compute is being prepared, or was.
    Preparing = 2,
    /// It is running, or ran.
    Running = 4,
    /// It ended.
    Ended = 8,
    /// Databricks keeps only the end of its output.
    Truncated = 16,
    /// Its delivered logs cannot be read.
    Undelivered = 32,
    /// The cluster failed to deliver its logs.
    DeliveryFailed = 64,
    /// Its output cannot be read.
    Unreadable = 128,
}

impl AttemptCursor {
    /// Marks the line as written. Returns false if it already was.
    pub(super) fn write_once(&mut self, line: OneTimeLine) -> bool {
        let is_new = self.written & line as u16 == 0;
        self.written |= line as u16;
        is_new
    }
}

/// An event and its time, if known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) text: String,
    pub(super) at: Option<SystemTime>,
}

impl Event {
    fn new(text: impl Into<String>, at: Option<SystemTime>) -> Self {
        Self { text: text.into(), at }
    }
}

/// The cluster event types that concern a run. The others concern the cluster's owner.
pub(super) const CLUSTER_EVENT_TYPES: [&str; 20] = [
    "ADD_NODES_FAILED",
    "AUTOSCALING_FAILED",
    "CREATING",
    "DBFS_DOWN",
    "DID_NOT_EXPAND_DISK",
    "DRIVER_HEALTHY",
    "DRIVER_NOT_RESPONDING",
    "DRIVER_UNAVAILABLE",
    "FAILED_TO_EXPAND_DISK",
    "INIT_SCRIPTS_FINISHED",
    "INIT_SCRIPTS_STARTED",
    "METASTORE_DOWN",
    "NODES_LOST",
    "RESIZING",
    "RESTARTING",
    "RUNNING",
    "SPARK_EXCEPTION",
    "STARTING",
    "TERMINATING",
    "UPSIZE_COMPLETED",
];

/// Returns the first line of a log.
pub(super) fn run_submitted(run: &Run, run_id: RunId) -> Event {
    let name = run.run_name.as_deref().filter(|name| !name.is_empty());
    let name = name.map(|name| format!(" as `{name}`")).unwrap_or_default();
    Event::new(format!("run {run_id} was submitted{name}"), timestamp(run.start_time))
}

/// Returns the line about tasks whose log is missing, if there are any.
pub(super) fn missing_tasks(run: &Run) -> Option<Event> {
    let text = match run.missing_tasks.as_ref()? {
        MissingTasks::TooMany => "(the run has too many tasks to read their logs)".to_owned(),
        MissingTasks::Unreadable { error, .. } => {
            format!("(not all tasks of the run could be read: {error})")
        }
    };
    Some(Event::new(text, timestamp(run.end_time)))
}

/// Returns the last line of a log.
pub(super) fn run_ended(run: &Run, run_id: RunId) -> Event {
    let reported = ReportedState::from(run);
    let result = match run.outcome() {
        Some(Outcome::Succeeded) => result_code(reported).to_owned(),
        _ => reason::of_state(reported),
    };
    Event::new(format!("run {run_id} ended: {result}"), timestamp(run.end_time))
}

/// Returns the new events of an attempt before its output, with the times that Databricks reports: an attempt is queued
/// from its start, and runs once its compute is set up.
pub(super) fn attempt_progress(
    run: &Run,
    task: &RunTask,
    cursor: &mut AttemptCursor,
) -> Vec<Event> {
    let number = match task.attempt_number.unwrap_or(0) {
        0 => String::new(),
        number => format!("attempt {}: ", number.saturating_add(1)),
    };
    let reported = ReportedState::from(task);
    let progress = task.progress();
    let started = timestamp(task.start_time);
    let reason = || {
        let reason = reason::of_waiting(reported);
        if reason.is_empty() { reason } else { format!(": {reason}") }
    };
    let mut events = Vec::new();
    let is_first = task.attempt_number.unwrap_or(0) == 0;
    let waited = run.queue_duration.and_then(seconds).filter(|_| is_first);
    if progress == Progress::Queued {
        if cursor.write_once(OneTimeLine::Waiting) {
            events.push(Event::new(format!("{number}waiting{}", reason()), started));
        }
    } else if let Some(waited) = waited
        && cursor.write_once(OneTimeLine::Waiting)
    {
        events.push(Event::new(format!("{number}queued for {waited:.1} s"), started));
    }
    if progress == Progress::Pending {
        if cursor.write_once(OneTimeLine::Preparing) {
            events.push(Event::new(format!("{number}preparing compute{}", reason()), started));
        }
    } else if let Some(took) = task.setup_duration.and_then(seconds)
        && cursor.write_once(OneTimeLine::Preparing)
    {
        events.push(Event::new(format!("{number}compute prepared in {took:.1} s"), started));
    }
    let ran = task.execution_duration.and_then(seconds).is_some();
    let runs = progress == Progress::Running || (matches!(progress, Progress::Ended(_)) && ran);
    if runs && cursor.write_once(OneTimeLine::Running) {
        let setup = task.setup_duration.and_then(seconds).map(Duration::from_secs_f64);
        let at = started.and_then(|at| at.checked_add(setup.unwrap_or_default()));
        let cluster =
            task.cluster_instance.as_ref().and_then(|cluster| cluster.cluster_id.as_deref());
        let on = cluster.map(|id| format!(" on cluster {id}")).unwrap_or_default();
        events.push(Event::new(format!("{number}running{on}"), at));
    }
    events
}

/// Returns the event that ends an attempt; it follows the output.
pub(super) fn attempt_ended(task: &RunTask) -> Event {
    let number = task.attempt_number.unwrap_or(0).saturating_add(1);
    let code = result_code(ReportedState::from(task));
    Event::new(format!("attempt {number} ended: {code}"), timestamp(task.end_time))
}

fn result_code(reported: ReportedState<'_>) -> &str {
    reported.code().unwrap_or("no result")
}

/// Returns the text of a cluster event.
pub(super) fn cluster_event(cluster_id: &str, event: &ClusterEvent) -> Event {
    let details = &event.details;
    let reason = details.reason.as_ref();
    let facts = [
        details.current_num_workers.map(|workers| match workers {
            1 => "1 worker".to_owned(),
            _ => format!("{workers} workers"),
        }),
        details
            .target_num_workers
            .filter(|target| details.current_num_workers.is_some_and(|now| now != *target))
            .map(|workers| format!("target {workers}")),
        reason.and_then(|reason| reason.code.clone()),
        reason.and_then(|reason| reason.parameters.get("databricks_error_message").cloned()),
        details.driver_state_message.clone(),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().filter(|fact| !fact.is_empty()).collect();
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
    let kind = event.kind.as_deref().unwrap_or("unnamed event");
    Event::new(format!("cluster {cluster_id}: {kind}{facts}"), timestamp(event.timestamp))
}

/// Converts a time of the API. Zero means that there is none (databricks-api.md#runs-get).
pub(super) fn timestamp(milliseconds: Option<i64>) -> Option<SystemTime> {
    let since = u64::try_from(milliseconds?).ok().filter(|since| *since > 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(since))
}

/// Converts a duration of the API to seconds. Zero means that there is none.
fn seconds(milliseconds: i64) -> Option<f64> {
    let milliseconds = u32::try_from(milliseconds).ok().filter(|milliseconds| *milliseconds > 0)?;
    Some(f64::from(milliseconds) / 1000.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Returns the events of an attempt that is polled in these states, with their times.
    fn events_of(states: &[Value]) -> Vec<(String, Option<u128>)> {
        let mut cursor = AttemptCursor::default();
        let mut events = Vec::new();
        for state in states {
            let run: Run =
                serde_json::from_value(json!({"queue_duration": state["queue"]})).unwrap();
            let task: RunTask = serde_json::from_value(state.clone()).unwrap();
            events.extend(attempt_progress(&run, &task, &mut cursor));
        }
        let millis =
            |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        events.into_iter().map(|event| (event.text, event.at.map(millis))).collect()
    }

    #[test]
    fn each_step_is_reported_once_with_its_time() {
        let step = |state: &str, setup: i64| {
            json!({"status": {"state": state}, "state": {"life_cycle_state": state, "queue_reason": if state == "QUEUED" { "full" } else { "" }}, "start_time": 1_000,
                "setup_duration": setup, "cluster_instance": {"cluster_id": "c-1"}})
        };
        let states = [
            step("QUEUED", 0),
            step("QUEUED", 0),
            step("PENDING", 0),
            step("RUNNING", 250),
            step("RUNNING", 250),
        ];
        let events = events_of(&states);
        let texts: Vec<&str> = events.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert_eq!(texts[..2], ["waiting: full", "preparing compute"]);
        assert_eq!(texts[2], "running on cluster c-1");
        assert_eq!(
            events.iter().map(|(_, at)| at.unwrap()).collect::<Vec<_>>(),
            [1_000, 1_000, 1_250]
        );
    }

    #[test]
    fn missed_steps_are_reported_afterwards() {
        let ended = json!({"status": {"state": "TERMINATED"}, "attempt_number": 0, "start_time": 5, "queue": 1_500,
            "setup_duration": 250, "execution_duration": 10});
        let texts: Vec<String> =
            events_of(&[ended.clone(), ended]).into_iter().map(|(text, _)| text).collect();
        assert_eq!(texts, ["queued for 1.5 s", "compute prepared in 0.2 s", "running"]);
    }

    #[test]
    fn later_attempt_is_numbered_and_one_that_never_ran_has_no_events() {
        let second = json!({"status": {"state": "RUNNING"}, "attempt_number": 1, "queue": 9});
        assert_eq!(events_of(&[second]), [("attempt 2: running".to_owned(), None)]);
        assert_eq!(events_of(&[json!({"status": {"state": "TERMINATED"}})]), []);
    }

    #[test]
    fn cluster_event_lists_its_facts() {
        let event: ClusterEvent = serde_json::from_value(json!({
            "type": "TERMINATING", "timestamp": 7,
            "details": {"current_num_workers": 1, "target_num_workers": 3,
                "reason": {"code": "SPOT", "parameters": {"databricks_error_message": "gone"}}}
        }))
        .unwrap();
        assert_eq!(
            cluster_event("c", &event).text,
            "cluster c: TERMINATING (1 worker, target 3, SPOT, gone)"
        );
    }
}
