//! `/status`: the state of this process as JSON, for operators.

use std::time::{Instant, SystemTime};

use connector_core::{ConnectorHandle, Registry};
use serde::Serialize;
use tokio_util::task::TaskTracker;

/// The sources of the page.
#[derive(Debug)]
pub(crate) struct StatusPage {
    registry: Registry,
    /// In-flight calls and background tasks.
    calls: TaskTracker,
    started_at: SystemTime,
    started: Instant,
}

#[derive(Debug, Serialize)]
struct Page<'a> {
    version: &'a str,
    started_at: String,
    uptime_seconds: u64,
    draining: bool,
    /// In-flight calls and background tasks.
    in_flight: usize,
    connectors: Vec<ConnectorPage>,
}

#[derive(Debug, Serialize)]
struct ConnectorPage {
    name: &'static str,
    task_types: Vec<String>,
    /// The connector's own report.
    status: serde_json::Value,
}

impl StatusPage {
    /// Creates the page. The uptime starts now.
    pub(crate) fn new(registry: Registry, calls: TaskTracker) -> Self {
        Self { registry, calls, started_at: SystemTime::now(), started: Instant::now() }
    }

    /// Renders the page.
    pub(crate) fn render(&self, draining: bool) -> String {
        let page = Page {
            version: env!("CARGO_PKG_VERSION"),
            started_at: seconds(self.started_at).to_string(),
            uptime_seconds: self.started.elapsed().as_secs(),
            draining,
            in_flight: self.calls.len(),
            connectors: self.registry.connectors().iter().map(connector).collect(),
        };
        // Strings, numbers and JSON values always serialize.
        let mut json = serde_json::to_string_pretty(&page).unwrap_or_default();
        json.push('\n');
        json
    }
}

fn connector(connector: &ConnectorHandle) -> ConnectorPage {
    ConnectorPage {
        name: connector.name(),
        task_types: connector.task_types().iter().map(ToString::to_string).collect(),
        status: connector.diagnostics(),
    }
}

/// Truncates a time to seconds. The result displays as RFC 3339.
fn seconds(at: SystemTime) -> prost_types::Timestamp {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    prost_types::Timestamp { seconds, nanos: 0 }
}
