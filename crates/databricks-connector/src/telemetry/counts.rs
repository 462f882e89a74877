//! The calls to Databricks and their runs in numbers, counted as they happen.

mod told;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use connector_core::{Count, Distribution, Phase};

use crate::telemetry::call_log;

use super::{
    Attempt, BudgetWait, Host, Lane, Mint, Observer, WorkspaceSnapshot,
    last_errors::{LastError, LastErrors},
};

/// Workspaces with numbers of their own. A task chooses its workspace, so that there must be a bound.
const MAX_WORKSPACES: usize = 100;

/// What stands for the workspaces beyond.
const OTHER: &str = "other";

/// The statuses that are labels of their own. A workspace may answer what it likes.
const STATUSES: [u16; 20] = [
    200, 201, 202, 204, 206, 301, 302, 303, 307, 400, 401, 403, 404, 409, 413, 429, 500, 502, 503,
    504,
];

/// Bounds of the time until a run works, in seconds: a warm pool to a queue of hours.
const START_BOUNDS: &[f64] =
    &[1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 10_800.0];

/// Bounds of the time of a run, in seconds: half a minute to two days.
const RUN_BOUNDS: &[f64] = &[
    30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0, 86_400.0,
    172_800.0,
];

/// Counts every request, every wait and every run, and tells another observer of the requests and waits.
#[derive(Debug)]
pub(crate) struct UpstreamCounts {
    seen: Mutex<Seen>,
    errors: Mutex<LastErrors>,
    next: Option<Arc<dyn Observer>>,
}

/// Why a run belonged to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Orphan {
    /// An earlier attempt's, which Flyte gave up or never knew of.
    EarlierAttempt,
    /// Of a creation that Flyte was told had failed.
    Abandoned,
}

/// The run of a task that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndedRun {
    /// What Flyte is told.
    pub(crate) phase: Phase,
    /// From its start to its end.
    pub(crate) took: Option<Duration>,
    /// From its start until its first task worked; none when none ever did.
    pub(crate) until_running: Option<Duration>,
}

