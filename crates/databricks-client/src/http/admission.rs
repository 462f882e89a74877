//! Admission of requests to one host: its circuit breaker, then the rate limiter of the credential. Counts attempts and
//! reports them to the observer.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{
    LastFailure, Observer, RateLimitSnapshot, RateLimitWait, RequestAttempt, RequestClass,
    WorkspaceSnapshot,
    circuit_breaker::{Admitted, CircuitBreaker, Health, Open, PROBE_TIMEOUT},
    rate_limit::{Permit, RateLimiter, Rejection},
    transport::Response,
};
use crate::{Error, ErrorKind, Host};

/// The shortest timeout whose expiry counts as a failure of the host.
pub(crate) const MIN_CONCLUSIVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Admits requests to one host.
#[derive(Debug)]
pub(crate) struct Admission {
    host: Host,
    observer: Option<Arc<dyn Observer>>,
    breaker: Mutex<CircuitBreaker>,
    attempts: AtomicU64,
    retries: AtomicU64,
    rejected: AtomicU64,
    last_failure: Mutex<Option<LastFailure>>,
}

/// One request that may be sent. Pass its result to [`finish`](Self::finish); dropping it counts as inconclusive.
#[derive(Debug)]
pub(crate) struct AdmittedRequest<'a> {
    admission: &'a Admission,
    permit: Permit,
    admitted: Admitted,
    is_finished: bool,
}

/// One attempt of a call, after it was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptInfo {
    pub(crate) endpoint: &'static str,
    /// 1 for the first attempt.
    pub(crate) number: u32,
    pub(crate) timeout: Duration,
    pub(crate) duration: Duration,
}

impl Admission {
    pub(crate) fn new(host: Host, observer: Option<Arc<dyn Observer>>) -> Self {
        Self {
            host,
            observer,
            breaker: Mutex::default(),
            attempts: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            last_failure: Mutex::default(),
        }
    }

    /// Waits until a request may be sent.
    ///
    /// # Errors
    ///
    /// `HostDown` if the circuit breaker is open, `Throttled` if the rate limit admits no request before the deadline.
    pub(crate) async fn admit(
        &self,
        limiter: &Arc<RateLimiter>,
        class: RequestClass,
        deadline: Instant,
    ) -> Result<AdmittedRequest<'_>, Error> {
        // Checked before the wait, so that no call waits for a host that is down, and after it.
        let now = Instant::now();
        let check = self.breaker().check(now);
        check.map_err(|open| self.host_down(&open, now))?;
        let permit = limiter.acquire(class, deadline).await;
        let waited = match &permit {
            Ok(permit) => permit.waited(),
            Err(Rejection::TimedOut(waited)) => *waited,
            Err(Rejection::WouldTimeOut { .. }) => Duration::ZERO,
        };
        if let Some(observer) = &self.observer
            && (permit.is_err() || !waited.is_zero())
        {
            let is_granted = permit.is_ok();
            observer.on_rate_limit_wait(&RateLimitWait {
                host: &self.host,
                class,
                waited,
                is_granted,
            });
        }
        let permit = permit.map_err(|rejection| throttled(class, rejection))?;
        let now = Instant::now();
        let admitted = self.breaker().admit(now);
        let admitted = admitted.map_err(|open| self.host_down(&open, now))?;
        Ok(AdmittedRequest { admission: self, permit, admitted, is_finished: false })
    }

    pub(crate) fn snapshot(
        &self,
        rate_limits: Vec<RateLimitSnapshot>,
        now: Instant,
    ) -> WorkspaceSnapshot {
        WorkspaceSnapshot {
            host: self.host.clone(),
            circuit_breaker: self.breaker().state(now),
            rate_limits,
            attempts: self.attempts.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            rejected: self.rejected.load(Ordering::Relaxed),
            last_failure: *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    pub(crate) fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.as_ref()
    }

    fn breaker(&self) -> MutexGuard<'_, CircuitBreaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn host_down(&self, open: &Open, now: Instant) -> Error {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        if let Some(observer) = &self.observer {
            observer.on_request_rejected(&self.host);
        }
        let failing = now.saturating_duration_since(open.outage.since).as_secs_f64();
        let last_error = &open.outage.last_error;
        let text =
            format!("not sent: the host has failed for {failing:.1} s, last error: {last_error}");
        Error::new(ErrorKind::HostDown, text).with_retry_after(open.retry_after)
    }
}

impl AdmittedRequest<'_> {
    /// Returns the timeout of this request, given that of an ordinary one.
    pub(crate) fn timeout(&self, timeout: Duration) -> Duration {
        match self.admitted {
            Admitted::Closed(_) => timeout,
            Admitted::Probe(_) => timeout.min(PROBE_TIMEOUT),
        }
    }

    /// Records the result of the request.
    pub(crate) fn finish(mut self, outcome: &Result<Response, Error>, info: AttemptInfo) {
        self.is_finished = true;
        let admission = self.admission;
        admission.breaker().record(self.admitted, health(outcome, info.timeout), Instant::now());
        admission.attempts.fetch_add(1, Ordering::Relaxed);
        if info.number > 1 {
            admission.retries.fetch_add(1, Ordering::Relaxed);
        }
        let (status, failure) = match outcome {
            Ok(response) => (Some(response.status), None),
            Err(error) => (error.status(), Some(error.kind())),
        };
        if let Some(kind) = failure {
            let failure = LastFailure { kind, status, at: SystemTime::now() };
            *admission.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        }
        if let Err(error) = outcome
            && error.kind() == ErrorKind::RateLimited
        {
            self.permit.rate_limited(error.retry_after());
        }
        if let Some(observer) = &admission.observer {
            observer.on_attempt(&RequestAttempt {
                host: &admission.host,
                endpoint: info.endpoint,
                status,
                failure,
                number: info.number,
                duration: info.duration,
            });
        }
    }
}

