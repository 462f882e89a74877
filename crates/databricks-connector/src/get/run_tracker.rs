//! The last known phase and the failure timers of runs, in memory.
//!
//! Only state that may be lost belongs here: a restart clears it, and replicas do not share it.

pub(crate) mod failure_timers;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use connector_core::Phase;
use databricks_client::{Credentials, Host, RunId};

use failure_timers::{FailureResponse, FailureTimers, GracePeriods, PollFailure};

/// The maximum number of tracked runs.
const MAX_RUNS: usize = 50_000;

/// How long the credential of a run is kept after the last call about the run.
const CREDENTIAL_TTL: Duration = Duration::from_hours(24);

/// How long a run is counted after the last call about it. Later calls may go to another replica.
const ACTIVE_WINDOW: Duration = Duration::from_mins(15);

/// The maximum number of polls at which a run that has ended stays RUNNING, because its reason or
/// output files could not be read.
const MAX_REASON_RETRIES: u8 = 2;

/// What is known of one run.
#[derive(Debug, Clone)]
struct TrackedRun {
    phase: Phase,
    /// Whether the run has ended. A terminal phase alone can also mean an expired grace period.
    has_ended: bool,
    failures: FailureTimers,
    reason_retries: u8,
    credentials: Option<Credentials>,
    last_used: Instant,
    /// Whether the run was deleted or cancelled, and is no longer polled.
    is_deleted: bool,
    /// Whether the run was cancelled as an orphan.
    is_orphan: bool,
}

impl TrackedRun {
    fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Running,
            has_ended: false,
            failures: FailureTimers::default(),
            reason_retries: 0,
            credentials: None,
            last_used: now,
            is_deleted: false,
            is_orphan: false,
        }
    }
}

/// The runs that this process has been called about.
#[derive(Debug, Default)]
pub(crate) struct RunTracker {
    runs: Mutex<HashMap<(Host, RunId), TrackedRun>>,
}

impl RunTracker {
    /// Records a successful poll: stores the phase and resets the failure timers. Returns true on the first terminal phase.
    pub(crate) fn record_phase(
        &self,
        host: &Host,
        run_id: RunId,
        phase: Phase,
        now: Instant,
    ) -> bool {
        self.update(host, run_id, now, |run| {
            let is_first_end = phase.is_terminal() && !run.phase.is_terminal();
            run.phase = phase;
            run.has_ended = phase.is_terminal();
            run.failures = FailureTimers::default();
            is_first_end
        })
    }

    /// Records a failed poll, and returns the response to it.
    pub(crate) fn record_failure(
        &self,
        host: &Host,
        run_id: RunId,
        failure: PollFailure,
        grace_periods: GracePeriods,
        now: Instant,
    ) -> FailureResponse {
        self.update(host, run_id, now, |run| {
            let response = run.failures.record(failure, grace_periods, run.phase, now);
            if let FailureResponse::FailTask { phase, .. } = response {
                run.phase = phase;
                run.has_ended = failure == PollFailure::NotFound;
            }
            response
        })
    }

    /// Whether the reason of an ended run, which could not be read now, may be read again at the next poll.
    pub(crate) fn may_retry_reason(&self, host: &Host, run_id: RunId, now: Instant) -> bool {
        self.update(host, run_id, now, |run| {
            let may_retry = run.reason_retries < MAX_REASON_RETRIES;
            run.reason_retries = run.reason_retries.saturating_add(1);
            may_retry
        })
    }

    /// Records that Flyte deleted the task, and no longer polls it.
    pub(crate) fn record_delete(&self, host: &Host, run_id: RunId) {
        if let Some(run) = self.lock().get_mut(&(host.clone(), run_id)) {
            run.is_deleted = true;
        }
    }

    /// Records that the run was cancelled as an orphan. Returns false if it already was: a terminating run is found again.
    pub(crate) fn record_orphan(&self, host: &Host, run_id: RunId, now: Instant) -> bool {
        self.update(host, run_id, now, |run| {
            run.is_deleted = true;
            !std::mem::replace(&mut run.is_orphan, true)
        })
    }

    /// True if this process knows that the run has ended. False if only a grace period has expired.
    pub(crate) fn has_ended(&self, host: &Host, run_id: RunId) -> bool {
        self.lock().get(&(host.clone(), run_id)).is_some_and(|run| run.has_ended)
    }

    /// True if the task failed because a grace period expired, so that the run may still be active.
    pub(crate) fn grace_period_expired(&self, host: &Host, run_id: RunId) -> bool {
        self.lock()
            .get(&(host.clone(), run_id))
            .is_some_and(|run| run.phase.is_terminal() && !run.has_ended)
    }

