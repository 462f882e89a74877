//! One call, before the version of the Jobs API is known.

use bytes::Bytes;
use http::Method;
use serde::Serialize;

use crate::{Error, ErrorKind, Lane};

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Below `/api/<version>/jobs/`.
    Jobs(&'static str),
    /// An API with one version of its own: the whole path.
    Fixed(&'static str),
}

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first byte.
    pub(crate) offset: u64,
    /// How many bytes, at most.
    pub(crate) length: usize,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) endpoint: Endpoint,
    /// What follows the endpoint in the path, escaped; it has a user's names in it, so errors and logs leave it out.
    pub(crate) suffix: String,
    pub(crate) query: &'a [(&'static str, String)],
    /// The part of a file that is wanted. The answer is bytes then, and not JSON.
    pub(crate) span: Option<Span>,
    pub(crate) body: Option<Bytes>,
    /// Whether it may be sent again although its first sending may have had its effect.
    pub(crate) is_safe: bool,
    /// Whether it names a run, so that the answer may be that there is no such run.
    pub(crate) names_a_run: bool,
}

impl<'a> Request<'a> {
    /// A read.
    pub(crate) fn get(endpoint: Endpoint, query: &'a [(&'static str, String)]) -> Self {
        Self {
            method: Method::GET,
            endpoint,
            suffix: String::new(),
            query,
            span: None,
            body: None,
            is_safe: true,
            names_a_run: false,
        }
    }

    /// The same call of what lies at an absolute path below the endpoint. Each segment is escaped by itself (DA §1.12).
    pub(crate) fn below(mut self, path: &str) -> Self {
        self.suffix = escaped(path);
        self
    }

    /// Asks for a part of a file.
    pub(crate) fn part(self, span: Span) -> Self {
        Self { span: Some(span), ..self }
    }

    /// A write. It is sent once, unless it is said to be safe.
    ///
    /// # Errors
    ///
    /// `Config` when the body is no JSON.
    pub(crate) fn post(endpoint: Endpoint, body: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_vec(body).map(Bytes::from).map_err(|error| {
            Error::new(ErrorKind::Config, "the request could not be written").with_source(error)
        })?;
        Ok(Self {
            method: Method::POST,
            endpoint,
            suffix: String::new(),
            query: &[],
            span: None,
            body: Some(body),
            is_safe: false,
            names_a_run: false,
        })
    }

    /// Marks a write that has the same effect however often it is sent.
    pub(crate) fn safe_if(self, is_safe: bool) -> Self {
        Self { is_safe, ..self }
    }

    /// Marks a call that names a run.
    pub(crate) fn naming_a_run(self) -> Self {
        Self { names_a_run: true, ..self }
    }

    /// The part of the budget that it is taken from.
    pub(crate) fn lane(&self) -> Lane {
        if self.method == Method::GET { Lane::Reads } else { Lane::Writes }
    }

    /// What is called, without version and query.
    pub(crate) fn name(&self) -> &'static str {
        match self.endpoint {
            Endpoint::Jobs(name) | Endpoint::Fixed(name) => name,
        }
    }

    /// Whether the path has the version of the Jobs API in it.
    pub(crate) fn is_versioned(&self) -> bool {
        matches!(self.endpoint, Endpoint::Jobs(_))
    }

    /// The path for a version of the Jobs API.
    pub(crate) fn path(&self, version: &str) -> String {
        match self.endpoint {
            Endpoint::Jobs(endpoint) => format!("/api/{version}/jobs/{endpoint}"),
            Endpoint::Fixed(path) => path.to_owned(),
        }
    }
}

/// A path whose every byte that a segment may not hold is escaped.
fn escaped(path: &str) -> String {
    use std::fmt::Write as _;

    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                text.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_escaped_and_slashes_are_kept() {
        assert_eq!(escaped("/Volumes/a b/ü%?#/x-1.log"), "/Volumes/a%20b/%C3%BC%25%3F%23/x-1.log");
    }
}
