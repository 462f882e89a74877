//! The state of the known creations.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use flyteidl2::connector::CreateTaskRequest;
use prost::Message as _;
use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::in_flight::{InFlight, Orphan};

/// Maximum number of remembered attempts with a cancelled orphan.
pub(super) const MAX_ABANDONED: usize = 10_000;

/// The task creations that this process knows. Clones share the state.
#[derive(Debug, Clone)]
pub(crate) struct CreateDedup(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) grace: Duration,
    entries: Mutex<HashMap<Key, Entry>>,
    anonymous: AtomicU64,
    pub(super) detached: TaskTracker,
    /// End of every grace period, once shutdown has begun.
    pub(super) stop: watch::Sender<Option<Instant>>,
}

/// Identifies a creation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// An attempt of a task: its encoded execution id and its output prefix.
    Attempt(Vec<u8>, String),
    /// A request without an execution id, which equals no other request.
    Anonymous(u64),
}

/// One known creation.
#[derive(Debug)]
pub(super) struct Entry {
    /// Number of orphans of this attempt that were cancelled.
    pub(super) abandoned: u32,
    pub(super) state: State,
    pub(super) last_used: Instant,
}

/// The state of a creation.
#[derive(Debug)]
pub(super) enum State {
    InFlight(InFlight),
    /// The orphan is cancelled at the end of the grace period, unless a request claims it.
    Grace(CancellationToken, Orphan),
    /// An orphan was cancelled. The next request for the attempt must start a new task.
    Abandoned,
}

impl CreateDedup {
    /// Creates an empty state. Orphans are kept for `grace`.
    pub(crate) fn new(grace: Duration) -> Self {
        Self(Arc::new(Shared {
            grace,
            entries: Mutex::default(),
            anonymous: AtomicU64::new(0),
            detached: TaskTracker::new(),
            stop: watch::Sender::new(None),
        }))
    }

    /// Begins the shutdown: every grace period ends at `at` or earlier.
    pub(crate) fn end_grace_periods(&self, at: Instant) {
        self.0.stop.send_replace(Some(at));
    }

    /// Returns the tracker of executions whose callers all have their response.
    pub(crate) fn detached(&self) -> &TaskTracker {
        &self.0.detached
    }

    /// Waits for the end of every grace period, which shutdown sets.
    pub(super) async fn end_of_grace_periods(&self) {
        let mut stop = self.0.stop.subscribe();
        // The sender lives as long as this state.
        if let Ok(at) = stop.wait_for(Option::is_some).await.map(|at| *at)
            && let Some(at) = at
        {
            tokio::time::sleep_until(at).await;
        }
    }

    /// Waits for this time, or until shutdown begins.
    pub(super) async fn sleep_until_stop(&self, time: Duration) {
        let mut stop = self.0.stop.subscribe();
        drop(tokio::time::timeout(time, stop.wait_for(Option::is_some)).await);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the key of a request.
    pub(super) fn key(&self, request: &CreateTaskRequest) -> Key {
        let execution = request.task_execution_metadata.as_ref();
        let attempt = execution
            .and_then(|execution| execution.task_execution_id.as_ref())
            .filter(|id| id.node_execution_id.is_some());
        match attempt {
            Some(id) => Key::Attempt(id.encode_to_vec(), request.output_prefix.clone()),
            None => Key::Anonymous(self.0.anonymous.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// Drops the older half of the abandoned entries if there are too many.
pub(super) fn forget_oldest(entries: &mut HashMap<Key, Entry>) {
    let mut abandoned: Vec<Instant> = entries
        .values()
        .filter(|entry| matches!(entry.state, State::Abandoned))
        .map(|entry| entry.last_used)
        .collect();
    if abandoned.len() <= MAX_ABANDONED {
        return;
    }
    let middle = abandoned.len() / 2;
    let (_, median, _) = abandoned.select_nth_unstable(middle);
    let median = *median;
    entries.retain(|_, entry| !matches!(entry.state, State::Abandoned) || entry.last_used > median);
}
