//! The client: sends one API call, with its headers, retries and deadline.
//!
//! The methods for each API are in `api`. Does not belong here: single HTTP exchanges and policies (`http`), tokens
//! (`auth`).

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{Instrument as _, debug};

use crate::{
    Credentials, Error, ErrorKind, Host, RequestClass,
    api::json::{self, Bounds, Read},
    auth::{AuthHeaders, FetchContext},
    error::FailedRequest,
    host_state::HostState,
    http::{
        admission::{AttemptInfo, MIN_CONCLUSIVE_TIMEOUT},
        off_worker::off_worker,
        rate_limit::RateLimiter,
        request::Request,
        retry::{self, Failure, Progress},
        trace,
        transport::{self, HttpRequest, Response, no_response_within},
    },
    settings::Settings,
};

/// Calls one workspace with one credential. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    host_state: Arc<HostState>,
    limiter: Arc<RateLimiter>,
    credentials: Credentials,
    deadline: Option<Instant>,
    /// With less time left, no request is sent.
    min_time: Duration,
    late_response: Option<LateResponse>,
    /// Overrides the class of each request.
    request_class: Option<RequestClass>,
    /// Their secrets do not appear in errors either.
    also_redacted: Option<Credentials>,
}

/// How a call waits for a response after its deadline.
#[derive(Clone)]
struct LateResponse {
    until: Instant,
    on_deadline: Arc<dyn Fn(Error) + Send + Sync>,
}

impl fmt::Debug for LateResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateResponse").field("until", &self.until).finish_non_exhaustive()
    }
}

/// The response to a successful call.
#[derive(Debug)]
struct CallResponse {
    response: Response,
    version: &'static str,
    attempts: u32,
    elapsed: Duration,
}

impl Client {
    pub(crate) fn new(
        host_state: Arc<HostState>,
        limiter: Arc<RateLimiter>,
        credentials: Credentials,
    ) -> Self {
        Self {
            host_state,
            limiter,
            credentials,
            deadline: None,
            min_time: Duration::ZERO,
            late_response: None,
            request_class: None,
            also_redacted: None,
        }
    }

    /// Returns a client whose errors contain no secret of these credentials either. For a call that replaces one with
    /// other credentials: a response may quote what an earlier request sent.
    #[must_use]
    pub fn with_redacted(mut self, other: Credentials) -> Self {
        self.also_redacted = Some(other);
        self
    }

