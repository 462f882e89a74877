//! Observation of calls: events as they happen, and snapshots without I/O. Neither contains a secret, a query or a
//! body.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use super::RequestClass;
use crate::{ErrorKind, Host};

/// Receives an event for each request. Methods run inside the calls, so they must be fast and must not block.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A request was sent, and a response or an error came back.
    fn on_attempt(&self, attempt: &RequestAttempt<'_>);

    /// A call waited for its rate limit, or was rejected by it.
    fn on_rate_limit_wait(&self, wait: &RateLimitWait<'_>);

    /// A call was rejected because the circuit breaker of its host is open.
    fn on_request_rejected(&self, host: &Host);

    /// A token was requested from a token endpoint, or read from a file.
    fn on_token_fetch(&self, fetch: &TokenFetch<'_>);
}

/// One token that was requested or read.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct TokenFetch<'a> {
    /// The workspace that the token is for.
    pub host: &'a Host,
    /// The authentication type, see [`Credentials::auth_type`](crate::Credentials::auth_type).
    pub kind: &'static str,
    /// The kind of error, if it failed.
    pub failure: Option<ErrorKind>,
}

/// One request that was sent.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RequestAttempt<'a> {
    /// The host.
    pub host: &'a Host,
    /// The endpoint without version and query, such as `runs/get`. One of a fixed set.
    pub endpoint: &'static str,
    /// The status of the response, if there was one.
    pub status: Option<u16>,
    /// The kind of error, if it failed.
    pub failure: Option<ErrorKind>,
    /// 1 for the first attempt of a call.
    pub number: u32,
    /// The time from sending the request to the end of the response.
    pub duration: Duration,
}

/// One call that waited for its rate limit.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RateLimitWait<'a> {
    /// The host.
    pub host: &'a Host,
    /// The class of the call.
    pub class: RequestClass,
    /// How long the call waited.
    pub waited: Duration,
    /// Whether the call was sent after the wait.
    pub is_granted: bool,
}

/// The state of one host, as known to this process.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkspaceSnapshot {
    /// The host.
    pub host: Host,
    /// The state of its circuit breaker.
    pub circuit_breaker: CircuitBreakerState,
    /// The rate limit of each credential that is used with it.
    pub rate_limits: Vec<RateLimitSnapshot>,
    /// Requests sent.
    pub attempts: u64,
    /// Requests sent that were not the first attempt of their call.
    pub retries: u64,
    /// Calls rejected by the circuit breaker.
    pub rejected: u64,
    /// The last failed request.
    pub last_failure: Option<LastFailure>,
}

/// The state of the circuit breaker of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitBreakerState {
    /// Calls are sent.
    Closed,
    /// Calls are rejected.
    Open {
        /// How long the host has failed.
        failing_for: Duration,
    },
    /// One probe is sent; other calls are rejected.
    HalfOpen {
        /// How long the host has failed.
        failing_for: Duration,
    },
}

/// The last failed request to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastFailure {
    /// The kind of error.
    pub kind: ErrorKind,
    /// The status of the response, if there was one.
    pub status: Option<u16>,
    /// When it failed.
    pub at: SystemTime,
}

/// The rate limit of one host and one credential.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RateLimitSnapshot {
    /// The name of the credential. Not unique.
    pub credential: String,
    /// The largest number of requests in flight, over both classes.
    pub max_in_flight: u32,
    /// The state of reads.
    pub reads: RequestClassSnapshot,
    /// The state of writes.
    pub writes: RequestClassSnapshot,
}

/// One request class of a rate limit.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct RequestClassSnapshot {
    /// Requests in flight.
    pub in_flight: u32,
    /// Calls that wait.
    pub waiting: usize,
    /// The current rate, in requests per second. Below the configured rate after a 429 response.
    pub rate_per_second: f64,
    /// Calls that waited and were then sent.
    pub waits: u64,
    /// Calls that were rejected.
    pub rejected: u64,
}
