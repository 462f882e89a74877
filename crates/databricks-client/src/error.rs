//! The error of a failed call.
//!
//! Maps each response of Databricks to an [`ErrorKind`] and decides which errors are transient. Parsing of error bodies
//! is in `body`, the meaning of a refusal in `refusal`. The decision to retry belongs to `http::retry`.

mod body;
mod refusal;

use std::{error::Error as StdError, fmt, time::Duration};

use http::Method;

use crate::{Host, http::request::Subject};

pub(crate) use body::ErrorBody;

/// Declares the kinds with their list and their names.
macro_rules! error_kinds {
    ($($(#[$doc:meta])* $kind:ident,)*) => {
        /// The kind of an error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind { $($(#[$doc])* $kind,)* }

        impl ErrorKind {
            /// Every kind.
            pub const ALL: [Self; [$(stringify!($kind)),*].len()] = [$(Self::$kind,)*];

            /// Returns the name, such as `RateLimited`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind),)* }
            }
        }
    };
}

error_kinds! {
    /// The client could not be set up, or the credential cannot be sent. Not retried.
    Config,
    /// No connection, or it broke before the end of the response. Retried.
    Connect,
    /// No response before the timeout or the caller's deadline. Retried while there is time.
    Timeout,
    /// 401, another response that rejects the token (databricks-api.md#rejected-tokens), or a login page or a redirect to
    /// one. Not retried.
    Unauthenticated,
    /// 403. Not retried.
    Forbidden,
    /// The workspace reports that the run does not exist (databricks-api.md#missing-runs). Not retried.
    RunNotFound,
    /// Any other 404, or a workspace that is not active. Not retried.
    NotFound,
    /// The workspace rejected the content of the request. Not retried.
    Invalid,
    /// 409. Not retried.
    Conflict,
    /// 429. Retried.
    RateLimited,
    /// Not sent: the client-side rate limit admitted no request before the deadline. Transient.
    Throttled,
    /// Not sent: the circuit breaker of the host is open. Transient; a read is not retried, a write waits for the host.
    HostDown,
    /// 5xx, or a message that signals a transient failure (databricks-api.md#retry-rules). Retried, except 501.
    Unavailable,
    /// The response is not one of the API: other JSON, or a redirect, which is never followed. Not retried.
    Decode,
    /// The response exceeds the limit. Not retried.
    TooLarge,
}

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

/// Returns the kind of an error response, and whether it is transient (databricks-api.md#error-codes,
/// databricks-api.md#retry-rules).
fn kind_of(status: u16, body: &ErrorBody, subject: Subject) -> (ErrorKind, bool) {
    // A 403 stays what Databricks calls it.
    if status != 403 && refusal::rejects_token(status, body) {
        return (ErrorKind::Unauthenticated, false);
    }
    if status != 403 && status != 429 && body.is_transient() {
        return (ErrorKind::Unavailable, true);
    }
    // The same code in the response to a submission is about something that the submission refers to.
    if matches!(status, 400 | 404) && body.is_run_not_found(subject) {
        return (ErrorKind::RunNotFound, false);
    }
    if subject != Subject::NoRun && matches!(status, 400 | 403 | 404) && body.names_lost_workspace()
    {
        return (ErrorKind::NotFound, false);
    }
    match status {
        403 => (ErrorKind::Forbidden, false),
        404 => (ErrorKind::NotFound, false),
        408 => (ErrorKind::Timeout, true),
        409 => (ErrorKind::Conflict, false),
        429 => (ErrorKind::RateLimited, true),
        501 => (ErrorKind::Unavailable, false),
        500..=599 => (ErrorKind::Unavailable, true),
        400..=499 => kind_of_code(body.code.as_deref().unwrap_or_default()),
        // Redirects are never followed: a token must not leave its host.
        _ => (ErrorKind::Decode, false),
    }
}

/// Returns the kind for an error code. Some services return 400 where others use a more specific status
/// (databricks-api.md#error-codes).
fn kind_of_code(code: &str) -> (ErrorKind, bool) {
    match code {
        "UNAUTHENTICATED" | "CUSTOMER_UNAUTHORIZED" => (ErrorKind::Unauthenticated, false),
        "PERMISSION_DENIED" => (ErrorKind::Forbidden, false),
        "ALREADY_EXISTS" | "RESOURCE_ALREADY_EXISTS" | "RESOURCE_CONFLICT" => {
            (ErrorKind::Conflict, false)
        }
        "RESOURCE_EXHAUSTED" | "REQUEST_LIMIT_EXCEEDED" => (ErrorKind::RateLimited, true),
        "TEMPORARILY_UNAVAILABLE"
        | "SERVICE_UNDER_MAINTENANCE"
        | "WORKSPACE_TEMPORARILY_UNAVAILABLE" => (ErrorKind::Unavailable, true),
        _ => (ErrorKind::Invalid, false),
    }
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

    #[track_caller]
    fn check(status: u16, body: &str, kind: ErrorKind, transient: bool) {
        let error =
            Error::from_response(status, ErrorBody::parse(body.as_bytes()), None, Subject::Run);
        assert_eq!((error.kind(), error.is_retryable()), (kind, transient), "{status} {body}");
    }

    #[test]
    fn each_status_has_a_kind() {
        check(400, "", ErrorKind::Invalid, false);
        check(400, r#"{"error_code": "COULD_NOT_ACQUIRE_LOCK"}"#, ErrorKind::Unavailable, true);
        check(400, r#"{"message": "Unknown worker environment"}"#, ErrorKind::Unavailable, true);
        check(400, r#"{"message": "Run 1 does not exist."}"#, ErrorKind::RunNotFound, false);
        check(404, r#"{"message": "Run 1 does not exist."}"#, ErrorKind::RunNotFound, false);
        check(404, r#"{"message": "Workspace 7 is not active"}"#, ErrorKind::NotFound, false);
        check(403, r#"{"message": "This workspace is not active."}"#, ErrorKind::NotFound, false);
        check(400, r#"{"error_code": "REQUEST_LIMIT_EXCEEDED"}"#, ErrorKind::RateLimited, true);
        check(400, r#"{"error_code": "TEMPORARILY_UNAVAILABLE"}"#, ErrorKind::Unavailable, true);
        check(400, r#"{"error_code": "PERMISSION_DENIED"}"#, ErrorKind::Forbidden, false);
        check(400, r#"{"error_code": "UNAUTHENTICATED"}"#, ErrorKind::Unauthenticated, false);
        check(400, r#"{"error_code": "RESOURCE_ALREADY_EXISTS"}"#, ErrorKind::Conflict, false);
        // A quota does not recover soon (databricks-api.md#limits).
        check(400, r#"{"error_code": "QUOTA_EXCEEDED"}"#, ErrorKind::Invalid, false);
        check(500, r#"{"message": "Run 1 does not exist."}"#, ErrorKind::Unavailable, true);
        check(403, r#"{"message": "Run 1 does not exist."}"#, ErrorKind::Forbidden, false);
        check(408, "", ErrorKind::Timeout, true);
        check(401, "", ErrorKind::Unauthenticated, false);
        check(
            403,
            "<html><title>Invalid access token.</title></html>",
            ErrorKind::Forbidden,
            false,
        );
        check(403, r#"{"message": "Unexpected error"}"#, ErrorKind::Forbidden, false);
        check(404, "<html></html>", ErrorKind::NotFound, false);
        check(409, "", ErrorKind::Conflict, false);
        check(422, "", ErrorKind::Invalid, false);
        check(429, "", ErrorKind::RateLimited, true);
        for status in [500, 502, 503, 504, 599] {
            check(status, "", ErrorKind::Unavailable, true);
        }
        check(501, "", ErrorKind::Unavailable, false);
        for status in [301, 302, 307] {
            check(status, "", ErrorKind::Decode, false);
        }
    }

    #[test]
    fn request_without_a_run_never_fails_as_run_not_found() {
        for (text, kind) in [
            (r#"{"message": "Run as user x does not exist"}"#, ErrorKind::Invalid),
            (r#"{"error_code": "RESOURCE_DOES_NOT_EXIST"}"#, ErrorKind::Invalid),
            (r#"{"error_code": "INVALID_PARAMETER_VALUE"}"#, ErrorKind::Invalid),
        ] {
            let body = ErrorBody::parse(text.as_bytes());
            assert_eq!(Error::from_response(400, body, None, Subject::NoRun).kind(), kind);
        }
    }

    #[test]
    fn code_and_call_decide_that_a_run_does_not_exist_in_any_wording() {
        use {ErrorKind::*, Subject::*};
        for (subject, status, code, kind) in [
            (OnlyRun, 400, "INVALID_PARAMETER_VALUE", RunNotFound),
            (Run, 400, "INVALID_PARAMETER_VALUE", Invalid),
            (OnlyRun, 404, "RESOURCE_DOES_NOT_EXIST", RunNotFound),
            (Run, 404, "RESOURCE_DOES_NOT_EXIST", RunNotFound),
            (Run, 400, "NOT_FOUND", RunNotFound),
            (OnlyRun, 404, "ENDPOINT_NOT_FOUND", NotFound),
            (OnlyRun, 404, "FEATURE_DISABLED", NotFound),
            (OnlyRun, 403, "PERMISSION_DENIED", Forbidden),
            (OnlyRun, 500, "RESOURCE_DOES_NOT_EXIST", Unavailable),
        ] {
            let text = format!(r#"{{"error_code": "{code}", "message": "运行不存在"}}"#);
            let error =
                Error::from_response(status, ErrorBody::parse(text.as_bytes()), None, subject);
            assert_eq!(error.kind(), kind, "{subject:?} {status} {code}");
        }
        let text = r#"{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run 7 of workspace 12 has been deleted"}"#;
        let error = Error::from_response(404, ErrorBody::parse(text.as_bytes()), None, OnlyRun);
        assert_eq!(error.kind(), RunNotFound);
        // A transient failure has the same code at times.
        let text =
            r#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "Unknown worker environment"}"#;
        let error = Error::from_response(400, ErrorBody::parse(text.as_bytes()), None, OnlyRun);
        assert_eq!(error.kind(), Unavailable);
    }

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
