//! The connector's part of the status page: workspaces, runs and recent failures.
//!
//! Only names and numbers belong here: no secrets, and no text from responses.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use connector_core::Phase;
use databricks_client::{
    CircuitBreakerState, Host, RateLimitSnapshot, RequestClassSnapshot, WorkspaceSnapshot,
};
use serde::Serialize;

use super::{last_errors::LastError, metrics::MAX_WORKSPACES};

/// The status of the connector, serialized for the page.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    /// At most [`MAX_WORKSPACES`]; configured ones come first.
    workspaces: Vec<WorkspaceStatus>,
    /// Workspaces that are not listed.
    workspaces_left_out: usize,
    /// Runs polled in the last 15 minutes, by last known phase.
    runs: BTreeMap<String, u64>,
    /// The most recent first.
    last_errors: Vec<FailureStatus>,
}

#[derive(Debug, Serialize)]
struct WorkspaceStatus {
    host: String,
    /// Names of the connector's own credentials for it.
    credentials: Vec<String>,
    breaker: BreakerStatus,
    #[serde(rename = "budgets")]
    rate_limits: Vec<RateLimitStatus>,
    requests: u64,
    retries: u64,
    /// Calls that were rejected because the circuit breaker was open.
    refused: u64,
}

#[derive(Debug, Serialize)]
struct BreakerStatus {
    state: &'static str,
    failing_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
struct RateLimitStatus {
    credential: String,
    /// The maximum number of concurrent requests, over both request classes.
    limit: u32,
    reads: RequestClassStatus,
    writes: RequestClassStatus,
}

#[derive(Debug, Serialize)]
struct RequestClassStatus {
    in_use: u32,
    waiting: usize,
    per_second: f64,
}

#[derive(Debug, Serialize)]
struct FailureStatus {
    time: String,
    host: String,
    endpoint: &'static str,
    kind: &'static str,
    status: Option<u16>,
}

impl Status {
    /// Creates the status. `own` are the configured workspaces, each with the names of its credentials.
    pub(crate) fn new(
        own: &BTreeMap<&Host, Vec<String>>,
        called: &[WorkspaceSnapshot],
        runs: BTreeMap<Phase, u64>,
        last_errors: &[LastError],
    ) -> Self {
        let mut workspaces: Vec<WorkspaceStatus> = own
            .iter()
            .map(|(host, names)| {
                let snapshot = called.iter().find(|snapshot| snapshot.host == **host);
                WorkspaceStatus::new(host, names.clone(), snapshot)
            })
            .collect();
        let others = called.iter().filter(|snapshot| !own.contains_key(&snapshot.host));
        workspaces.extend(
            others.map(|snapshot| WorkspaceStatus::new(&snapshot.host, Vec::new(), Some(snapshot))),
        );
        let workspaces_left_out = workspaces.len().saturating_sub(MAX_WORKSPACES);
        workspaces.truncate(MAX_WORKSPACES);
        let name = |(phase, number): (Phase, u64)| (phase.as_str().to_owned(), number);
        Self {
            workspaces,
            workspaces_left_out,
            runs: runs.into_iter().map(name).collect(),
            last_errors: last_errors.iter().map(FailureStatus::new).collect(),
        }
    }
}

impl WorkspaceStatus {
    /// A workspace that was not called yet counts as healthy.
    fn new(host: &Host, credentials: Vec<String>, called: Option<&WorkspaceSnapshot>) -> Self {
        Self {
            host: host.to_string(),
            credentials,
            breaker: BreakerStatus::new(
                called.map_or(CircuitBreakerState::Closed, |snapshot| snapshot.circuit_breaker),
            ),
            rate_limits: called
                .map(|snapshot| snapshot.rate_limits.iter().map(RateLimitStatus::new).collect())
                .unwrap_or_default(),
            requests: called.map_or(0, |snapshot| snapshot.attempts),
            retries: called.map_or(0, |snapshot| snapshot.retries),
            refused: called.map_or(0, |snapshot| snapshot.rejected),
        }
    }
}

impl BreakerStatus {
    fn new(breaker: CircuitBreakerState) -> Self {
        let (state, failing): (_, Option<Duration>) = match breaker {
            CircuitBreakerState::Closed => ("closed", None),
            CircuitBreakerState::Open { failing_for } => ("open", Some(failing_for)),
            CircuitBreakerState::HalfOpen { failing_for } => ("half-open", Some(failing_for)),
        };
        Self { state, failing_seconds: failing.map(|failing| failing.as_secs()) }
    }
}

impl RateLimitStatus {
    fn new(rate_limit: &RateLimitSnapshot) -> Self {
        Self {
            credential: rate_limit.credential.clone(),
            limit: rate_limit.max_in_flight,
            reads: RequestClassStatus::new(rate_limit.reads),
            writes: RequestClassStatus::new(rate_limit.writes),
        }
    }
}

impl RequestClassStatus {
    fn new(class: RequestClassSnapshot) -> Self {
        Self { in_use: class.in_flight, waiting: class.waiting, per_second: class.rate_per_second }
    }
}

impl FailureStatus {
    fn new(error: &LastError) -> Self {
        Self {
            time: rfc3339(error.at),
            host: error.host.to_string(),
            endpoint: error.endpoint,
            kind: error.kind.as_str(),
            status: error.status,
        }
    }
}

/// Formats a time as RFC 3339, in whole seconds.
fn rfc3339(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    prost_types::Timestamp { seconds, nanos: 0 }.to_string()
}
