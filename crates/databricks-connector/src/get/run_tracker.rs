//! What this process remembers of the runs it watches: never needed by another replica, lost with the process.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use connector_core::Phase;
use databricks_client::{Credentials, Host, RunId};

/// How many runs are remembered.
const MAX_RUNS: usize = 50_000;

/// How long the credential of a run is kept after the run was last heard of.
const CREDENTIAL_MEMORY: Duration = Duration::from_hours(24);

/// How long a run is counted after it was last asked for. Another replica may watch it since, or nobody.
const RECENT: Duration = Duration::from_mins(15);

/// How often a reason that could not be read keeps an ended run RUNNING (DESIGN §3.1).
const REASON_POLLS: u8 = 2;

/// Why a run could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Something that passes by itself: the network, the service, too many calls.
    Passing,
    /// The credential or the host is refused. It passes only if somebody mends it.
    Refused,
    /// The workspace says that there is no such run.
    Gone,
}

/// How long a trouble may last before the task is told that it failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) refused: Duration,
    pub(crate) gone: Duration,
    /// For whatever may pass; none: for ever.
    pub(crate) unreachable: Option<Duration>,
}

/// What to tell Flyte about a run that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The last known phase, and how long the trouble has lasted.
    Wait {
        /// The last known phase.
        phase: Phase,
        /// Since when.
        lasted: Duration,
    },
    /// The trouble has lasted too long.
    GiveUp {
        /// The phase that ends the task.
        phase: Phase,
        /// Since when.
        lasted: Duration,
    },
}

/// What is remembered of one run.
#[derive(Debug, Clone)]
struct Watched {
    phase: Phase,
    /// Whether the run is over, and not only given up.
    is_over: bool,
    troubled_since: Option<Instant>,
    refused_since: Option<Instant>,
    gone_since: Option<Instant>,
    reason_polls: u8,
    credentials: Option<Credentials>,
    touched: Instant,
    /// Flyte had it deleted, and asks for it no more.
    is_stopped: bool,
    /// It belonged to nobody, and was cancelled.
    is_orphan: bool,
}

impl Watched {
    fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Running,
            is_over: false,
            troubled_since: None,
            refused_since: None,
            gone_since: None,
            reason_polls: 0,
            credentials: None,
            touched: now,
            is_stopped: false,
            is_orphan: false,
        }
    }

    /// A refused credential, or a workspace that cannot be reached, says nothing about the run, which may still be alive:
    /// FAILED, so that Flyte does not start another beside it. A run that is gone can be started again.
    fn verdict(&mut self, trouble: Trouble, patience: Patience, now: Instant) -> Verdict {
        let troubled_since = *self.troubled_since.get_or_insert(now);
        let (since, limit) = match trouble {
            Trouble::Passing => {
                (troubled_since, patience.unreachable.map(|limit| (limit, Phase::Failed)))
            }
            Trouble::Refused => {
                (*self.refused_since.get_or_insert(now), Some((patience.refused, Phase::Failed)))
            }
            Trouble::Gone => {
                // The credential was accepted.
                self.refused_since = None;
                (*self.gone_since.get_or_insert(now), Some((patience.gone, Phase::RetryableFailed)))
            }
        };
        let lasted = now.saturating_duration_since(since);
        match limit {
            Some((limit, phase)) if lasted >= limit => Verdict::GiveUp { phase, lasted },
            _ => Verdict::Wait { phase: self.phase, lasted },
        }
    }
}

/// The runs this process watches.
#[derive(Debug, Default)]
pub(crate) struct RunTracker {
    runs: Mutex<HashMap<(Host, RunId), Watched>>,
}

impl RunTracker {
    /// The run was read, and this is its phase. Every trouble is over. Whether it has ended and nobody was told before.
    pub(crate) fn seen(&self, host: &Host, run_id: RunId, phase: Phase, now: Instant) -> bool {
        self.with(host, run_id, now, |watched| {
            let has_ended_now = phase.is_terminal() && !watched.phase.is_terminal();
            watched.phase = phase;
            watched.is_over = phase.is_terminal();
            watched.troubled_since = None;
            watched.refused_since = None;
            watched.gone_since = None;
            has_ended_now
        })
    }

    /// The run could not be read.
    pub(crate) fn troubled(
        &self,
        host: &Host,
        run_id: RunId,
        trouble: Trouble,
        patience: Patience,
        now: Instant,
    ) -> Verdict {
        self.with(host, run_id, now, |watched| {
            let verdict = watched.verdict(trouble, patience, now);
            if let Verdict::GiveUp { phase, .. } = verdict {
                watched.phase = phase;
                watched.is_over = trouble == Trouble::Gone;
            }
            verdict
        })
    }

    /// The run has ended, but why could not be read for a passing cause. Whether to ask again at the next poll.
    pub(crate) fn may_ask_again(&self, host: &Host, run_id: RunId, now: Instant) -> bool {
        self.with(host, run_id, now, |watched| {
            let again = watched.reason_polls < REASON_POLLS;
            watched.reason_polls = watched.reason_polls.saturating_add(1);
            again
        })
    }

