//! The two classes of requests, which have separate rate limits.

/// Which part of a rate limit a request counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestClass {
    /// Requests that change nothing.
    Read,
    /// Submissions, cancels and uploads.
    Write,
}

impl RequestClass {
    /// Returns `reads` or `writes`, as used in metric labels and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "reads",
            Self::Write => "writes",
        }
    }
}