    /// Stores the credential of a run for calls that carry none (flyte-contract.md#logs-and-metrics).
    pub(crate) fn remember_credentials(
        &self,
        host: &Host,
        run_id: RunId,
        credentials: &Credentials,
        now: Instant,
    ) {
        self.update(host, run_id, now, |run| run.credentials = Some(credentials.clone()));
    }

    /// Returns the credential last used for the run, until a day after the last call about it.
    pub(crate) fn credentials(
        &self,
        host: &Host,
        run_id: RunId,
        now: Instant,
    ) -> Option<Credentials> {
        let mut runs = self.lock();
        let run = runs.get_mut(&(host.clone(), run_id))?;
        if now.saturating_duration_since(run.last_used) > CREDENTIAL_TTL {
            run.credentials = None;
        }
        run.credentials.clone()
    }

    /// Counts the recently polled runs by last known phase.
    pub(crate) fn phases(&self, now: Instant) -> BTreeMap<Phase, u64> {
        let mut phases = BTreeMap::new();
        let runs = self.lock();
        let is_active = |run: &&TrackedRun| {
            !run.is_deleted && now.saturating_duration_since(run.last_used) <= ACTIVE_WINDOW
        };
        for run in runs.values().filter(is_active) {
            *phases.entry(run.phase).or_default() += 1;
        }
        phases
    }

    fn update<T>(
        &self,
        host: &Host,
        run_id: RunId,
        now: Instant,
        change: impl FnOnce(&mut TrackedRun) -> T,
    ) -> T {
        let mut runs = self.lock();
        let key = (host.clone(), run_id);
        if runs.len() >= MAX_RUNS && !runs.contains_key(&key) {
            evict_least_recently_used(&mut runs);
        }
        let run = runs.entry(key).or_insert_with(|| TrackedRun::new(now));
        run.last_used = now;
        change(run)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Host, RunId), TrackedRun>> {
        // A panic while the lock is held cannot leave an entry half written.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Evicts the least recently used tenth, so that evictions are rare.
fn evict_least_recently_used(runs: &mut HashMap<(Host, RunId), TrackedRun>) {
    let mut last_used: Vec<Instant> = runs.values().map(|run| run.last_used).collect();
    let tenth = last_used.len() / 10;
    let (_, limit, _) = last_used.select_nth_unstable(tenth);
    let limit = *limit;
    runs.retain(|_, run| run.last_used > limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE_PERIODS: GracePeriods = GracePeriods {
        rejected: Duration::from_mins(15),
        not_found: Duration::from_mins(1),
        transient: None,
    };

    /// A tracker, one run, and the time from which seconds are counted.
    struct Fixture {
        tracker: RunTracker,
        host: Host,
        run_id: RunId,
        start: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                tracker: RunTracker::default(),
                host: "dbc.cloud.databricks.com".parse().unwrap(),
                run_id: "7".parse().unwrap(),
                start: Instant::now(),
            }
        }

        fn after(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn fail(&self, failure: PollFailure, seconds: u64) -> FailureResponse {
            let now = self.after(seconds);
            self.tracker.record_failure(&self.host, self.run_id, failure, GRACE_PERIODS, now)
        }

        fn succeed(&self, phase: Phase, seconds: u64) -> bool {
            self.tracker.record_phase(&self.host, self.run_id, phase, self.after(seconds))
        }

        fn has_ended(&self) -> bool {
            self.tracker.has_ended(&self.host, self.run_id)
        }

        fn grace_period_expired(&self) -> bool {
            self.tracker.grace_period_expired(&self.host, self.run_id)
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
        let may_retry = |n| run.tracker.may_retry_reason(&run.host, run.run_id, run.after(n));
        assert_eq!([0, 1, 2, 3].map(may_retry), [true, true, false, false]);
    }

    #[test]
    fn credential_is_dropped_a_day_after_the_last_call() {
        let run = Fixture::new();
        let token = Credentials::personal_access_token("mine", "t".to_owned().into());
        run.tracker.remember_credentials(&run.host, run.run_id, &token, run.after(0));
        let name = |seconds| {
            let found = run.tracker.credentials(&run.host, run.run_id, run.after(seconds));
            found.map(|found| found.name().to_owned())
        };
        assert_eq!(name(86_400).as_deref(), Some("mine"));
        assert_eq!(name(86_401), None);
        assert_eq!(name(0), None, "it is dropped, not only hidden");
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
        let id = |n: usize| -> RunId { (n + 1).to_string().parse().unwrap() };
        for n in 0..=MAX_RUNS {
            run.tracker.record_phase(&run.host, id(n), Phase::Succeeded, run.after(n as u64));
        }
        assert!(run.tracker.lock().len() <= MAX_RUNS);
        assert!(!run.tracker.has_ended(&run.host, id(0)));
        assert!(run.tracker.has_ended(&run.host, id(MAX_RUNS)));
    }
}