    /// The run was stopped. It is watched no more.
    pub(crate) fn stopped(&self, host: &Host, run_id: RunId) {
        if let Some(watched) = self.lock().get_mut(&(host.clone(), run_id)) {
            watched.is_stopped = true;
        }
    }

    /// The run belonged to nobody, and was cancelled. Whether that is news: one that is ending is found again.
    pub(crate) fn orphaned(&self, host: &Host, run_id: RunId, now: Instant) -> bool {
        self.with(host, run_id, now, |watched| {
            watched.is_stopped = true;
            !std::mem::replace(&mut watched.is_orphan, true)
        })
    }

    /// Whether this process saw the run end. A run that was given up may still be alive.
    pub(crate) fn saw_end(&self, host: &Host, run_id: RunId) -> bool {
        self.lock().get(&(host.clone(), run_id)).is_some_and(|watched| watched.is_over)
    }

    /// Whether the task was told that it failed, although nobody knows whether the run is over.
    pub(crate) fn gave_up(&self, host: &Host, run_id: RunId) -> bool {
        self.lock()
            .get(&(host.clone(), run_id))
            .is_some_and(|watched| watched.phase.is_terminal() && !watched.is_over)
    }

    /// Remembers the credential of the run for calls that carry none (FC §1.8).
    pub(crate) fn remember_credentials(
        &self,
        host: &Host,
        run_id: RunId,
        credentials: &Credentials,
        now: Instant,
    ) {
        self.with(host, run_id, now, |watched| watched.credentials = Some(credentials.clone()));
    }

    /// The credential last seen for the run, for a day after the run was last heard of.
    pub(crate) fn credentials(
        &self,
        host: &Host,
        run_id: RunId,
        now: Instant,
    ) -> Option<Credentials> {
        let mut runs = self.lock();
        let watched = runs.get_mut(&(host.clone(), run_id))?;
        if now.saturating_duration_since(watched.touched) > CREDENTIAL_MEMORY {
            watched.credentials = None;
        }
        watched.credentials.clone()
    }

    /// How many runs were asked for lately, by the phase that was told last.
    pub(crate) fn phases(&self, now: Instant) -> BTreeMap<Phase, u64> {
        let mut phases = BTreeMap::new();
        let runs = self.lock();
        let is_watched = |watched: &&Watched| {
            !watched.is_stopped && now.saturating_duration_since(watched.touched) <= RECENT
        };
        for watched in runs.values().filter(is_watched) {
            *phases.entry(watched.phase).or_default() += 1;
        }
        phases
    }