#[derive(Debug, Default)]
struct Seen {
    workspaces: Vec<String>,
    /// By workspace, endpoint, outcome, and whether it was a retry.
    requests: BTreeMap<(String, &'static str, String, bool), u64>,
    /// By workspace and endpoint.
    durations: BTreeMap<(String, &'static str), Duration>,
    /// By workspace and endpoint.
    retries: BTreeMap<(String, &'static str), u64>,
    /// By workspace, lane, and whether it got its turn.
    waits: BTreeMap<(String, &'static str, bool), (u64, Duration)>,
    refused: BTreeMap<String, u64>,
    /// By kind of credential, and whether there was a token.
    mints: BTreeMap<(&'static str, bool), u64>,
    until_running: BTreeMap<String, Distribution>,
    /// By workspace and the phase that was told.
    took: BTreeMap<(String, Phase), Distribution>,
    orphans: BTreeMap<Orphan, u64>,
    given_up: u64,
}

impl Seen {
    /// The workspace as a label.
    fn label(&mut self, host: &Host) -> String {
        let name = host.as_str();
        if !self.workspaces.iter().any(|known| known == name) {
            if self.workspaces.len() >= MAX_WORKSPACES {
                return OTHER.to_owned();
            }
            self.workspaces.push(name.to_owned());
        }
        name.to_owned()
    }

    fn waited(&mut self, host: &Host, lane: Lane, waited: Duration, is_granted: bool) {
        let workspace = self.label(host);
        let (number, all) =
            self.waits.entry((workspace, lane_label(lane), is_granted)).or_default();
        *number += 1;
        *all += waited;
    }

    fn attempted(&mut self, attempt: &Attempt<'_>) {
        let workspace = self.label(attempt.host);
        let outcome = match (attempt.status, attempt.failure) {
            (Some(status), _) => status_label(status),
            (None, Some(kind)) => format!("{kind:?}"),
            (None, None) => "none".to_owned(),
        };
        let is_retry = attempt.number > 1;
        let key = (workspace.clone(), attempt.endpoint, outcome, is_retry);
        *self.requests.entry(key).or_default() += 1;
        let of_endpoint = (workspace, attempt.endpoint);
        *self.retries.entry(of_endpoint.clone()).or_default() += u64::from(is_retry);
        *self.durations.entry(of_endpoint).or_default() += attempt.duration;
    }

    fn ended(&mut self, host: &Host, run: EndedRun) {
        let workspace = self.label(host);
        if let Some(until) = run.until_running {
            let distribution = self.until_running.entry(workspace.clone());
            distribution
                .or_insert_with(|| Distribution::new(START_BOUNDS))
                .observe(until.as_secs_f64());
        }
        if let Some(took) = run.took {
            let distribution = self.took.entry((workspace, run.phase));
            distribution
                .or_insert_with(|| Distribution::new(RUN_BOUNDS))
                .observe(took.as_secs_f64());
        }
    }
}

impl UpstreamCounts {
    /// Nothing yet. Those workspaces have labels of their own whatever tasks name before them.
    pub(crate) fn new<'a>(
        next: Option<Arc<dyn Observer>>,
        configured: impl IntoIterator<Item = &'a Host>,
    ) -> Self {
        let mut seen = Seen::default();
        for host in configured {
            seen.label(host);
        }
        Self { seen: Mutex::new(seen), errors: Mutex::default(), next }
    }

    /// The run has ended, which is told once.
    pub(crate) fn ended(&self, host: &Host, run: EndedRun) {
        self.lock().ended(host, run);
    }

    /// A run that belonged to nobody was cancelled.
    pub(crate) fn orphan_cancelled(&self, orphan: Orphan) {
        *self.lock().orphans.entry(orphan).or_default() += 1;
    }

    /// A run could not be cancelled, and nobody is told so any more.
    pub(crate) fn cancel_given_up(&self) {
        self.lock().given_up += 1;
    }

    /// The last requests and tokens that failed, the latest first.
    pub(crate) fn last_errors(&self) -> Vec<LastError> {
        self.lock_errors().latest_first()
    }

    /// All of it, with how the workspaces and the watched runs stand now.
    pub(crate) fn counts(
        &self,
        workspaces: &[WorkspaceSnapshot],
        runs: &BTreeMap<Phase, u64>,
    ) -> Vec<Count> {
        told::counts(&mut self.lock(), workspaces, runs)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_errors(&self) -> MutexGuard<'_, LastErrors> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lane_label(lane: Lane) -> &'static str {
    match lane {
        Lane::Reads => "reads",
        Lane::Writes => "writes",
    }
}

/// The status, or its class when it is none that a workspace gives.
fn status_label(status: u16) -> String {
    if STATUSES.contains(&status) { status.to_string() } else { format!("{}xx", status / 100) }
}

impl Observer for UpstreamCounts {
    fn attempted(&self, attempt: &Attempt<'_>) {
        self.lock().attempted(attempt);
        call_log::one_more_request();
        if let Some(kind) = attempt.failure {
            self.lock_errors().push(LastError::now(
                attempt.host,
                attempt.endpoint,
                kind,
                attempt.status,
            ));
        }
        if let Some(next) = &self.next {
            next.attempted(attempt);
        }
    }

    fn waited(&self, wait: &BudgetWait<'_>) {
        self.lock().waited(wait.host, wait.lane, wait.waited, wait.is_granted);
        if let Some(next) = &self.next {
            next.waited(wait);
        }
    }

    fn refused(&self, host: &Host) {
        {
            let mut seen = self.lock();
            let workspace = seen.label(host);
            *seen.refused.entry(workspace).or_default() += 1;
        }
        if let Some(next) = &self.next {
            next.refused(host);
        }
    }

    fn minted(&self, mint: &Mint<'_>) {
        *self.lock().mints.entry((mint.kind, mint.failure.is_none())).or_default() += 1;
        if let Some(kind) = mint.failure {
            self.lock_errors().push(LastError::now(mint.host, "token", kind, None));
        }
        if let Some(next) = &self.next {
            next.minted(mint);
        }
    }
}

#[cfg(test)]
mod tests {
    use connector_core::Reading;

    use super::*;

    #[test]
    fn tasks_cannot_make_up_labels_without_end() {
        let counts = UpstreamCounts::new(None, []);
        for n in 0..=MAX_WORKSPACES {
            let host = Host::parse(&format!("w{n}.cloud.databricks.com")).unwrap();
            counts.refused(&host);
        }
        let told = counts.counts(&[], &BTreeMap::new());
        let labels: Vec<&str> = told
            .iter()
            .filter(|count| count.name.ends_with("breaker_refused"))
            .map(|count| count.labels[0].1.as_str())
            .collect();
        assert_eq!(labels.len(), MAX_WORKSPACES + 1);
        assert!(labels.contains(&OTHER));
    }

    #[test]
    fn counts_of_one_name_follow_each_other() {
        let counts = UpstreamCounts::new(None, []);
        let host = Host::parse("w.cloud.databricks.com").unwrap();
        for (is_granted, lane) in [(true, Lane::Reads), (false, Lane::Writes)] {
            let waited = Duration::from_millis(1500);
            counts.lock().waited(&host, lane, waited, is_granted);
        }
        let names: Vec<&str> =
            counts.counts(&[], &BTreeMap::new()).iter().map(|count| count.name).collect();
        let mut once = names.clone();
        once.dedup();
        let mut all = once.clone();
        all.sort_unstable();
        all.dedup();
        assert_eq!(once.len(), all.len(), "{names:?}");
        let told = counts.counts(&[], &BTreeMap::new());
        let waited = told.iter().find(|count| count.name.ends_with("wait_seconds")).unwrap();
        assert_eq!(waited.reading, Reading::Counter(1.5));
    }

    #[test]
    fn a_configured_workspace_keeps_its_label_whatever_tasks_name_before() {
        let mine: Host = "mine.cloud.databricks.com".parse().unwrap();
        let counts = UpstreamCounts::new(None, [&mine]);
        for n in 0..=MAX_WORKSPACES {
            counts.refused(&Host::parse(&format!("w{n}.cloud.databricks.com")).unwrap());
        }
        counts.refused(&mine);
        let told = counts.counts(&[], &BTreeMap::new());
        let is_mine = |count: &&Count| count.labels == [("workspace", mine.to_string())];
        assert!(
            told.iter().any(|count| is_mine(&count) && count.name.ends_with("breaker_refused"))
        );
    }

    #[test]
    fn a_workspace_cannot_make_up_statuses_without_end() {
        let mut labels: Vec<String> = (100..1000).map(status_label).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), STATUSES.len() + 9);
        assert_eq!((status_label(429), status_label(418)), ("429".to_owned(), "4xx".to_owned()));
    }

    #[test]
    fn an_ended_run_is_in_the_histograms_of_its_workspace() {
        let counts = UpstreamCounts::new(None, []);
        let host = Host::parse("w.cloud.databricks.com").unwrap();
        let took = Some(Duration::from_secs(90));
        counts.ended(&host, EndedRun { phase: Phase::Failed, took, until_running: None });
        let told = counts.counts(&[], &BTreeMap::new());
        let find = |ending: &str| told.iter().find(|count| count.name.ends_with(ending));
        let Some(Count { reading: Reading::Histogram(found), labels, .. }) =
            find("run_duration_seconds")
        else {
            panic!("{told:?}")
        };
        assert_eq!((found.count(), labels[1].1.as_str()), (1, "Failed"));
        assert!(find("submit_to_running_seconds").is_none());
    }
}
