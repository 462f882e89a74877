//! Prometheus metrics of requests to Databricks and of runs, updated as events happen.
//!
//! Values that are read at scrape time are in [`gauges`](super::gauges).

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use connector_core::Phase;
use databricks_client::{Host, RateLimitWait, RequestAttempt, RequestClass, TokenFetch};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

use super::unverified_success::UnverifiedSuccesses;

/// Maximum number of workspaces with their own label value, and of those on the status page. Tasks choose the workspace, so
/// the set must be bounded.
pub(super) const MAX_WORKSPACES: usize = 100;

/// Label value of all other workspaces.
const OTHER: &str = "other";

/// Statuses with their own label value. A workspace may respond with any status, so the set must
/// be bounded.
const STATUSES: [u16; 20] = [
    200, 201, 202, 204, 206, 301, 302, 303, 307, 400, 401, 403, 404, 409, 413, 429, 500, 502, 503,
    504,
];

type Seconds = Counter<f64, AtomicU64>;
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Counters and histograms of one connector.
#[derive(Debug)]
pub(crate) struct Metrics {
    workspaces: WorkspaceLabels,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<EndpointLabels, Seconds>,
    retries: Family<EndpointLabels, Counter>,
    token_refreshes: Family<TokenLabels, Counter>,
    waits: Family<WaitLabels, Counter>,
    wait_seconds: Family<WaitLabels, Seconds>,
    breaker_rejections: Family<WorkspaceLabel, Counter>,
    time_to_running: Histograms<WorkspaceLabel>,
    run_durations: Histograms<RunLabels>,
    orphans_cancelled: Family<OrphanLabel, Counter>,
    failed_cancels: Counter,
    unverified_successes: UnverifiedSuccesses,
}

/// Why a run is an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Orphan {
    /// An earlier attempt of its action started it.
    EarlierAttempt,
    /// Its create was reported to Flyte as failed.
    Abandoned,
}

/// A terminated run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndedRun {
    /// Phase reported to Flyte.
    pub(crate) phase: Phase,
    /// Time from start to end.
    pub(crate) took: Option<Duration>,
    /// Time from start until its first task ran. `None` if no task ran.
    pub(crate) until_running: Option<Duration>,
}

