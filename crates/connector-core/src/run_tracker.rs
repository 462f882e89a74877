//! The last known phase and the failure timers of runs, in memory. No I/O; the clock is an argument.
//!
//! Flyte freezes a task after a few errors of GetTask (flyte-contract.md#gettask-errors), so a connector must answer a
//! failed poll too. Inputs are the results of polls: a phase, or a [`PollFailure`]. Output is the response to a failed poll
//! ([`FailureResponse`]): the last known phase, or the failure of the task after its grace period.
//!
//! Only state that may be lost belongs here: a restart clears it, and replicas do not share it.
//!
//! ```
//! use connector_core::{Phase, Resource, run_tracker::{FailureResponse, PollFailure, RunTracker}};
//! use std::time::Instant;
//!
//! struct Jobs {
//!     tracker: RunTracker<u64>,
//! }
//!
//! impl Jobs {
//!     fn resource(&self, job: u64, polled: Result<Phase, PollFailure>) -> Resource {
//!         match polled {
//!             Ok(phase) => {
//!                 self.tracker.record_phase(&job, phase, Instant::now());
//!                 Resource::new(phase)
//!             }
//!             Err(failure) => match self.tracker.record_failure(&job, failure, Instant::now()) {
//!                 FailureResponse::KeepPhase { phase, .. } => Resource::new(phase),
//!                 FailureResponse::FailTask { phase, .. } => {
//!                     Resource::new(phase).with_message("the job could not be read")
//!                 }
//!             },
//!         }
//!     }
//! }
//!
//! let jobs = Jobs { tracker: RunTracker::default() };
//! assert_eq!(jobs.resource(7, Ok(Phase::Initializing)).phase, Phase::Initializing);
//! assert_eq!(jobs.resource(7, Err(PollFailure::Transient)).phase, Phase::Initializing);
//! ```

mod failure_timers;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use self::failure_timers::FailureTimers;
pub use self::failure_timers::{FailureResponse, GracePeriods, PollFailure};
use crate::Phase;

/// The maximum number of tracked runs, unless a tracker has its own.
const MAX_RUNS: usize = 50_000;

/// How long a run is counted after the last call about it. Later calls may go to another replica.
const ACTIVE_WINDOW: Duration = Duration::from_mins(15);

/// The maximum number of polls at which a run that has ended stays RUNNING, because its reason or
/// output files could not be read.
const MAX_REASON_RETRIES: u8 = 2;

/// The state of one run.
#[derive(Clone)]
struct TrackedRun<V> {
    phase: Phase,
    /// Whether the run has ended. A terminal phase alone can also mean an expired grace period.
    has_ended: bool,
    failures: FailureTimers,
    reason_retries: u8,
    remembered: Option<V>,
    first_message: Option<Box<str>>,
    last_used: Instant,
    /// Whether the run was deleted or cancelled, and is no longer polled.
    is_deleted: bool,
    /// Whether the run was cancelled as an orphan.
    is_orphan: bool,
}

impl<V> TrackedRun<V> {
    fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Running,
            has_ended: false,
            failures: FailureTimers::default(),
            reason_retries: 0,
            remembered: None,
            first_message: None,
            last_used: now,
            is_deleted: false,
            is_orphan: false,
        }
    }
}

/// The runs that this process has been called about, by key. Bounded: evicts the least recently used.
///
/// `K` identifies a run among all runs of the connector. `V` is a value that the connector may
/// [remember](Self::remember) with a run.
pub struct RunTracker<K, V = ()> {
    grace_periods: GracePeriods,
    max_runs: usize,
    runs: Mutex<HashMap<K, TrackedRun<V>>>,
}

impl<K: Eq + Hash + Clone, V: Clone> RunTracker<K, V> {
    /// Creates a tracker of at most 50,000 runs.
    pub fn new(grace_periods: GracePeriods) -> Self {
        Self { grace_periods, max_runs: MAX_RUNS, runs: Mutex::default() }
    }

    /// Returns the tracker with this maximum number of runs, at least one.
    #[must_use]
    pub fn with_max_runs(mut self, max_runs: usize) -> Self {
        self.max_runs = max_runs.max(1);
        self
    }

    /// Records a successful poll: stores the phase and resets the failure timers. Returns true on the first terminal phase.
    pub fn record_phase(&self, key: &K, phase: Phase, now: Instant) -> bool {
        self.update(key, now, |run| {
            let is_first_end = phase.is_terminal() && !run.phase.is_terminal();
            run.phase = phase;
            run.has_ended = phase.is_terminal();
            run.failures = FailureTimers::default();
            is_first_end
        })
    }

