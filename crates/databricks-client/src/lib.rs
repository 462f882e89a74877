#![doc = include_str!("../README.md")]
//!
//! # Structure
//!
//! A [`ClientPool`] owns the connections and the state of each host. A [`Client`] calls one host with one
//! [`Credentials`]. Each call retries transient failures within its [`RetryPolicy`] and the caller's deadline. An
//! [`Error`] reports the number of attempts and the elapsed time.
//!
//! Calls that share a host and a credential share a rate limit ([`RateLimitPolicy`]). Each host has a circuit breaker:
//! after ten consecutive failures, calls fail without a request for two seconds. [`ClientPool::snapshots`] returns the
//! current state of each host, and an [`Observer`] receives an event for each request.
//!
//! # Modules
//!
//! | module | contains |
//! | --- | --- |
//! | `client`, `pool`, `host_state`, `settings` | the public entry points and what they share |
//! | `api` | requests and responses of each REST API, and the `Client` methods that call them |
//! | `auth` | credentials, token requests, the token cache, and the `Authorization` header |
//! | `http` | one HTTP exchange, retries, rate limits, the circuit breaker, root certificates |
//! | `host` | parsing of host names, and which hosts may receive a token |
//! | `error` | [`Error`] and the error bodies of Databricks |
//!
//! No module refers to a Flyte type.

#![forbid(unsafe_code)]

mod api;
mod auth;
mod client;
mod error;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod host_state;
mod http;
mod pool;
mod settings;

pub use self::http::{
    CircuitBreakerState, LastFailure, Observer, Rate, RateLimitPolicy, RateLimitSnapshot,
    RateLimitWait, RequestAttempt, RequestClass, RequestClassSnapshot, RetryPolicy, TokenFetch,
    TracePropagator, WorkspaceSnapshot,
};
pub use api::{InvalidRunId, RunId, clusters, dbfs, jobs, statements, volumes, workspace};
pub use auth::{
    AzureCloud, AzureEnvironment, ClientSecret, Credentials, Environment, EnvironmentCredentials,
    EnvironmentError, InvalidAzureEnvironment, SubjectToken, TokenEndpoints, clean_secret,
};
pub use client::Client;
pub use error::{Error, ErrorKind, error_chain};
pub use host::{Host, HostError, HostNotAllowed, HostPattern, HostPolicy, InvalidHostPattern};
pub use pool::{ClientPool, ClientPoolBuilder};
pub use settings::JobsApiVersion;

// Types of other crates in public signatures.
pub use bytes::Bytes;
pub use futures_util::Stream;
pub use secrecy::{self, SecretString};
pub use serde_json;