impl Metrics {
    /// Creates the metrics. The configured workspaces get their own label value, however many others tasks name.
    pub(crate) fn new<'a>(configured: impl IntoIterator<Item = &'a Host>) -> Self {
        let metrics = Self {
            workspaces: WorkspaceLabels::default(),
            requests: Family::default(),
            request_seconds: Family::default(),
            retries: Family::default(),
            token_refreshes: Family::default(),
            waits: Family::default(),
            wait_seconds: Family::default(),
            breaker_rejections: Family::default(),
            time_to_running: Histograms::new_with_constructor(start_histogram),
            run_durations: Histograms::new_with_constructor(run_histogram),
            orphans_cancelled: Family::default(),
            failed_cancels: Counter::default(),
            unverified_successes: UnverifiedSuccesses::default(),
        };
        for host in configured {
            metrics.workspaces.label(host);
        }
        // Series that must start at zero.
        for orphan in [Orphan::EarlierAttempt, Orphan::Abandoned] {
            drop(metrics.orphans_cancelled.get_or_create(&orphan.label()));
        }
        metrics
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "flyte_connector_databricks_requests",
            "Requests to Databricks by status, or by kind of failure when there was no response",
            self.requests.clone(),
        );
        registry.register(
            "flyte_connector_databricks_request_seconds",
            "Total time of requests to Databricks, from sending the request to the end of the response",
            self.request_seconds.clone(),
        );
        registry.register(
            "flyte_connector_databricks_retries",
            "Requests to Databricks that were retries",
            self.retries.clone(),
        );
        registry.register(
            "flyte_connector_databricks_token_refreshes",
            "Tokens requested from their authority or read from their file, by kind of credential",
            self.token_refreshes.clone(),
        );
        registry.register(
            "flyte_connector_databricks_budget_waits",
            "Calls that waited for the rate limit of their workspace and credential",
            self.waits.clone(),
        );
        registry.register(
            "flyte_connector_databricks_budget_wait_seconds",
            "Total time that calls waited for the rate limit",
            self.wait_seconds.clone(),
        );
        registry.register(
            "flyte_connector_databricks_breaker_refused",
            "Calls rejected by the circuit breaker of their workspace",
            self.breaker_rejections.clone(),
        );
        registry.register(
            "flyte_connector_databricks_submit_to_running_seconds",
            "Time from the start of a run until its first task ran, recorded when the run ends",
            self.time_to_running.clone(),
        );
        registry.register(
            "flyte_connector_databricks_run_duration_seconds",
            "Time from the start to the end of a run, by the phase reported to Flyte",
            self.run_durations.clone(),
        );
        registry.register(
            "flyte_connector_databricks_orphans_cancelled",
            "Orphaned runs that were cancelled: of earlier attempts, or of creates reported to Flyte as failed",
            self.orphans_cancelled.clone(),
        );
        registry.register(
            "flyte_connector_databricks_cancels_given_up",
            "Deletes that returned OK although the run could not be cancelled and may still be running",
            self.failed_cancels.clone(),
        );
        registry.register(
            "flyte_connector_databricks_unchecked_successes",
            "Runs that succeeded in Databricks and whose error.pb and outputs.pb could not be read",
            self.unverified_successes.count.clone(),
        );
    }

    /// Label values of the `workspace` label.
    pub(crate) fn workspaces(&self) -> &WorkspaceLabels {
        &self.workspaces
    }

    pub(crate) fn attempted(&self, attempt: &RequestAttempt<'_>) {
        let endpoint = EndpointLabels {
            workspace: self.workspaces.label(attempt.host),
            endpoint: attempt.endpoint,
        };
        let is_retry = attempt.number > 1;
        let retries = self.retries.get_or_create(&endpoint);
        if is_retry {
            retries.inc();
        }
        drop(retries);
        self.request_seconds.get_or_create(&endpoint).inc_by(attempt.duration.as_secs_f64());
        let status = match (attempt.status, attempt.failure) {
            (Some(status), _) => status_label(status),
            (None, Some(kind)) => kind.as_str().into(),
            (None, None) => "none".into(),
        };
        let attempt = if is_retry { "retry" } else { "first" };
        self.requests.get_or_create(&RequestLabels { endpoint, status, attempt }).inc();
    }

    pub(crate) fn waited(&self, wait: &RateLimitWait<'_>) {
        let labels = WaitLabels {
            workspace: self.workspaces.label(wait.host),
            lane: match wait.class {
                RequestClass::Read => "reads",
                RequestClass::Write => "writes",
            },
            outcome: if wait.is_granted { "granted" } else { "refused" },
        };
        self.waits.get_or_create(&labels).inc();
        self.wait_seconds.get_or_create(&labels).inc_by(wait.waited.as_secs_f64());
    }

    pub(crate) fn breaker_rejected(&self, host: &Host) {
        let labels = WorkspaceLabel { workspace: self.workspaces.label(host) };
        self.breaker_rejections.get_or_create(&labels).inc();
    }

    pub(crate) fn token_refreshed(&self, fetch: &TokenFetch<'_>) {
        let outcome = if fetch.failure.is_none() { "ok" } else { "failed" };
        self.token_refreshes.get_or_create(&TokenLabels { kind: fetch.kind, outcome }).inc();
    }

    /// Records a terminated run. Call it once for each run.
    pub(crate) fn run_ended(&self, host: &Host, run: EndedRun) {
        let workspace = self.workspaces.label(host);
        if let Some(took) = run.took {
            let labels = RunLabels { workspace: workspace.clone(), phase: run.phase.as_str() };
            self.run_durations.get_or_create(&labels).observe(took.as_secs_f64());
        }
        if let Some(until) = run.until_running {
            let histogram = self.time_to_running.get_or_create(&WorkspaceLabel { workspace });
            histogram.observe(until.as_secs_f64());
        }
    }

    pub(crate) fn orphan_cancelled(&self, orphan: Orphan) {
        self.orphans_cancelled.get_or_create(&orphan.label()).inc();
    }

    /// Counts a delete that returned OK although the run could not be cancelled.
    pub(crate) fn cancel_failed(&self) {
        self.failed_cancels.inc();
    }

    /// Counts a success with this output prefix whose files could not be checked. Returns its bucket if that has not been
    /// logged.
    pub(crate) fn unverified_success(&self, output_prefix: &str) -> Option<String> {
        self.unverified_successes.record(output_prefix)
    }
}

