//! Telemetry: metrics, log fields and the status page, for calls to Databricks and their runs.

pub(crate) mod call_log;
pub(crate) mod gauges;
mod last_errors;
pub(crate) mod metrics;
mod recorder;
pub(crate) mod status;
mod unverified_success;

pub use databricks_client::{
    CircuitBreakerState, ErrorKind, Host, LastFailure, Observer, RateLimitSnapshot, RateLimitWait,
    RequestAttempt, RequestClass, RequestClassSnapshot, TokenFetch, WorkspaceSnapshot,
};

pub(crate) use metrics::{EndedRun, Metrics, Orphan};
pub(crate) use recorder::Recorder;
