//! The error of a connector.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

type Source = Arc<dyn StdError + Send + Sync>;

/// What kind of failure it is. The server turns each into one gRPC code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The task says something that cannot be run. The user must change the task.
    InvalidTask,
    /// The resource meta cannot be read. It was not written by this connector.
    InvalidMeta,
    /// The request asks for something that is not there to be asked for, such as a foreign log token.
    InvalidRequest,
    /// There is nothing in the window that the request asks for.
    OutOfRange,
    /// Something that the task needs is not configured. The operator or the user must add it.
    FailedPrecondition,
    /// What the call names does not exist.
    NotFound,
    /// The credential was not accepted.
    Unauthenticated,
    /// The credential was accepted, and it may not do this; or the host may not be called.
    Forbidden,
    /// The service asks for fewer calls.
    Exhausted,
    /// The service cannot be reached or cannot answer now. Another try may succeed.
    Unavailable,
    /// Time ran out before an answer came.
    DeadlineExceeded,
    /// The connector does not do this.
    Unimplemented,
    /// A fault of the connector itself.
    Internal,
}

impl ErrorKind {
    /// Every kind, in the order of the reference page.
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

/// Why a connector could not do what was asked.
///
/// `Display` is for the user: what happened and where. The [`hint`](Self::hint) says what to do next, the
/// [`detail`](Self::detail) is for the operator's log. None of them may hold a secret.
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
    /// An error of that kind, with a message for the user: one clause, lower case, no full stop.
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

    /// The task says something that cannot be run.
    pub fn invalid_task(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidTask, message)
    }

    /// The resource meta cannot be read.
    pub fn invalid_meta(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidMeta, message)
    }

    /// The request asks for something that is not there to be asked for.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, message)
    }

    /// Something that the task needs is not configured.
    pub fn failed_precondition(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::FailedPrecondition, message)
    }

    /// What the call names does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The connector does not do this.
    pub fn unimplemented(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unimplemented, message)
    }

    /// A fault of the connector itself.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds what only the operator's log should say.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds how long to wait before another try.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.0.retry_after = retry_after;
        self
    }

    /// Adds the cause. The message should not repeat it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Says whether the work may have been started all the same, for an answer that was lost.
    #[must_use]
    pub fn with_may_have_started(mut self, may_have_started: bool) -> Self {
        self.0.may_have_started = may_have_started;
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What to do next.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// What only the operator's log should say.
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// How long to wait before another try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the work may have been started although its creation failed.
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