/// The bounded set of values of the `workspace` label.
#[derive(Debug, Default)]
pub(crate) struct WorkspaceLabels(Mutex<HashSet<String>>);

impl WorkspaceLabels {
    /// Returns the host, or [`OTHER`] once the set is full.
    fn label(&self, host: &Host) -> String {
        self.own(host).unwrap_or_else(|| OTHER.to_owned())
    }

    /// Returns the host, or `None` once the set is full.
    pub(crate) fn own(&self, host: &Host) -> Option<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = host.as_str();
        if !known.contains(name) {
            if known.len() >= MAX_WORKSPACES {
                return None;
            }
            known.insert(name.to_owned());
        }
        Some(name.to_owned())
    }
}

/// Returns the status, or its class if the label has no value for it.
fn status_label(status: u16) -> Cow<'static, str> {
    if STATUSES.contains(&status) { status.to_string() } else { format!("{}xx", status / 100) }
        .into()
}

/// Buckets from one second (a warm pool) to three hours (a queue).
fn start_histogram() -> Histogram {
    Histogram::new([
        1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 10_800.0,
    ])
}

/// Buckets from half a minute to two days.
fn run_histogram() -> Histogram {
    Histogram::new([
        30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0, 86_400.0,
        172_800.0,
    ])
}

impl Orphan {
    fn label(self) -> OrphanLabel {
        let cause = match self {
            Self::EarlierAttempt => "earlier_attempt",
            Self::Abandoned => "abandoned",
        };
        OrphanLabel { cause }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkspaceLabel {
    workspace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabels {
    workspace: String,
    endpoint: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    #[prometheus(flatten)]
    endpoint: EndpointLabels,
    status: Cow<'static, str>,
    attempt: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WaitLabels {
    workspace: String,
    lane: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    workspace: String,
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OrphanLabel {
    cause: &'static str,
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn series(metrics: &Metrics) -> String {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    fn reject_too_many_workspaces(metrics: &Metrics) {
        for n in 0..=MAX_WORKSPACES {
            metrics.breaker_rejected(&Host::parse(&format!("w{n}.cloud.databricks.com")).unwrap());
        }
    }

    #[test]
    fn workspace_labels_are_bounded() {
        let metrics = Metrics::new([]);
        reject_too_many_workspaces(&metrics);
        let series = series(&metrics);
        assert_eq!(series.matches("breaker_refused_total{").count(), MAX_WORKSPACES + 1);
        assert!(series.contains(r#"breaker_refused_total{workspace="other"} 1"#), "{series}");
    }

    #[test]
    fn configured_workspace_keeps_its_label() {
        let configured: Host = "mine.cloud.databricks.com".parse().unwrap();
        let metrics = Metrics::new([&configured]);
        reject_too_many_workspaces(&metrics);
        metrics.breaker_rejected(&configured);
        let series = series(&metrics);
        let line = format!("breaker_refused_total{{workspace=\"{configured}\"}} 1");
        assert!(series.contains(&line), "{series}");
    }

    #[test]
    fn status_labels_are_bounded() {
        let labels: HashSet<_> = (100..1000).map(status_label).collect();
        assert_eq!(labels.len(), STATUSES.len() + 9);
        assert_eq!((status_label(429), status_label(418)), ("429".into(), "4xx".into()));
    }

    #[test]
    fn ended_run_is_in_histograms_of_its_workspace() {
        let metrics = Metrics::new([]);
        let host = Host::parse("w.cloud.databricks.com").unwrap();
        let took = Some(Duration::from_secs(90));
        metrics.run_ended(&host, EndedRun { phase: Phase::Failed, took, until_running: None });
        let series = series(&metrics);
        let labels = r#"workspace="w.cloud.databricks.com",phase="Failed""#;
        assert!(series.contains(&format!("run_duration_seconds_count{{{labels}}} 1")), "{series}");
        assert!(!series.contains("submit_to_running_seconds_count"), "{series}");
    }
}
