//! What all calls to one host share: connections, admission, rate limiters and the known version of the Jobs API.

use std::{
    hash::RandomState,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::HeaderValue;
use tokio::time::Instant;

use crate::{
    Credentials, Host, JobsApiVersion, WorkspaceSnapshot,
    http::{
        admission::Admission,
        rate_limit::{RateLimiter, RateLimiters},
    },
    settings::Settings,
};

/// The state of one host.
#[derive(Debug)]
pub(crate) struct HostState {
    pub(crate) host: Host,
    /// The HTTP client for the host.
    pub(crate) http: reqwest::Client,
    /// The HTTP client for other hosts: token endpoints and storages.
    pub(crate) cloud_http: reqwest::Client,
    pub(crate) settings: Settings,
    pub(crate) admission: Admission,
    limiters: RateLimiters,
    /// The key of the hashes that identify credentials.
    identity_key: RandomState,
    /// Set when the gateway turns out not to know version 2.2.
    lacks_2_2: AtomicBool,
}

impl HostState {
    pub(crate) fn new(
        host: &Host,
        http: reqwest::Client,
        cloud_http: reqwest::Client,
        settings: Settings,
    ) -> Self {
        Self {
            host: host.clone(),
            http,
            cloud_http,
            admission: Admission::new(host.clone(), settings.observer.clone()),
            limiters: RateLimiters::new(settings.rate_limit),
            identity_key: RandomState::new(),
            lacks_2_2: AtomicBool::new(false),
            settings,
        }
    }

    /// Returns the rate limiter of a credential. Credentials with the same secret share one.
    pub(crate) fn limiter(&self, credentials: &Credentials) -> Arc<RateLimiter> {
        let identity = credentials.identity(&self.identity_key);
        self.limiters.get(identity, credentials.name(), Instant::now())
    }

    /// Returns the version of the Jobs API to use.
    pub(crate) fn jobs_version(&self) -> &'static str {
        match self.settings.jobs_api {
            JobsApiVersion::V2_2 if !self.lacks_2_2.load(Ordering::Relaxed) => "2.2",
            JobsApiVersion::V2_2 | JobsApiVersion::V2_1 => "2.1",
        }
    }

    /// Falls back to version 2.1. Returns true if the failed request used 2.2.
    pub(crate) fn fall_back(&self, used_version: &str) -> bool {
        self.lacks_2_2.store(true, Ordering::Relaxed);
        used_version == "2.2"
    }

    pub(crate) fn snapshot(&self, now: Instant) -> WorkspaceSnapshot {
        self.admission.snapshot(self.limiters.snapshots(now), now)
    }

    /// Returns `product/version client/version os/name auth/type` (databricks-api.md#user-agent).
    pub(crate) fn user_agent(&self, credentials: &Credentials) -> HeaderValue {
        let text = format!(
            "{} databricks-client/{} os/{} auth/{}",
            self.settings.product,
            env!("CARGO_PKG_VERSION"),
            std::env::consts::OS,
            credentials.auth_type(),
        );
        HeaderValue::from_str(&text)
            .unwrap_or_else(|_| HeaderValue::from_static("databricks-client"))
    }
}
