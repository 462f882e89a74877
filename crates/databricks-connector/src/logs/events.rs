//! What the run itself tells of its life, as lines of the system with their times: something to read before the first
//! output. Pure.

use std::time::{Duration, SystemTime};

use databricks_client::{
    clusters::ClusterEvent,
    jobs::{Run, RunState, RunStatus, RunTask},
};

use super::cursor::Attempt;
use crate::get::{
    phase::{Outcome, Progress, progress_of},
    reason,
};

/// What is told of an attempt once: a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Mark {
    /// It waited.
    Waiting = 1,
    /// Its compute was prepared.
    Preparing = 2,
    /// It ran.
    Running = 4,
    /// It ended.
    Ended = 8,
    /// Databricks kept only the end of its output.
    Truncated = 16,
    /// Its delivered logs cannot be read.
    Undelivered = 32,
    /// The cluster says that the delivery failed.
    DeliveryFailed = 64,
    /// Its output cannot be read.
    Unreadable = 128,
}

impl Attempt {
    pub(super) fn has(&self, mark: Mark) -> bool {
        self.marks & mark as u16 != 0
    }

    /// Sets the mark, and says whether it is new.
    pub(super) fn mark(&mut self, mark: Mark) -> bool {
        let is_new = !self.has(mark);
        self.marks |= mark as u16;
        is_new
    }
}

/// One event: its text, and when it was.
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

