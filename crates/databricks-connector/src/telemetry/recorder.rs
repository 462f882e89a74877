//! Observes requests to Databricks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use databricks_client::{Host, Observer, RateLimitWait, RequestAttempt, TokenFetch};

use super::{
    call_log,
    last_errors::{LastError, LastErrors},
    metrics::Metrics,
};

/// Updates the metrics, remembers the last errors, and forwards each event to the configured observer.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) metrics: Metrics,
    errors: Mutex<LastErrors>,
    next: Option<Arc<dyn Observer>>,
}

impl Recorder {
    pub(crate) fn new(metrics: Metrics, next: Option<Arc<dyn Observer>>) -> Self {
        Self { metrics, errors: Mutex::default(), next }
    }

    /// Returns the last failed requests and token refreshes, latest first.
    pub(crate) fn last_errors(&self) -> Vec<LastError> {
        self.errors().latest_first()
    }

    fn errors(&self) -> MutexGuard<'_, LastErrors> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Recorder {
    fn on_attempt(&self, attempt: &RequestAttempt<'_>) {
        self.metrics.attempted(attempt);
        call_log::count_request();
        if let Some(kind) = attempt.failure {
            let error = LastError::now(attempt.host, attempt.endpoint, kind, attempt.status);
            self.errors().push(error);
        }
        if let Some(next) = &self.next {
            next.on_attempt(attempt);
        }
    }

    fn on_rate_limit_wait(&self, wait: &RateLimitWait<'_>) {
        self.metrics.waited(wait);
        if let Some(next) = &self.next {
            next.on_rate_limit_wait(wait);
        }
    }

    fn on_request_rejected(&self, host: &Host) {
        self.metrics.breaker_rejected(host);
        if let Some(next) = &self.next {
            next.on_request_rejected(host);
        }
    }

    fn on_token_fetch(&self, fetch: &TokenFetch<'_>) {
        self.metrics.token_refreshed(fetch);
        if let Some(kind) = fetch.failure {
            self.errors().push(LastError::now(fetch.host, "token", kind, None));
        }
        if let Some(next) = &self.next {
            next.on_token_fetch(fetch);
        }
    }
}