impl Drop for AdmittedRequest<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.admission.breaker().record(self.admitted, Health::Unknown, Instant::now());
        }
    }
}

/// Returns what the result of a request says about the host. Connection errors, timeouts and 5xx responses are
/// failures. Any other response is a sign of health, including 429 and 501.
fn health(outcome: &Result<Response, Error>, timeout: Duration) -> Health {
    let Err(error) = outcome else { return Health::Healthy };
    match (error.status(), error.kind()) {
        (Some(501), _) => Health::Healthy,
        (Some(500..), _) | (None, ErrorKind::Connect) => Health::Failing(error.to_string()),
        (None, ErrorKind::Timeout) if timeout >= MIN_CONCLUSIVE_TIMEOUT => {
            Health::Failing(error.to_string())
        }
        (None, ErrorKind::Timeout | ErrorKind::Config) => Health::Unknown,
        (_, _) => Health::Healthy,
    }
}

fn throttled(class: RequestClass, rejection: Rejection) -> Error {
    let error = |why: String| {
        let class = class.as_str();
        let text =
            format!("not sent: rate limit on {class} of this workspace and credential: {why}");
        Error::new(ErrorKind::Throttled, text)
    };
    match rejection {
        Rejection::TimedOut(waited) => error(format!("waited {:.1} s", waited.as_secs_f64())),
        Rejection::WouldTimeOut { wait, waiting } => error(format!(
            "{waiting} calls are waiting, and this one would wait {:.1} s, past its deadline",
            wait.as_secs_f64()
        ))
        .with_retry_after(wait),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CircuitBreakerState, RateLimitPolicy, error::ErrorBody, http::request::Subject};

    const LONG: Duration = Duration::from_secs(5);

    fn failed(status: u16, body: &str) -> Result<Response, Error> {
        Err(Error::from_response(status, ErrorBody::parse(body.as_bytes()), None, Subject::Run))
    }

    #[test]
    fn only_connection_errors_timeouts_and_5xx_are_failures_of_the_host() {
        for kind in [ErrorKind::Connect, ErrorKind::Timeout] {
            let outcome = Err(Error::new(kind, "x"));
            assert_eq!(health(&outcome, LONG), Health::Failing("x".to_owned()), "{kind:?}");
        }
        for status in [500, 502, 503, 504] {
            assert!(matches!(health(&failed(status, ""), LONG), Health::Failing(_)), "{status}");
        }
        for status in [302, 400, 401, 403, 404, 408, 409, 422, 429, 501] {
            assert_eq!(health(&failed(status, ""), LONG), Health::Healthy, "{status}");
        }
        let transient = r#"{"error_code": "TEMPORARILY_UNAVAILABLE"}"#;
        assert_eq!(health(&failed(400, transient), LONG), Health::Healthy);
        let response = Response { status: 200, body: bytes::Bytes::new() };
        assert_eq!(health(&Ok(response), LONG), Health::Healthy);
    }

    #[test]
    fn expiry_of_a_short_timeout_is_inconclusive() {
        let outcome = Err(Error::new(ErrorKind::Timeout, "x"));
        assert_eq!(health(&outcome, Duration::from_millis(999)), Health::Unknown);
    }

    async fn admit<'a>(
        admission: &'a Admission,
        limiter: &Arc<RateLimiter>,
    ) -> Result<AdmittedRequest<'a>, Error> {
        admission.admit(limiter, RequestClass::Read, Instant::now() + LONG).await
    }

    fn finish(request: AdmittedRequest<'_>, outcome: &Result<Response, Error>) {
        let endpoint = "runs/get";
        let info = AttemptInfo { endpoint, number: 1, timeout: LONG, duration: Duration::ZERO };
        request.finish(outcome, info);
    }

    #[tokio::test(start_paused = true)]
    async fn recovered_host_is_called_again_after_two_seconds_and_one_probe() {
        let limiter = RateLimiter::new("mine", RateLimitPolicy::default(), Instant::now());
        let admission = Admission::new("h.example".parse().unwrap(), None);
        for _ in 0..10 {
            finish(admit(&admission, &limiter).await.unwrap(), &failed(503, ""));
        }
        let error = admit(&admission, &limiter).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostDown);
        tokio::time::advance(Duration::from_secs(2)).await;
        let probe = admit(&admission, &limiter).await.unwrap();
        assert_eq!(probe.timeout(Duration::from_mins(1)), PROBE_TIMEOUT);
        let error = admit(&admission, &limiter).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostDown);
        // The call after a dropped probe is a probe.
        drop(probe);
        let probe = admit(&admission, &limiter).await.unwrap();
        finish(probe, &failed(404, ""));
        assert!(admit(&admission, &limiter).await.is_ok());
        assert_eq!(admission.breaker().state(Instant::now()), CircuitBreakerState::Closed);
    }
}