    /// Records a failed poll, and returns the response to it.
    pub fn record_failure(&self, key: &K, failure: PollFailure, now: Instant) -> FailureResponse {
        self.update(key, now, |run| {
            let response = run.failures.record(failure, self.grace_periods, run.phase, now);
            if let FailureResponse::FailTask { phase, .. } = response {
                run.phase = phase;
                run.has_ended = failure == PollFailure::NotFound;
            }
            response
        })
    }

    /// Whether the reason of an ended run, which could not be read now, may be read again at the next poll.
    pub fn may_retry_reason(&self, key: &K, now: Instant) -> bool {
        self.update(key, now, |run| {
            let may_retry = run.reason_retries < MAX_REASON_RETRIES;
            run.reason_retries = run.reason_retries.saturating_add(1);
            may_retry
        })
    }

    /// Records that Flyte deleted the task, and no longer polls it.
    pub fn record_delete(&self, key: &K) {
        if let Some(run) = self.lock().get_mut(key) {
            run.is_deleted = true;
        }
    }

    /// Records that the run was cancelled as an orphan. Returns false if it already was: a terminating run is found again.
    pub fn record_orphan(&self, key: &K, now: Instant) -> bool {
        self.update(key, now, |run| {
            run.is_deleted = true;
            !std::mem::replace(&mut run.is_orphan, true)
        })
    }

    /// True if this process knows that the run has ended. False if only a grace period has expired.
    pub fn has_ended(&self, key: &K) -> bool {
        self.lock().get(key).is_some_and(|run| run.has_ended)
    }

    /// True if the task failed because a grace period expired, so that the run may still be active.
    pub fn grace_period_expired(&self, key: &K) -> bool {
        self.lock().get(key).is_some_and(|run| run.phase.is_terminal() && !run.has_ended)
    }

    /// Stores a value with a run, such as the credential of its last call: calls for logs and metrics carry none
    /// (flyte-contract.md#logs-and-metrics).
    pub fn remember(&self, key: &K, value: V, now: Instant) {
        self.update(key, now, |run| run.remembered = Some(value));
    }

    /// Returns the value stored with the run. Drops it when the last call about the run is longer ago than `ttl`.
    pub fn remembered(&self, key: &K, ttl: Duration, now: Instant) -> Option<V> {
        let mut runs = self.lock();
        let run = runs.get_mut(key)?;
        if now.saturating_duration_since(run.last_used) > ttl {
            run.remembered = None;
        }
        run.remembered.clone()
    }

    /// Stores a text for the first message about the run, because the response to CreateTask has no message. It is in
    /// memory only: another replica does not have it.
    pub fn set_first_message(&self, key: &K, text: impl Into<Box<str>>, now: Instant) {
        self.update(key, now, |run| run.first_message = Some(text.into()));
    }

    /// Returns the text for the first message about the run, once.
    pub fn take_first_message(&self, key: &K) -> Option<Box<str>> {
        self.lock().get_mut(key)?.first_message.take()
    }

    /// Counts the recently polled runs by last known phase.
    pub fn phases(&self, now: Instant) -> BTreeMap<Phase, u64> {
        let mut phases = BTreeMap::new();
        let runs = self.lock();
        let is_active = |run: &&TrackedRun<V>| {
            !run.is_deleted && now.saturating_duration_since(run.last_used) <= ACTIVE_WINDOW
        };
        for run in runs.values().filter(is_active) {
            *phases.entry(run.phase).or_default() += 1;
        }
        phases
    }

