//! The log of requests, for tests to inspect.

use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use serde::Serialize;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many requests, and how many submissions, are kept. The oldest are dropped first.
pub(crate) const HISTORY_LIMIT: usize = 10_000;

/// One call of the workspace API, successful or not. Admin calls are not recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The method in upper case.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The raw query without the question mark. Empty if there was none.
    pub query: String,
    /// The headers except `authorization`, in order, with lower-case names. Invalid UTF-8 in values is replaced.
    pub headers: Vec<(String, String)>,
    /// The `Authorization` header without its value.
    pub authorization: RecordedAuthorization,
    /// The body, if it was JSON.
    pub body: Option<Value>,
    /// The length of the body in bytes. 0 for a body over the size limit.
    pub body_bytes: usize,
    /// Unknown keys of a submitted body, as paths such as `job_name` or `tasks[0].retries`. Like the service, the
    /// emulator ignores them.
    pub ignored_keys: Vec<String>,
    /// The status code, also of a response that a fault dropped. 0 if there was no response.
    pub status: u16,
    /// The name of the rule that injected a fault.
    pub fault: Option<String>,
}

impl RecordedRequest {
    /// Returns the first header with this name, ignoring case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// The `Authorization` header of a request, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedAuthorization {
    /// The header was missing.
    Missing,
    /// The header was present.
    Present {
        /// The scheme as sent, such as `Bearer`.
        scheme: String,
        /// Whether the token is valid.
        accepted: bool,
    },
}

impl RecordedRequest {
    /// Records a request that is not executed yet. `body` is empty for one over the size limit.
    pub(crate) fn new(parts: &Parts, body: &[u8], authorization: RecordedAuthorization) -> Self {
        let headers = parts.headers.iter().filter(|(name, _)| *name != header::AUTHORIZATION);
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Self {
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: headers.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
            authorization,
            body: serde_json::from_slice(body).ok(),
            body_bytes: body.len(),
            ignored_keys: Vec::new(),
            status: 0,
            fault: None,
        }
    }
}

/// The latest requests.
#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    requests: Mutex<VecDeque<RecordedRequest>>,
}

impl RequestLog {
    pub(crate) fn push(&self, request: RecordedRequest) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() == HISTORY_LIMIT {
            requests.pop_front();
        }
        requests.push_back(request);
    }

    pub(crate) fn all(&self) -> Vec<RecordedRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
