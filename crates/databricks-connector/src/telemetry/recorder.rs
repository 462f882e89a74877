//! Observes requests to Databricks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Attempt, BudgetWait, Host, Mint, Observer, call_log,
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
    fn attempted(&self, attempt: &Attempt<'_>) {
        self.metrics.attempted(attempt);
        call_log::one_more_request();
        if let Some(kind) = attempt.failure {
            let error = LastError::now(attempt.host, attempt.endpoint, kind, attempt.status);
            self.errors().push(error);
        }
        if let Some(next) = &self.next {
            next.attempted(attempt);
        }
    }

    fn waited(&self, wait: &BudgetWait<'_>) {
        self.metrics.waited(wait);
        if let Some(next) = &self.next {
            next.waited(wait);
        }
    }

    fn refused(&self, host: &Host) {
        self.metrics.breaker_rejected(host);
        if let Some(next) = &self.next {
            next.refused(host);
        }
    }

    fn minted(&self, mint: &Mint<'_>) {
        self.metrics.token_refreshed(mint);
        if let Some(kind) = mint.failure {
            self.errors().push(LastError::now(mint.host, "token", kind, None));
        }
        if let Some(next) = &self.next {
            next.minted(mint);
        }
    }
}
