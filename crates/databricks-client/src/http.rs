//! HTTP: one exchange with a host, and the policies that decide when a request is sent.
//!
//! `request` describes a call, `admission` decides whether it may be sent now (`circuit_breaker`, `rate_limit`),
//! `transport` sends it, and `retry` decides whether to send it again. `observer` reports events and snapshots.
//!
//! Does not belong here: tokens (`auth`) and the content of requests and responses (`api`).

pub(crate) mod admission;
pub(crate) mod body;
mod circuit_breaker;
pub(crate) mod download;
mod observer;
pub(crate) mod off_worker;
pub(crate) mod rate_limit;
pub(crate) mod request;
pub(crate) mod retry;
pub(crate) mod root_certs;
pub(crate) mod trace;
pub(crate) mod transport;

pub use observer::{
    CircuitBreakerState, LastFailure, Observer, RateLimitSnapshot, RateLimitWait, RequestAttempt,
    RequestClassSnapshot, TokenFetch, WorkspaceSnapshot,
};
pub use rate_limit::{Rate, RateLimitPolicy};
pub use request::RequestClass;
pub use retry::RetryPolicy;
pub use trace::TracePropagator;
