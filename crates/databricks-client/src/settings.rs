//! The settings of a client pool.

use std::{sync::Arc, time::Duration};

use crate::{HostPattern, Observer, RateLimitPolicy, RetryPolicy, TracePropagator};

/// The version of the Jobs API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum JobsApiVersion {
    /// 2.2, with a fallback to 2.1 on hosts whose gateway does not know 2.2.
    #[default]
    V2_2,
    /// 2.1.
    V2_1,
}

/// See the methods of [`ClientPoolBuilder`](crate::ClientPoolBuilder).
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// `name/version`.
    pub(crate) product: String,
    pub(crate) request_timeout: Duration,
    pub(crate) call_timeout: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) rate_limit: RateLimitPolicy,
    pub(crate) jobs_api: JobsApiVersion,
    pub(crate) max_response_bytes: usize,
    pub(crate) external_link_hosts: Vec<HostPattern>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) trace_propagator: Option<Arc<dyn TracePropagator>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            product: format!("databricks-client/{}", env!("CARGO_PKG_VERSION")),
            request_timeout: Duration::from_mins(1),
            call_timeout: Duration::from_mins(1),
            retry: RetryPolicy::default(),
            rate_limit: RateLimitPolicy::default(),
            jobs_api: JobsApiVersion::default(),
            // get-output alone can contain 5 MB of logs, escaped as JSON.
            max_response_bytes: 16 * 1024 * 1024,
            external_link_hosts: Vec::new(),
            observer: None,
            trace_propagator: None,
        }
    }
}
