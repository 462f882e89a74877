//! The request of one API call, independent of the version of the Jobs API.

use bytes::Bytes;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::{Error, ErrorKind};

/// The characters that are escaped in a path. Slashes separate segments; the others are unreserved (RFC 3986).
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

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

/// The path of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A path below `/api/<version>/jobs/`.
    Jobs(&'static str),
    /// The whole path of an API with a fixed version.
    Fixed(&'static str),
}

/// A range of the bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteRange {
    pub(crate) offset: u64,
    /// The largest number of bytes.
    pub(crate) length: usize,
}

/// One API call.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    endpoint: Endpoint,
    /// The escaped path below the endpoint. It contains names chosen by users, so errors and logs omit it.
    pub(crate) suffix: String,
    pub(crate) query: &'a [(&'static str, String)],
    /// Requests a range of a file. The response is bytes instead of JSON.
    pub(crate) range: Option<ByteRange>,
    pub(crate) body: Option<Bytes>,
    /// Whether it may be sent again after an attempt that may have had an effect.
    pub(crate) is_idempotent: bool,
    /// What the request names, so that an error may mean that the run does not exist.
    pub(crate) subject: Subject,
}

/// What a request names. Decides what an error code about a missing resource is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// No run.
    NoRun,
    /// A run, and what else the request needs.
    Run,
    /// Nothing but a run, so that every invalid parameter is the id of the run.
    OnlyRun,
}

impl<'a> Request<'a> {
    pub(crate) fn get(endpoint: Endpoint, query: &'a [(&'static str, String)]) -> Self {
        Self {
            method: Method::GET,
            endpoint,
            suffix: String::new(),
            query,
            range: None,
            body: None,
            is_idempotent: true,
            subject: Subject::NoRun,
        }
    }

    /// Returns a write. It is sent once unless marked as [`idempotent`](Self::idempotent).
    ///
    /// # Errors
    ///
    /// `Config` if the body cannot be serialized.
    pub(crate) fn post(endpoint: Endpoint, body: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_vec(body).map(Bytes::from).map_err(|error| {
            Error::new(ErrorKind::Config, "cannot serialize the request").with_source(error)
        })?;
        Ok(Self {
            method: Method::POST,
            body: Some(body),
            is_idempotent: false,
            ..Self::get(endpoint, &[])
        })
    }

    /// Appends a path to the endpoint, and escapes each segment (databricks-api.md#files-api).
    pub(crate) fn with_path(self, path: &str) -> Self {
        Self { suffix: utf8_percent_encode(path, PATH).to_string(), ..self }
    }

    pub(crate) fn with_range(self, range: ByteRange) -> Self {
        Self { range: Some(range), ..self }
    }

    /// Marks a write that has the same effect if it is sent again.
    pub(crate) fn idempotent(self, is_idempotent: bool) -> Self {
        Self { is_idempotent, ..self }
    }

    /// Marks a request that names a run.
    pub(crate) fn for_run(self) -> Self {
        Self { subject: Subject::Run, ..self }
    }

    /// Marks a request that reads a run and has no other parameter.
    pub(crate) fn reads_run(self) -> Self {
        Self { subject: Subject::OnlyRun, ..self }
    }

    pub(crate) fn class(&self) -> RequestClass {
        if self.method == Method::GET { RequestClass::Read } else { RequestClass::Write }
    }

    /// Returns the endpoint without version and query, for logs and metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self.endpoint {
            Endpoint::Jobs(name) | Endpoint::Fixed(name) => name,
        }
    }

    /// True if the path contains the version of the Jobs API.
    pub(crate) fn is_versioned(&self) -> bool {
        matches!(self.endpoint, Endpoint::Jobs(_))
    }

    /// Returns the path for a version of the Jobs API, without the suffix.
    pub(crate) fn path(&self, version: &str) -> String {
        match self.endpoint {
            Endpoint::Jobs(endpoint) => format!("/api/{version}/jobs/{endpoint}"),
            Endpoint::Fixed(path) => path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_segments_are_escaped_and_slashes_are_kept() {
        let request = Request::get(Endpoint::Fixed("/api"), &[]);
        let request = request.with_path("/Volumes/a b/ü%?#/x-1.log");
        assert_eq!(request.suffix, "/Volumes/a%20b/%C3%BC%25%3F%23/x-1.log");
    }
}
