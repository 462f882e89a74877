//! Why a call to Databricks failed.

use std::{error::Error as StdError, fmt, time::Duration};

use http::Method;

use crate::{Host, error_body::ErrorBody};

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The client could not be set up, or the credential cannot be sent. Not retried.
    Config,
    /// No connection, or it broke before an answer came. Retried.
    Connect,
    /// No answer in time, ours or the caller's. Retried while there is time.
    Timeout,
    /// 401, or a login page, or the way to one, in place of an answer. Not retried.
    Unauthenticated,
    /// 403. Not retried.
    Forbidden,
    /// The workspace says that there is no such run (DA §3.3). Not retried.
    RunNotFound,
    /// Any other 404. Not retried.
    NotFound,
    /// The workspace refused what the request says. Not retried.
    Invalid,
    /// 409. Not retried.
    Conflict,
    /// 429. Retried.
    RateLimited,
    /// Not sent: the budget of the workspace and credential was full for as long as the caller had. Passes.
    Throttled,
    /// Not sent: the host has failed too often. Passes; a read is not tried again, a write waits for the host.
    HostDown,
    /// 5xx, or a message that signals something that passes (DA §4.1). Retried, but for 501.
    Unavailable,
    /// The answer is not what the API gives: other JSON, or a redirect, which is never followed. Not retried.
    Decode,
    /// The answer is larger than the limit. Not retried.
    TooLarge,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Config,
        Self::Connect,
        Self::Timeout,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::RunNotFound,
        Self::NotFound,
        Self::Invalid,
        Self::Conflict,
        Self::RateLimited,
        Self::Throttled,
        Self::HostDown,
        Self::Unavailable,
        Self::Decode,
        Self::TooLarge,
    ];

    /// Returns the name, such as `RateLimited`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "Config",
            Self::Connect => "Connect",
            Self::Timeout => "Timeout",
            Self::Unauthenticated => "Unauthenticated",
            Self::Forbidden => "Forbidden",
            Self::RunNotFound => "RunNotFound",
            Self::NotFound => "NotFound",
            Self::Invalid => "Invalid",
            Self::Conflict => "Conflict",
            Self::RateLimited => "RateLimited",
            Self::Throttled => "Throttled",
            Self::HostDown => "HostDown",
            Self::Unavailable => "Unavailable",
            Self::Decode => "Decode",
            Self::TooLarge => "TooLarge",
        }
    }
}

/// Why a call failed: what was called, what came back, how often and how long it was tried.
///
/// It never holds a token, a query or a body beyond Databricks' own message.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    what: String,
    call: Option<Call>,
    status: Option<u16>,
    body: ErrorBody,
    retry_after: Option<Duration>,
    attempts: u32,
    elapsed: Duration,
    transient: bool,
    /// Failed before anything was sent to the API.
    before_sending: bool,
    /// The token that the failed call bore.
    proof: Option<u64>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What was called.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) host: Host,
}