    fn with<T>(
        &self,
        host: &Host,
        run_id: RunId,
        now: Instant,
        change: impl FnOnce(&mut Watched) -> T,
    ) -> T {
        let mut runs = self.lock();
        let key = (host.clone(), run_id);
        if runs.len() >= MAX_RUNS && !runs.contains_key(&key) {
            forget_stalest(&mut runs);
        }
        let watched = runs.entry(key).or_insert_with(|| Watched::new(now));
        watched.touched = now;
        change(watched)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Host, RunId), Watched>> {
        // Nothing between lock and unlock can leave an entry half written.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the tenth that was touched longest ago, so that the search is rare.
fn forget_stalest(runs: &mut HashMap<(Host, RunId), Watched>) {
    let mut touched: Vec<Instant> = runs.values().map(|watched| watched.touched).collect();
    let tenth = touched.len() / 10;
    let (_, limit, _) = touched.select_nth_unstable(tenth);
    let limit = *limit;
    runs.retain(|_, watched| watched.touched > limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        refused: Duration::from_mins(15),
        gone: Duration::from_mins(1),
        unreachable: None,
    };

    struct Clock(RunTracker, Host, RunId, Instant);

    impl Clock {
        fn new() -> Self {
            Self(
                RunTracker::default(),
                "dbc.cloud.databricks.com".parse().unwrap(),
                "7".parse().unwrap(),
                Instant::now(),
            )
        }

        fn after(&self, seconds: u64) -> Instant {
            self.3 + Duration::from_secs(seconds)
        }

        fn troubled(&self, trouble: Trouble, seconds: u64) -> Verdict {
            self.troubled_with(PATIENCE, trouble, seconds)
        }

        fn troubled_with(&self, patience: Patience, trouble: Trouble, seconds: u64) -> Verdict {
            self.0.troubled(&self.1, self.2, trouble, patience, self.after(seconds))
        }

        fn seen(&self, phase: Phase, seconds: u64) {
            self.0.seen(&self.1, self.2, phase, self.after(seconds));
        }
    }

    fn wait(phase: Phase, seconds: u64) -> Verdict {
        Verdict::Wait { phase, lasted: Duration::from_secs(seconds) }
    }

    #[test]
    fn passing_trouble_keeps_the_last_known_phase_without_limit() {
        let clock = Clock::new();
        assert_eq!(clock.troubled(Trouble::Passing, 0), wait(Phase::Running, 0));
        clock.seen(Phase::Initializing, 10);
        assert_eq!(clock.troubled(Trouble::Passing, 20), wait(Phase::Initializing, 0));
        assert_eq!(
            clock.troubled(Trouble::Passing, 1_000_020),
            wait(Phase::Initializing, 1_000_000)
        );
    }

    #[test]
    fn passing_trouble_ends_the_task_only_where_the_operator_says_so() {
        let patience = Patience { unreachable: Some(Duration::from_hours(1)), ..PATIENCE };
        let clock = Clock::new();
        let troubled = |seconds| clock.troubled_with(patience, Trouble::Passing, seconds);
        assert_eq!(troubled(0), wait(Phase::Running, 0));
        clock.seen(Phase::Running, 10);
        assert_eq!(troubled(20), wait(Phase::Running, 0));
        assert_eq!(troubled(3_619), wait(Phase::Running, 3_599));
        assert_eq!(
            troubled(3_620),
            Verdict::GiveUp { phase: Phase::Failed, lasted: Duration::from_hours(1) }
        );
    }

    #[test]
    fn a_refusal_without_a_break_ends_the_task_for_good() {
        let clock = Clock::new();
        assert_eq!(clock.troubled(Trouble::Refused, 0), wait(Phase::Running, 0));
        assert_eq!(clock.troubled(Trouble::Refused, 899), wait(Phase::Running, 899));
        clock.seen(Phase::Running, 900);
        assert_eq!(clock.troubled(Trouble::Refused, 901), wait(Phase::Running, 0));
        // A passing fault in between is no proof that the credential is accepted.
        assert_eq!(clock.troubled(Trouble::Passing, 1000), wait(Phase::Running, 99));
        assert_eq!(
            clock.troubled(Trouble::Refused, 901 + 900),
            Verdict::GiveUp { phase: Phase::Failed, lasted: Duration::from_mins(15) }
        );
        assert!(!clock.0.saw_end(&clock.1, clock.2), "it may still be alive");
        assert!(clock.0.gave_up(&clock.1, clock.2));
    }

    #[test]
    fn a_run_that_stays_gone_may_be_started_again() {
        let clock = Clock::new();
        assert_eq!(clock.troubled(Trouble::Gone, 0), wait(Phase::Running, 0));
        assert_eq!(clock.troubled(Trouble::Gone, 59), wait(Phase::Running, 59));
        assert_eq!(
            clock.troubled(Trouble::Gone, 60),
            Verdict::GiveUp { phase: Phase::RetryableFailed, lasted: Duration::from_mins(1) }
        );
        assert!(clock.0.saw_end(&clock.1, clock.2));
        assert!(!clock.0.gave_up(&clock.1, clock.2));
    }

    #[test]
    fn a_reason_is_asked_for_at_two_more_polls() {
        let clock = Clock::new();
        let asked: Vec<bool> =
            (0..4).map(|n| clock.0.may_ask_again(&clock.1, clock.2, clock.after(n))).collect();
        assert_eq!(asked, [true, true, false, false]);
    }

    #[test]
    fn a_credential_is_forgotten_a_day_after_the_run_was_last_heard_of() {
        let clock = Clock::new();
        let token = Credentials::personal_access_token("mine", "t".to_owned().into());
        clock.0.remember_credentials(&clock.1, clock.2, &token, clock.after(0));
        let name = |seconds| {
            let found = clock.0.credentials(&clock.1, clock.2, clock.after(seconds));
            found.map(|found| found.name().to_owned())
        };
        assert_eq!(name(86_400).as_deref(), Some("mine"));
        assert_eq!(name(86_401), None);
        assert_eq!(name(0), None, "it is gone, and not only hidden");
    }

    #[test]
    fn only_a_terminal_phase_is_an_end() {
        let clock = Clock::new();
        assert!(!clock.0.saw_end(&clock.1, clock.2));
        clock.seen(Phase::Running, 0);
        assert!(!clock.0.saw_end(&clock.1, clock.2));
        clock.seen(Phase::Succeeded, 1);
        assert!(clock.0.saw_end(&clock.1, clock.2));
    }

    #[test]
    fn memory_is_bounded_and_the_stalest_runs_go_first() {
        let clock = Clock::new();
        let id = |n: usize| -> RunId { (n + 1).to_string().parse().unwrap() };
        for n in 0..=MAX_RUNS {
            clock.0.seen(&clock.1, id(n), Phase::Succeeded, clock.after(n as u64));
        }
        assert!(clock.0.lock().len() <= MAX_RUNS);
        assert!(!clock.0.saw_end(&clock.1, id(0)));
        assert!(clock.0.saw_end(&clock.1, id(MAX_RUNS)));
    }
}
