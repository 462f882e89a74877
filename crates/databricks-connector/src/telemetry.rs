//! What can be seen of the calls to Databricks: for metrics and for people who look after the connector.

pub(crate) mod call_log;
pub(crate) mod gauges;
mod last_errors;
pub(crate) mod metrics;
mod recorder;
pub(crate) mod status;

use std::fmt;

use databricks_client::ClientPool;
pub use databricks_client::{
    CircuitBreakerState, ErrorKind, Host, LastFailure, Observer, RateLimitSnapshot, RateLimitWait,
    RequestAttempt, RequestClass, RequestClassSnapshot, TokenFetch, WorkspaceSnapshot,
};

pub(crate) use last_errors::LastError;
pub(crate) use metrics::{EndedRun, Metrics, Orphan};
pub(crate) use recorder::Recorder;

/// The workspaces that a connector calls. It outlives the connector's move into a registry. Cheap to clone.
#[derive(Clone)]
pub struct Workspaces(ClientPool);

impl Workspaces {
    pub(crate) fn new(pool: ClientPool) -> Self {
        Self(pool)
    }

    /// How each of them stands now, in the order of their hosts. No I/O, and no secret.
    pub fn snapshots(&self) -> Vec<WorkspaceSnapshot> {
        self.0.snapshots()
    }
}

impl fmt::Debug for Workspaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Workspaces").field(&self.snapshots()).finish()
    }
}