    /// Returns a client whose calls end at the deadline, including all attempts and delays. Without a deadline each
    /// call may take [`ClientPoolBuilder::call_timeout`](crate::ClientPoolBuilder::call_timeout).
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<std::time::Instant>) -> Self {
        self.deadline = deadline.map(Instant::from_std);
        self
    }

    /// Returns a client whose calls end after this time from now, or at an earlier deadline.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        let deadline = Instant::now().checked_add(timeout);
        self.deadline = self.deadline.into_iter().chain(deadline).min();
        self
    }

    /// Returns a client that sends no request with less than this time left until the deadline: the caller would most
    /// likely leave before the response.
    #[must_use]
    pub fn with_min_time(mut self, min_time: Duration) -> Self {
        self.min_time = min_time;
        self
    }

    /// Returns a client whose last attempt may wait for its response until this time, although the deadline has passed.
    /// No attempt starts after the deadline. At the deadline `on_deadline` receives the error that the call would have
    /// returned.
    #[must_use]
    pub fn with_late_response(
        mut self,
        until: std::time::Instant,
        on_deadline: impl Fn(Error) + Send + Sync + 'static,
    ) -> Self {
        let until = Instant::from_std(until);
        self.late_response = Some(LateResponse { until, on_deadline: Arc::new(on_deadline) });
        self
    }

    /// Returns a client whose calls all count against one class of the rate limit. Reads that are part of a submission
    /// use [`RequestClass::Write`], so that they do not wait behind other reads.
    #[must_use]
    pub fn with_request_class(mut self, class: RequestClass) -> Self {
        self.request_class = Some(class);
        self
    }

    /// Returns the deadline of a call that starts now.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline.unwrap_or_else(|| Instant::now() + self.settings().call_timeout)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.host_state.settings
    }

    /// Returns the HTTP client for another host. No token is sent there.
    pub(crate) fn http_for(&self, host: &Host) -> &reqwest::Client {
        let own = &self.host_state.host;
        // A proxy cannot reach the loopback interface of this machine.
        let is_local = host == own || (host.is_loopback() && own.is_loopback());
        if is_local { &self.host_state.http } else { &self.host_state.cloud_http }
    }

    /// Returns the host.
    pub fn host(&self) -> &Host {
        &self.host_state.host
    }

    /// Returns the credential.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Sends a request and reads the response, which must be a JSON object.
    pub(crate) async fn call<T: Read + Send + 'static>(
        &self,
        request: &Request<'_>,
    ) -> Result<T, Error> {
        Ok(self.call_within(request, Bounds::RESPONSE).await?.0)
    }

    /// Sends a request and reads the response within these bounds. Returns the rest of them.
    ///
    /// # Errors
    ///
    /// `Decode` for a response that is not of the API, `TooLarge` for one that exceeds the bounds.
    pub(crate) async fn call_within<T: Read + Send + 'static>(
        &self,
        request: &Request<'_>,
        bounds: Bounds,
    ) -> Result<(T, Bounds), Error> {
        let CallResponse { response, version, attempts, elapsed } =
            self.send_with_retries(request).await?;
        let Response { status, body } = response;
        let failed = |error: Error| {
            let request = self.failed_request(request, version);
            error.with_status(status).with_request(request, attempts, elapsed)
        };
        let read = off_worker(body.len(), move || json::read_object(body, bounds));
        // Reading a large response takes time too.
        match tokio::time::timeout_at(self.deadline(), read).await {
            Ok(outcome) => outcome.and_then(|read| read).map_err(failed),
            Err(_elapsed) => {
                let text = "the deadline of the call has passed while its response was read";
                Err(failed(Error::new(ErrorKind::Timeout, text)))
            }
        }
    }

    /// Sends a request and returns the bytes of the response.
    pub(crate) async fn call_bytes(&self, request: &Request<'_>) -> Result<Bytes, Error> {
        self.send_with_retries(request).await.map(|call| call.response.body)
    }

    /// Sends a request until it succeeds, fails permanently, or reaches a limit.
    async fn send_with_retries(&self, request: &Request<'_>) -> Result<CallResponse, Error> {
        let settings = self.settings();
        let started = Instant::now();
        let mut random = fastrand::Rng::new();
        let deadline = self.deadline.unwrap_or_else(|| started + settings.call_timeout);
        let mut attempts = 0;
        let mut had_rejected_token = false;
        let mut previous = None;
        loop {
            let version = self.host_state.jobs_version();
            attempts += 1;
            let is_cut_short =
                deadline.saturating_duration_since(Instant::now()) < MIN_CONCLUSIVE_TIMEOUT;
            let attempt_started = Instant::now();
            // Boxed to keep the futures of callers small.
            let mut attempt = Box::pin(self.attempt(request, version, attempts, deadline));
            let outcome = match &self.late_response {
                None => attempt.await,
                Some(late) => tokio::select! {
                    outcome = &mut attempt => outcome,
                    () = tokio::time::sleep_until(deadline) => {
                        let waited = attempt_started.elapsed();
                        let error =
                            Error::new(ErrorKind::Timeout, no_response_within(waited, "response"));
                        let error = error_to_report(error, previous.take(), is_cut_short);
                        let failed = self.failed_request(request, version);
                        (late.on_deadline)(error.with_request(failed, attempts, started.elapsed()));
                        attempt.await
                    }
                },
            };
            let error = match outcome {
                Ok(response) => {
                    let elapsed = started.elapsed();
                    return Ok(CallResponse { response, version, attempts, elapsed });
                }
                Err(error) => error,
            };
            let is_unsent = error.is_unsent();
            if is_unsent {
                attempts -= 1;
            }
            // A rejected token had no effect: retry once with a new one. A login page with status 200 is no proof of a
            // rejection.
            if !had_rejected_token
                && error.is_token_rejected()
                && (request.is_idempotent || !error.has_success_status())
            {
                had_rejected_token = true;
                if error
                    .token_generation()
                    .is_some_and(|generation| self.credentials.invalidate(self.host(), generation))
                {
                    continue;
                }
            }
            // The gateway did not forward the request, so it had no effect. Only version 2.2 falls back, so this
            // happens once.
            if request.is_versioned()
                && error.is_unknown_api_version()
                && self.host_state.fall_back(version)
            {
                continue;
            }
            let is_transient =
                error.is_retryable() && is_worth_retrying(&error, self.class_of(request));
            let failure = Failure { is_transient, retry_after: error.retry_after() };
            let progress = Progress {
                attempts,
                elapsed: started.elapsed(),
                left: deadline.saturating_duration_since(Instant::now()),
            };
            let is_idempotent = request.is_idempotent || is_unsent;
            match settings.retry.next_delay(failure, is_idempotent, progress, &mut random) {
                Some(delay) => {
                    previous = Some(error);
                    tokio::time::sleep(delay).await;
                }
                None => {
                    return Err(error_to_report(error, previous, is_cut_short).with_request(
                        self.failed_request(request, version),
                        attempts,
                        started.elapsed(),
                    ));
                }
            }
        }
    }

    /// Sends a request once: fetches the token, waits for admission, and sends.
    async fn attempt(
        &self,
        request: &Request<'_>,
        version: &'static str,
        number: u32,
        deadline: Instant,
    ) -> Result<Response, Error> {
        let settings = self.settings();
        let state = &*self.host_state;
        let time_left = || {
            let left = deadline.saturating_duration_since(Instant::now());
            let expired = || {
                Error::new(ErrorKind::Timeout, "the deadline of the call has passed")
                    .before_sending()
            };
            (!left.is_zero()).then_some(left).ok_or_else(expired)
        };
        let admission_deadline = |left: Duration| Instant::now() + retry::rate_limit_timeout(left);
        let left = time_left()?;
        // Before admission, since a token endpoint that fails is not a failure of the workspace.
        let auth = self
            .credentials
            .headers(FetchContext {
                host: &state.host,
                workspace_http: &state.http,
                cloud_http: &state.cloud_http,
                observer: state.admission.observer(),
                deadline,
            })
            .await?;
        let class = self.class_of(request);
        let admitted =
            state.admission.admit(&self.limiter, class, admission_deadline(left)).await?;
        let sent_at = Instant::now();
        let left = time_left()?;
        let mut timeout = settings.retry.attempt_timeout(
            settings.request_timeout,
            request.is_idempotent,
            number,
            left,
        );
        if left < self.min_time {
            return Err(too_late(left));
        }
        if let Some(late) = &self.late_response {
            // Without time for another attempt, this one waits on.
            if timeout >= left {
                let late = late.until.saturating_duration_since(sent_at);
                timeout = timeout.max(late.min(settings.request_timeout));
            }
        }
        let timeout = admitted.timeout(timeout);
        let (path, endpoint) = (request.path(version), request.name());
        let span = trace::workspace_span(&state.host, &request.method, endpoint, number);
        let propagator = settings.trace_propagator.as_ref();
        let http_request = HttpRequest {
            method: request.method.clone(),
            url: format!("{}{path}{}", state.host.base_url(), request.suffix),
            query: request.query,
            range: request.range,
            body: request.body.as_ref(),
            subject: request.subject,
            auth_headers: &auth.headers,
            workspace_header: state.host.workspace_header(),
            user_agent: state.user_agent(&self.credentials),
            trace_headers: propagator
                .map(|propagator| span.in_scope(|| propagator.headers()))
                .unwrap_or_default(),
            timeout,
            max_response_bytes: settings.max_response_bytes,
            redact: &|text| {
                let text = redact(text, &self.credentials, &auth);
                match &self.also_redacted {
                    Some(other) => other.redact(&text),
                    None => text,
                }
            },
        };
        let outcome = transport::send(&state.http, http_request).instrument(span.clone()).await;
        let duration = sent_at.elapsed();
        admitted.finish(&outcome, AttemptInfo { endpoint, number, timeout, duration });
        let (status, failure) = match &outcome {
            Ok(response) => (Some(response.status), None),
            Err(error) => (error.status(), Some(error.kind())),
        };
        trace::record_result(&span, status, outcome.as_ref().err());
        debug!(
            host = %state.host,
            method = %request.method,
            path,
            attempt = number,
            status,
            failure = failure.map(tracing::field::debug),
            "databricks request"
        );
        outcome.map_err(|error| error.with_token_generation(auth.token_generation))
    }

    fn class_of(&self, request: &Request<'_>) -> RequestClass {
        self.request_class.unwrap_or_else(|| request.class())
    }

    fn failed_request(&self, request: &Request<'_>, version: &str) -> FailedRequest {
        FailedRequest {
            method: request.method.clone(),
            path: request.path(version),
            host: self.host_state.host.clone(),
        }
    }
}