impl Error {
    /// A failure without an answer.
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            what: what.into(),
            call: None,
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
            proof: None,
            source: None,
        }))
    }

    /// A failed answer, to a call that names a run or to another.
    pub(crate) fn of_answer(
        status: u16,
        body: ErrorBody,
        retry_after: Option<Duration>,
        names_a_run: bool,
    ) -> Self {
        let (kind, transient) = kind_of(status, &body, names_a_run);
        let what = match (&body.message, &body.code) {
            (Some(message), Some(code)) => format!("{status}, {code}: {message}"),
            (Some(message), None) => format!("{status}: {message}"),
            (None, Some(code)) => format!("{status}, {code}"),
            (None, None) => status.to_string(),
        };
        let mut error = Self::new(kind, format!("Databricks answered {what}"));
        error.0.status = Some(status);
        error.0.retry_after = retry_after.or(body.retry_after);
        error.0.body = body;
        error.0.transient = transient;
        error
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    pub(crate) fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.0.retry_after = Some(retry_after);
        self
    }

    /// Adds which token the call bore.
    pub(crate) fn with_proof(mut self, proof: u64) -> Self {
        self.0.proof = Some(proof);
        self
    }

    /// Which token the call bore; none when it was not sent.
    pub(crate) fn proof(&self) -> Option<u64> {
        self.0.proof
    }

    /// Whether the API refused the token itself: 401, a login page, or the 403 of a token that ends too soon
    /// (DA §4.5).
    pub(crate) fn is_refused_token(&self) -> bool {
        let ends = |message: &str| {
            let message = message.to_ascii_lowercase();
            message.contains("token is expir") || message.contains("token expired")
        };
        match self.0.kind {
            ErrorKind::Unauthenticated => !self.0.before_sending,
            ErrorKind::Forbidden => self.api_message().is_some_and(ends),
            _ => false,
        }
    }

    /// The same failure, from before anything was sent to the API.
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

    pub(crate) fn with_call(mut self, call: Call, attempts: u32, elapsed: Duration) -> Self {
        self.0.call = Some(call);
        self.0.attempts = attempts;
        self.0.elapsed = elapsed;
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The HTTP status, if an answer came.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Databricks' own code, such as `INVALID_PARAMETER_VALUE`.
    pub fn api_code(&self) -> Option<&str> {
        self.0.body.code.as_deref()
    }

    /// Databricks' own words.
    pub fn api_message(&self) -> Option<&str> {
        self.0.body.message.as_deref()
    }

    /// The id under which Databricks' support finds the request.
    pub fn request_id(&self) -> Option<&str> {
        self.0.body.request_id.as_deref()
    }

    /// How often the call was sent.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// From the first try to the last answer.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// How long Databricks asks to wait, or how long it makes no sense to ask again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the failure passes by itself, so that another try may succeed.
    pub fn is_retryable(&self) -> bool {
        self.0.transient
    }

    /// Whether a write may have been done although no answer said so: an earlier try may have been lost even when the
    /// last one was refused, or not sent.
    pub fn may_have_effect(&self) -> bool {
        let earlier = self.0.attempts > u32::from(!self.is_unsent());
        earlier
            || !self.0.before_sending
                && (self.is_told_as_success()
                    || matches!(
                        self.0.kind,
                        ErrorKind::Connect
                            | ErrorKind::Timeout
                            | ErrorKind::Unavailable
                            | ErrorKind::Decode
                            | ErrorKind::TooLarge
                    ))
    }

    /// Whether the answer said success, in words that nobody understood.
    pub(crate) fn is_told_as_success(&self) -> bool {
        self.0.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// Whether the last try was not even sent.
    pub(crate) fn is_unsent(&self) -> bool {
        self.0.before_sending || matches!(self.0.kind, ErrorKind::Throttled | ErrorKind::HostDown)
    }

    /// Whether time ran out before anything came.
    pub(crate) fn is_without_answer_in_time(&self) -> bool {
        self.0.kind == ErrorKind::Timeout && self.0.status.is_none()
    }

    /// Whether a gateway does not know the version of the API.
    pub(crate) fn is_bad_target(&self) -> bool {
        self.0.status == Some(404) && self.0.body.is_bad_target()
    }
}

/// The kind of a failed answer, and whether it passes by itself (DA §3.5, §4.1).
fn kind_of(status: u16, body: &ErrorBody, names_a_run: bool) -> (ErrorKind, bool) {
    // A submission may be told that what it names does not exist; no run of the caller's is gone then.
    if names_a_run && matches!(status, 400 | 404) && body.is_run_gone() {
        return (ErrorKind::RunNotFound, false);
    }
    if status != 401 && status != 403 && status != 429 && body.is_transient() {
        return (ErrorKind::Unavailable, true);
    }
    match status {
        401 => (ErrorKind::Unauthenticated, false),
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

/// The kind of a 400 or the like, which some services answer where others choose a status that says more (DA §3.5).
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
        if let Some(Call { method, path, host }) = &inner.call {
            write!(f, "{method} {path} at {host}: ")?;
        }
        f.write_str(&inner.what)?;
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
        let error = Error::of_answer(status, ErrorBody::parse(body.as_bytes()), None, true);
        assert_eq!((error.kind(), error.is_retryable()), (kind, transient), "{status} {body}");
    }

    #[test]
    fn every_status_has_its_kind() {
        check(400, "", ErrorKind::Invalid, false);
        check(400, r#"{"error_code": "COULD_NOT_ACQUIRE_LOCK"}"#, ErrorKind::Unavailable, true);
        check(400, r#"{"message": "Unknown worker environment"}"#, ErrorKind::Unavailable, true);
        check(400, r#"{"message": "Run 1 does not exist."}"#, ErrorKind::RunNotFound, false);
        check(404, r#"{"message": "Run 1 does not exist."}"#, ErrorKind::RunNotFound, false);
        check(400, r#"{"error_code": "REQUEST_LIMIT_EXCEEDED"}"#, ErrorKind::RateLimited, true);
        check(400, r#"{"error_code": "TEMPORARILY_UNAVAILABLE"}"#, ErrorKind::Unavailable, true);
        check(400, r#"{"error_code": "PERMISSION_DENIED"}"#, ErrorKind::Forbidden, false);
        check(400, r#"{"error_code": "UNAUTHENTICATED"}"#, ErrorKind::Unauthenticated, false);
        check(400, r#"{"error_code": "RESOURCE_ALREADY_EXISTS"}"#, ErrorKind::Conflict, false);
        // A quota is not given back soon (DA §3.6).
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
    fn a_call_that_names_no_run_is_never_told_that_its_run_is_gone() {
        let body = ErrorBody::parse(br#"{"message": "Run as user x does not exist"}"#);
        assert_eq!(Error::of_answer(400, body, None, false).kind(), ErrorKind::Invalid);
    }

    #[test]
    fn the_header_of_an_answer_tells_the_wait_before_its_body() {
        let body =
            || ErrorBody { retry_after: Some(Duration::from_secs(9)), ..ErrorBody::default() };
        let wait = |header| Error::of_answer(429, body(), header, false).retry_after();
        assert_eq!(wait(Some(Duration::from_secs(2))), Some(Duration::from_secs(2)));
        assert_eq!(wait(None), Some(Duration::from_secs(9)));
    }

    #[test]
    fn a_write_may_have_been_done_unless_every_try_was_refused_or_kept_back() {
        let may = |kind, attempts| {
            let call = Call {
                method: Method::POST,
                path: "/api".to_owned(),
                host: "h.example".parse().unwrap(),
            };
            Error::new(kind, "x").with_call(call, attempts, Duration::ZERO).may_have_effect()
        };
        for unsent in [ErrorKind::Throttled, ErrorKind::HostDown] {
            assert_eq!([may(unsent, 0), may(unsent, 1)], [false, true], "{unsent:?}");
        }
        for refused in [ErrorKind::Invalid, ErrorKind::RateLimited, ErrorKind::Forbidden] {
            assert_eq!([may(refused, 1), may(refused, 2)], [false, true], "{refused:?}");
        }
        for lost in [ErrorKind::Connect, ErrorKind::Timeout, ErrorKind::Unavailable] {
            assert!(may(lost, 1), "{lost:?}");
        }
        // A page in place of the answer to a submission may hide its success.
        let page = |status| Error::new(ErrorKind::Unauthenticated, "x").with_status(status);
        assert!(page(200).may_have_effect() && !page(302).may_have_effect());
    }

    #[test]
    fn the_message_tells_the_call_the_answer_and_the_tries() {
        let body = ErrorBody {
            code: Some("X".to_owned()),
            message: Some("m".to_owned()),
            ..ErrorBody::default()
        };
        let call = Call {
            method: Method::GET,
            path: "/api".to_owned(),
            host: "h.example".parse().unwrap(),
        };
        let error =
            Error::of_answer(503, body, None, true).with_call(call, 3, Duration::from_millis(1500));
        assert_eq!(
            error.to_string(),
            "GET /api at h.example: Databricks answered 503, X: m (after 3 attempts in 1.5 s)"
        );
    }
}