    fn update<T>(&self, key: &K, now: Instant, change: impl FnOnce(&mut TrackedRun<V>) -> T) -> T {
        let mut runs = self.lock();
        if runs.len() >= self.max_runs && !runs.contains_key(key) {
            evict_least_recently_used(&mut runs);
        }
        let run = runs.entry(key.clone()).or_insert_with(|| TrackedRun::new(now));
        run.last_used = now;
        change(run)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, TrackedRun<V>>> {
        // A panic while the lock is held cannot leave an entry half written.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Default for RunTracker<K, V> {
    /// A tracker with the default [`GracePeriods`].
    fn default() -> Self {
        Self::new(GracePeriods::default())
    }
}

impl<K, V> fmt::Debug for RunTracker<K, V> {
    /// Shows no value that is remembered with a run: it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunTracker")
            .field("grace_periods", &self.grace_periods)
            .field("max_runs", &self.max_runs)
            .finish_non_exhaustive()
    }
}

/// Evicts the least recently used tenth, so that evictions are rare.
fn evict_least_recently_used<K, V>(runs: &mut HashMap<K, TrackedRun<V>>) {
    let mut last_used: Vec<Instant> = runs.values().map(|run| run.last_used).collect();
    let tenth = last_used.len() / 10;
    let (_, limit, _) = last_used.select_nth_unstable(tenth);
    let limit = *limit;
    runs.retain(|_, run| run.last_used > limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tracker, one run, and the time from which seconds are counted.
    struct Fixture {
        tracker: RunTracker<u64, &'static str>,
        key: u64,
        start: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            Self { tracker: RunTracker::default(), key: 7, start: Instant::now() }
        }

        fn after(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn fail(&self, failure: PollFailure, seconds: u64) -> FailureResponse {
            self.tracker.record_failure(&self.key, failure, self.after(seconds))
        }

        fn succeed(&self, phase: Phase, seconds: u64) -> bool {
            self.tracker.record_phase(&self.key, phase, self.after(seconds))
        }

        fn has_ended(&self) -> bool {
            self.tracker.has_ended(&self.key)
        }

        fn grace_period_expired(&self) -> bool {
            self.tracker.grace_period_expired(&self.key)
        }
    }

    fn kept(phase: Phase, seconds: u64) -> FailureResponse {
        FailureResponse::KeepPhase { phase, elapsed: Duration::from_secs(seconds) }
    }

    #[test]
    fn failures_keep_the_last_phase_and_a_success_resets_their_timers() {
        let run = Fixture::new();
        assert_eq!(run.fail(PollFailure::Transient, 0), kept(Phase::Running, 0));
        assert_eq!(run.fail(PollFailure::Rejected, 5), kept(Phase::Running, 0));
        run.succeed(Phase::Initializing, 10);
        assert_eq!(run.fail(PollFailure::Transient, 20), kept(Phase::Initializing, 0));
        assert_eq!(run.fail(PollFailure::Rejected, 906), kept(Phase::Initializing, 0));
    }

    #[test]
    fn expired_rejection_is_not_the_end_of_the_run() {
        let run = Fixture::new();
        run.fail(PollFailure::Rejected, 0);
        let response = run.fail(PollFailure::Rejected, 900);
        assert!(matches!(response, FailureResponse::FailTask { phase: Phase::Failed, .. }));
        assert!(!run.has_ended(), "it may still be active");
        assert!(run.grace_period_expired());
    }

    #[test]
    fn run_that_stays_missing_has_ended() {
        let run = Fixture::new();
        run.fail(PollFailure::NotFound, 0);
        let response = run.fail(PollFailure::NotFound, 60);
        let phase = Phase::RetryableFailed;
        assert!(matches!(response, FailureResponse::FailTask { phase: p, .. } if p == phase));
        assert!(run.has_ended());
        assert!(!run.grace_period_expired());
    }

    #[test]
    fn a_reason_is_retried_at_two_polls() {
        let run = Fixture::new();
        let may_retry = |n| run.tracker.may_retry_reason(&run.key, run.after(n));
        assert_eq!([0, 1, 2, 3].map(may_retry), [true, true, false, false]);
    }

    #[test]
    fn remembered_value_is_dropped_when_the_last_call_is_too_long_ago() {
        let run = Fixture::new();
        let value = |n| run.tracker.remembered(&run.key, Duration::from_secs(10), run.after(n));
        assert_eq!(value(0), None);
        run.tracker.remember(&run.key, "mine", run.after(0));
        run.succeed(Phase::Running, 5);
        assert_eq!(value(15), Some("mine"), "every call about the run counts");
        assert!(!format!("{:?}", run.tracker).contains("mine"));
        assert_eq!(value(16), None);
        assert_eq!(value(0), None, "it is dropped, not only hidden");
    }

    #[test]
    fn first_message_is_taken_once() {
        let run = Fixture::new();
        assert_eq!(run.tracker.take_first_message(&run.key), None);
        run.tracker.set_first_message(&run.key, "note", run.after(0));
        assert_eq!(run.tracker.take_first_message(&run.key).as_deref(), Some("note"));
        assert_eq!(run.tracker.take_first_message(&run.key), None);
    }

    #[test]
    fn the_first_terminal_phase_ends_the_run() {
        let run = Fixture::new();
        assert!(!run.has_ended());
        assert!(!run.succeed(Phase::Running, 0) && !run.has_ended());
        assert!(run.succeed(Phase::Succeeded, 1) && run.has_ended());
        assert!(!run.succeed(Phase::Succeeded, 2));
    }

    #[test]
    fn memory_is_bounded_and_least_recently_used_runs_are_evicted() {
        let run = Fixture::new();
        let tracker = RunTracker::<usize>::default().with_max_runs(100);
        for n in 0..=100 {
            tracker.record_phase(&n, Phase::Succeeded, run.after(n as u64));
        }
        assert!(tracker.lock().len() <= 100);
        assert!(!tracker.has_ended(&0));
        assert!(tracker.has_ended(&100));
        let smallest = RunTracker::<usize>::default().with_max_runs(0);
        for n in 0..3 {
            smallest.record_phase(&n, Phase::Succeeded, run.after(n as u64));
        }
        assert_eq!(smallest.lock().len(), 1);
    }
}