/// The error of a request that is not sent because the caller would most likely leave before the response.
fn too_late(left: Duration) -> Error {
    let text = format!("not sent: only {} ms of the caller's time were left", left.as_millis());
    Error::new(ErrorKind::Timeout, text).before_sending()
}

/// Removes the credential's secrets from an error body, and the headers that were sent: the cache may have replaced
/// their token meanwhile.
fn redact(text: &str, credentials: &Credentials, sent: &AuthHeaders) -> String {
    credentials.redact(&sent.redact(text))
}

/// Returns the error to report: an attempt that the deadline cut short is less informative than the one before.
fn error_to_report(last: Error, previous: Option<Error>, is_cut_short: bool) -> Error {
    previous.filter(|_| is_cut_short && last.is_client_timeout()).unwrap_or(last)
}

/// True if another attempt is worth the wait. Only writes wait for a host that is down: a failed submission costs a
/// task attempt, whereas a read is repeated anyway.
fn is_worth_retrying(error: &Error, class: RequestClass) -> bool {
    match error.kind() {
        ErrorKind::Throttled => false,
        ErrorKind::HostDown => class == RequestClass::Write,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, header};

    use super::*;

    #[test]
    fn attempt_cut_short_by_the_deadline_does_not_hide_the_previous_error() {
        let reported = |last, previous: Option<ErrorKind>, is_cut_short| {
            let previous = previous.map(|kind| Error::new(kind, "x"));
            error_to_report(Error::new(last, "x"), previous, is_cut_short).kind()
        };
        let (unavailable, timeout) = (ErrorKind::Unavailable, ErrorKind::Timeout);
        assert_eq!(reported(timeout, Some(unavailable), true), unavailable);
        // The workspace had enough time to respond.
        assert_eq!(reported(timeout, Some(unavailable), false), timeout);
        assert_eq!(reported(timeout, None, true), timeout);
        assert_eq!(reported(ErrorKind::Connect, Some(unavailable), true), ErrorKind::Connect);
    }

    #[test]
    fn token_replaced_during_its_request_is_redacted() {
        // The cache does not contain the token that was sent.
        let credentials = Credentials::token_file("mounted", "/nowhere");
        let sent = AuthHeaders {
            headers: vec![
                (header::AUTHORIZATION, HeaderValue::from_static("Bearer canary-old")),
                (HeaderName::from_static("x-more"), HeaderValue::from_static("canary-more")),
            ],
            token_generation: 1,
        };
        let echoed = redact("Bearer canary-old, canary-more", &credentials, &sent);
        assert_eq!(echoed, "Bearer [redacted], [redacted]");
    }
}