/// Kinds of cluster events that say something about one run. Others are for who runs the cluster.
pub(super) const CLUSTER_EVENTS: [&str; 20] = [
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

/// The first line of every log.
pub(super) fn of_start(run: &Run, run_id: databricks_client::RunId) -> Event {
    let name = run.run_name.as_deref().filter(|name| !name.is_empty());
    let name = name.map(|name| format!(" as `{name}`")).unwrap_or_default();
    Event::new(format!("run {run_id} was submitted{name}"), time(run.start_time))
}

/// The last line of every log.
pub(super) fn of_end(run: &Run, run_id: databricks_client::RunId) -> Event {
    let (status, state) = (run.status.as_ref(), run.state.as_ref());
    let told = match progress_of(status, state) {
        Progress::Ended(Outcome::Succeeded) => word(status, state).to_owned(),
        _ => reason::of_state(status, state),
    };
    Event::new(format!("run {run_id} ended: {told}"), time(run.end_time))
}

/// What is new of an attempt before its output. The times are Databricks' own: an attempt waits from its start, and
/// runs once its compute is set up.
pub(super) fn of_attempt(run: &Run, task: &RunTask, told: &mut Attempt) -> Vec<Event> {
    let number = match task.attempt_number.unwrap_or(0) {
        0 => String::new(),
        number => format!("attempt {}: ", number.saturating_add(1)),
    };
    let progress = progress_of(task.status.as_ref(), task.state.as_ref());
    let started = time(task.start_time);
    let why = || {
        let why = reason::of_waiting(task.status.as_ref(), task.state.as_ref());
        if why.is_empty() { why } else { format!(": {why}") }
    };
    let mut events = Vec::new();
    let is_first = task.attempt_number.unwrap_or(0) == 0;
    let waited = run.queue_duration.and_then(seconds).filter(|_| is_first);
    if progress == Progress::Waiting {
        if told.mark(Mark::Waiting) {
            events.push(Event::new(format!("{number}waiting{}", why()), started));
        }
    } else if let Some(waited) = waited
        && told.mark(Mark::Waiting)
    {
        events.push(Event::new(format!("{number}was queued for {waited:.1} s"), started));
    }
    if progress == Progress::Preparing {
        if told.mark(Mark::Preparing) {
            events.push(Event::new(format!("{number}preparing compute{}", why()), started));
        }
    } else if let Some(took) = task.setup_duration.and_then(seconds)
        && told.mark(Mark::Preparing)
    {
        events.push(Event::new(format!("{number}compute was prepared in {took:.1} s"), started));
    }
    let ran = task.execution_duration.and_then(seconds).is_some();
    let runs = progress == Progress::Running || (matches!(progress, Progress::Ended(_)) && ran);
    if runs && told.mark(Mark::Running) {
        let setup = task.setup_duration.and_then(seconds).map(Duration::from_secs_f64);
        let at = started.and_then(|at| at.checked_add(setup.unwrap_or_default()));
        let cluster =
            task.cluster_instance.as_ref().and_then(|cluster| cluster.cluster_id.as_deref());
        let on = cluster.map(|id| format!(" on cluster {id}")).unwrap_or_default();
        events.push(Event::new(format!("{number}running{on}"), at));
    }
    events
}

/// What an attempt has ended as, behind its output.
pub(super) fn of_attempts_end(task: &RunTask) -> Event {
    let number = task.attempt_number.unwrap_or(0).saturating_add(1);
    let word = word(task.status.as_ref(), task.state.as_ref());
    Event::new(format!("attempt {number} ended: {word}"), time(task.end_time))
}

/// One word for an end.
fn word<'a>(status: Option<&'a RunStatus>, state: Option<&'a RunState>) -> &'a str {
    reason::code(status, state).unwrap_or("without a result")
}

/// One event of a cluster.
pub(super) fn of_cluster(cluster_id: &str, event: &ClusterEvent) -> Event {
    let details = &event.details;
    let reason = details.reason.as_ref();
    let facts = [
        details.current_num_workers.map(|workers| format!("{workers} workers")),
        details
            .target_num_workers
            .filter(|target| details.current_num_workers.is_some_and(|now| now != *target))
            .map(|workers| format!("{workers} wanted")),
        reason.and_then(|reason| reason.code.clone()),
        reason.and_then(|reason| reason.parameters.get("databricks_error_message").cloned()),
        details.driver_state_message.clone(),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().filter(|fact| !fact.is_empty()).collect();
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
    let kind = event.kind.as_deref().unwrap_or("an event without a name");
    Event::new(format!("cluster {cluster_id}: {kind}{facts}"), time(event.timestamp))
}

/// A time of the API; 0 is none (DA §1.3).
pub(super) fn time(milliseconds: Option<i64>) -> Option<SystemTime> {
    let since = u64::try_from(milliseconds?).ok().filter(|since| *since > 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(since))
}

/// A duration of the API that is not zero.
fn seconds(milliseconds: i64) -> Option<f64> {
    let milliseconds = u32::try_from(milliseconds).ok().filter(|milliseconds| *milliseconds > 0)?;
    Some(f64::from(milliseconds) / 1000.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is told of an attempt that shows itself in these ways, one after the other.
    fn told(ways: &[Value]) -> Vec<(String, Option<u128>)> {
        let mut attempt = Attempt::default();
        let mut events = Vec::new();
        for way in ways {
            let run: Run = serde_json::from_value(json!({"queue_duration": way["queue"]})).unwrap();
            let task: RunTask = serde_json::from_value(way.clone()).unwrap();
            events.extend(of_attempt(&run, &task, &mut attempt));
        }
        let millis =
            |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        events.into_iter().map(|event| (event.text, event.at.map(millis))).collect()
    }

    #[test]
    fn every_step_is_told_once_with_its_time() {
        let step = |state: &str, setup: i64| {
            json!({"status": {"state": state}, "state": {"life_cycle_state": state, "queue_reason": if state == "QUEUED" { "full" } else { "" }}, "start_time": 1_000,
                "setup_duration": setup, "cluster_instance": {"cluster_id": "c-1"}})
        };
        let ways = [
            step("QUEUED", 0),
            step("QUEUED", 0),
            step("PENDING", 0),
            step("RUNNING", 250),
            step("RUNNING", 250),
        ];
        let told = told(&ways);
        let texts: Vec<&str> = told.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert_eq!(texts[..2], ["waiting: full", "preparing compute"]);
        assert_eq!(texts[2], "running on cluster c-1");
        assert_eq!(
            told.iter().map(|(_, at)| at.unwrap()).collect::<Vec<_>>(),
            [1_000, 1_000, 1_250]
        );
    }

    #[test]
    fn what_was_missed_is_told_afterwards() {
        let ended = json!({"status": {"state": "TERMINATED"}, "attempt_number": 0, "start_time": 5, "queue": 1_500,
            "setup_duration": 250, "execution_duration": 10});
        let texts: Vec<String> =
            told(&[ended.clone(), ended]).into_iter().map(|(text, _)| text).collect();
        assert_eq!(texts, ["was queued for 1.5 s", "compute was prepared in 0.2 s", "running"]);
    }

    #[test]
    fn a_later_attempt_says_which_it_is_and_one_that_never_ran_says_nothing() {
        let second = json!({"status": {"state": "RUNNING"}, "attempt_number": 1, "queue": 9});
        assert_eq!(told(&[second]), [("attempt 2: running".to_owned(), None)]);
        assert_eq!(told(&[json!({"status": {"state": "TERMINATED"}})]), []);
    }

    #[test]
    fn a_cluster_event_tells_what_is_known_of_it() {
        let event: ClusterEvent = serde_json::from_value(json!({
            "type": "TERMINATING", "timestamp": 7,
            "details": {"current_num_workers": 1, "target_num_workers": 3,
                "reason": {"code": "SPOT", "parameters": {"databricks_error_message": "gone"}}}
        }))
        .unwrap();
        assert_eq!(
            of_cluster("c", &event).text,
            "cluster c: TERMINATING (1 workers, 3 wanted, SPOT, gone)"
        );
    }
}
