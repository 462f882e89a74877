//! The state of the known creations.

use std::collections::HashMap;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::in_flight::{InFlight, Orphan};

/// Maximum number of remembered attempts with a cancelled orphan.
pub(super) const MAX_ABANDONED: usize = 10_000;

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
    pub(super) touched: Instant,
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

/// Drops the older half of the abandoned entries if there are too many.
pub(super) fn forget_oldest(entries: &mut HashMap<Key, Entry>) {
    let mut abandoned: Vec<Instant> = entries
        .values()
        .filter(|entry| matches!(entry.state, State::Abandoned))
        .map(|entry| entry.touched)
        .collect();
    if abandoned.len() <= MAX_ABANDONED {
        return;
    }
    let middle = abandoned.len() / 2;
    let (_, median, _) = abandoned.select_nth_unstable(middle);
    let median = *median;
    entries.retain(|_, entry| !matches!(entry.state, State::Abandoned) || entry.touched > median);
}
