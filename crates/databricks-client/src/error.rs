//! The error of a failed call.
//!
//! The kind of a response is in `kind`, parsing of error bodies in `body`, the meaning of a refusal in `refusal`. The
//! decision to retry belongs to `http::retry`.

mod body;
mod kind;
mod refusal;

use std::{error::Error as StdError, fmt, time::Duration};

use http::Method;

use crate::{Host, http::request::Subject};

pub(crate) use body::ErrorBody;
pub use kind::ErrorKind;
use kind::kind_of;

/// The error of a failed call: the request, the response, the number of attempts and the elapsed time.
///
/// Contains no token and no query, and of the body only the message of Databricks.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    request: Option<FailedRequest>,
    status: Option<u16>,
    body: ErrorBody,
    retry_after: Option<Duration>,
    attempts: u32,
    elapsed: Duration,
    transient: bool,
    /// Whether it failed before a request was sent to the API.
    before_sending: bool,
    /// The generation of the token that the request carried.
    token_generation: Option<u64>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The request of a call.
#[derive(Debug, Clone)]
pub(crate) struct FailedRequest {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) host: Host,
}

impl Error {
    /// Creates an error without a response.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            request: None,
            status: None,
            body: ErrorBody::default(),
            retry_after: None,
            attempts: 0,
            elapsed: Duration::ZERO,
            transient: matches!(
                kind,
                ErrorKind::Connect
                    | ErrorKind::Timeout
                    | ErrorKind::RateLimited
                    | ErrorKind::Throttled
                    | ErrorKind::HostDown
                    | ErrorKind::Unavailable
            ),
            before_sending: false,
            token_generation: None,
            source: None,
        }))
    }

    /// Creates the error of a response with an error status.
    pub(crate) fn from_response(
        status: u16,
        body: ErrorBody,
        retry_after: Option<Duration>,
        subject: Subject,
    ) -> Self {
        let (kind, transient) = kind_of(status, &body, subject);
        let message = match (&body.message, &body.code) {
            (Some(message), Some(code)) => format!("{status}, {code}: {message}"),
            (Some(message), None) => format!("{status}: {message}"),
            (None, Some(code)) => format!("{status}, {code}"),
            (None, None) => status.to_string(),
        };
        let retry_after = retry_after.or(body.retry_after);
        let wait = match retry_after.filter(|_| kind == ErrorKind::RateLimited) {
            Some(wait) => format!(", and asks to wait {} s", wait.as_secs_f64().ceil()),
            None => String::new(),
        };
        let mut error = Self::new(kind, format!("Databricks returned {message}{wait}"));
        error.0.status = Some(status);
        error.0.retry_after = retry_after;
        error.0.body = body;
        error.0.transient = transient;
        error
    }

    pub(crate) fn with_body(mut self, body: ErrorBody) -> Self {
        self.0.body = body;
        self
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    pub(crate) fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.0.retry_after = Some(retry_after);
        self
    }

    pub(crate) fn with_token_generation(mut self, generation: u64) -> Self {
        self.0.token_generation = Some(generation);
        self
    }

    /// Returns the generation of the token that the request carried. None if it was not sent.
    pub(crate) fn token_generation(&self) -> Option<u64> {
        self.0.token_generation
    }

    /// True if the API rejected the token itself (databricks-api.md#rejected-tokens), or answered with a login page.
    pub fn is_token_rejected(&self) -> bool {
        !self.0.before_sending
            && (self.0.kind == ErrorKind::Unauthenticated
                || self.0.status.is_some_and(|status| refusal::rejects_token(status, &self.0.body)))
    }

    /// True if no token was obtained, so that no request was sent to the API.
    pub fn is_token_denied(&self) -> bool {
        self.0.before_sending && self.0.kind == ErrorKind::Unauthenticated
    }

    /// True if the network address of this process was rejected, by the API or by a token endpoint.
    pub fn is_address_rejected(&self) -> bool {
        refusal::rejects_address(&self.0.body)
    }

    /// Marks an error that occurred before a request was sent to the API.
    pub(crate) fn before_sending(mut self) -> Self {
        self.0.before_sending = true;
        self
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_request(
        mut self,
        request: FailedRequest,
        attempts: u32,
        elapsed: Duration,
    ) -> Self {
        self.0.request = Some(request);
        self.0.attempts = attempts;
        self.0.elapsed = elapsed;
        self
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the HTTP status, if there was a response.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Returns the error code of Databricks, such as `INVALID_PARAMETER_VALUE`.
    pub fn api_code(&self) -> Option<&str> {
        self.0.body.code.as_deref()
    }

    /// Returns the error message of Databricks.
    pub fn api_message(&self) -> Option<&str> {
        self.0.body.message.as_deref()
    }

    /// Returns the request id, which identifies the request to Databricks' support.
    pub fn request_id(&self) -> Option<&str> {
        self.0.body.request_id.as_deref()
    }

    /// Returns how many requests the call sent.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Returns the time from the start of the call to its failure.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// Returns the delay before another call may succeed, if known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// True if the failure is transient, so that another attempt may succeed.
    pub fn is_retryable(&self) -> bool {
        self.0.transient
    }

    /// True if a write may have had an effect. An earlier attempt may have, even if the last one was rejected or not
    /// sent.
    pub fn may_have_effect(&self) -> bool {
        let has_earlier_attempt = self.0.attempts > u32::from(!self.is_unsent());
        has_earlier_attempt
            || !self.0.before_sending
                && (self.has_success_status()
                    || matches!(
                        self.0.kind,
                        ErrorKind::Connect
                            | ErrorKind::Timeout
                            | ErrorKind::Unavailable
                            | ErrorKind::Decode
                            | ErrorKind::TooLarge
                    ))
    }

    /// True for a 2xx response that could not be understood.
    pub(crate) fn has_success_status(&self) -> bool {
        self.0.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// True if the last attempt was not sent.
    pub(crate) fn is_unsent(&self) -> bool {
        self.0.before_sending || matches!(self.0.kind, ErrorKind::Throttled | ErrorKind::HostDown)
    }

    /// True for a timeout of the client, not for a 408 response.
    pub(crate) fn is_client_timeout(&self) -> bool {
        self.0.kind == ErrorKind::Timeout && self.0.status.is_none()
    }

    /// True if the gateway does not know the version of the API.
    pub(crate) fn is_unknown_api_version(&self) -> bool {
        self.0.status == Some(404) && self.0.body.is_unknown_api_version()
    }
}

/// Renders an error and its sources, separated by colons. Omits a source whose text is already part of the result.
pub fn error_chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = cause.source();
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        if let Some(FailedRequest { method, path, host }) = &inner.request {
            write!(f, "{method} {path} at {host}: ")?;
        }
        f.write_str(&inner.message)?;
        if let Some(id) = self.request_id() {
            write!(f, " (request {id})")?;
        }
        if inner.attempts > 1 || (self.is_unsent() && inner.attempts == 1) {
            write!(
                f,
                " (after {} attempts in {:.1} s)",
                inner.attempts,
                inner.elapsed.as_secs_f64()
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.to_string())
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_header_takes_precedence_over_the_body() {
        let body =
            || ErrorBody { retry_after: Some(Duration::from_secs(9)), ..ErrorBody::default() };
        let wait = |header| Error::from_response(429, body(), header, Subject::NoRun).retry_after();
        assert_eq!(wait(Some(Duration::from_secs(2))), Some(Duration::from_secs(2)));
        assert_eq!(wait(None), Some(Duration::from_secs(9)));
        let limited = Error::from_response(429, body(), None, Subject::NoRun);
        assert_eq!(limited.to_string(), "Databricks returned 429, and asks to wait 9 s");
    }

    #[test]
    fn write_may_have_effect_unless_every_attempt_was_rejected_or_unsent() {
        let may = |kind, attempts| {
            let request = FailedRequest {
                method: Method::POST,
                path: "/api".to_owned(),
                host: "h.example".parse().unwrap(),
            };
            Error::new(kind, "x").with_request(request, attempts, Duration::ZERO).may_have_effect()
        };
        for unsent in [ErrorKind::Throttled, ErrorKind::HostDown] {
            assert_eq!([may(unsent, 0), may(unsent, 1)], [false, true], "{unsent:?}");
        }
        for rejected in [ErrorKind::Invalid, ErrorKind::RateLimited, ErrorKind::Forbidden] {
            assert_eq!([may(rejected, 1), may(rejected, 2)], [false, true], "{rejected:?}");
        }
        for lost in [ErrorKind::Connect, ErrorKind::Timeout, ErrorKind::Unavailable] {
            assert!(may(lost, 1), "{lost:?}");
        }
        // A login page with status 200 may hide the success of a submission.
        let page = |status| Error::new(ErrorKind::Unauthenticated, "x").with_status(status);
        assert!(page(200).may_have_effect() && !page(302).may_have_effect());
    }

    #[test]
    fn message_contains_the_request_the_response_and_the_attempts() {
        let body = ErrorBody {
            code: Some("X".to_owned()),
            message: Some("m".to_owned()),
            ..ErrorBody::default()
        };
        let request = FailedRequest {
            method: Method::GET,
            path: "/api".to_owned(),
            host: "h.example".parse().unwrap(),
        };
        let error = Error::from_response(503, body, None, Subject::Run).with_request(
            request,
            3,
            Duration::from_millis(1500),
        );
        assert_eq!(
            error.to_string(),
            "GET /api at h.example: Databricks returned 503, X: m (after 3 attempts in 1.5 s)"
        );
    }
    #[test]
    fn error_chain_renders_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Cause(&'static str, #[source] Option<Box<Self>>);
        let inner = Cause("refused", None);
        let repeated = Cause("connect error: refused", Some(Box::new(inner)));
        let outer = Cause("cannot read x", Some(Box::new(repeated)));
        assert_eq!(error_chain(&outer), "cannot read x: connect error: refused");
    }
}
