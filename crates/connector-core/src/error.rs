//! Errors of a connector.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

type Source = Arc<dyn StdError + Send + Sync>;

/// Kind of an [`Error`]. The server maps each kind to one gRPC code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The task cannot run as written. The user must change it.
    InvalidTask,
    /// The resource meta cannot be decoded: this connector did not write it.
    InvalidMeta,
    /// An argument of the request is invalid, such as a log token that this connector did not issue.
    InvalidRequest,
    /// The requested time range contains no data.
    OutOfRange,
    /// Configuration that the task needs is missing. The operator or the user must add it.
    FailedPrecondition,
    /// The object of the call does not exist.
    NotFound,
    /// The service rejected the credential.
    Unauthenticated,
    /// The credential lacks a permission, or the host is not allowed.
    Forbidden,
    /// The service limits the rate of calls.
    Exhausted,
    /// The service is unreachable or temporarily unable to respond. A retry may succeed.
    Unavailable,
    /// The deadline expired before the service responded.
    DeadlineExceeded,
    /// The connector does not support the call.
    Unimplemented,
    /// A bug in the connector.
    Internal,
}

impl ErrorKind {
    /// All kinds, in the order of the reference documentation.
    pub const ALL: [Self; 13] = [
        Self::InvalidTask,
        Self::InvalidMeta,
        Self::InvalidRequest,
        Self::OutOfRange,
        Self::FailedPrecondition,
        Self::NotFound,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Exhausted,
        Self::Unavailable,
        Self::DeadlineExceeded,
        Self::Unimplemented,
        Self::Internal,
    ];
}

/// Why a call to a connector failed.
///
/// `Display` is the message for the user: what failed, and on which object. The [`hint`](Self::hint) is the remedy, the
/// [`detail`](Self::detail) is for the operator's log only. None of them may contain a secret.
#[derive(Clone)]
pub struct Error(Box<Body>);

#[derive(Clone)]
struct Body {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    detail: Option<String>,
    retry_after: Option<Duration>,
    may_have_started: bool,
    source: Option<Source>,
}

impl Error {
    /// Creates an error with a message for the user: one clause, lower case, no full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Body {
            kind,
            message: message.into(),
            hint: None,
            detail: None,
            retry_after: None,
            may_have_started: false,
            source: None,
        }))
    }

    /// Creates an [`InvalidTask`](ErrorKind::InvalidTask) error.
    pub fn invalid_task(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidTask, message)
    }

    /// Creates an [`InvalidMeta`](ErrorKind::InvalidMeta) error.
    pub fn invalid_meta(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidMeta, message)
    }

    /// Creates an [`InvalidRequest`](ErrorKind::InvalidRequest) error.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, message)
    }

    /// Creates a [`FailedPrecondition`](ErrorKind::FailedPrecondition) error.
    pub fn failed_precondition(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::FailedPrecondition, message)
    }

    /// Creates a [`NotFound`](ErrorKind::NotFound) error.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// Creates an [`Unimplemented`](ErrorKind::Unimplemented) error.
    pub fn unimplemented(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unimplemented, message)
    }

    /// Creates an [`Internal`](ErrorKind::Internal) error.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Returns the error with this remedy.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Returns the error with this detail for the operator's log.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Returns the error with this delay before a retry.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.0.retry_after = retry_after;
        self
    }

    /// Returns the error with this cause. The message should not repeat it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Returns the error of a `create` that may have started the work, for example because the response was lost.
    #[must_use]
    pub fn with_may_have_started(mut self, may_have_started: bool) -> Self {
        self.0.may_have_started = may_have_started;
        self
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the remedy.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Returns the detail for the operator's log.
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// Returns the delay before a retry.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// True if a failed `create` may have started the work.
    pub fn may_have_started(&self) -> bool {
        self.0.may_have_started
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("hint", &self.0.hint)
            .field("detail", &self.0.detail)
            .field("retry_after", &self.0.retry_after)
            .field("may_have_started", &self.0.may_have_started)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
