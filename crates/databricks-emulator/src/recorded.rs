//! What was asked of the workspace, kept for tests to look at.

use axum::http::{HeaderMap, Method, Uri, header};
use serde::Serialize;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many requests are remembered, and how many submissions; older ones are forgotten first, so that a soak does not
/// fill the memory.
pub(crate) const REMEMBERED: usize = 10_000;

/// One call of the workspace API, whatever its answer. Admin calls are not recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The method, in capitals.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query as it came, without the question mark; empty when there was none.
    pub query: String,
    /// The headers in their order, names in lower case, but for `authorization`. A value that is no text is shown as
    /// far as it is.
    pub headers: Vec<(String, String)>,
    /// What the request brought as proof of who asks, without its value.
    pub authorization: AuthorizationSeen,
    /// The body, when it was JSON.
    pub body: Option<Value>,
    /// The length of the body in bytes; 0 for one that was too large to be kept.
    pub body_bytes: usize,
    /// Keys of a submitted body that no known field has. The service ignores them, and so does the emulator:
    /// `job_name` at the top, or `tasks[0].retries` (paths from the top of the body).
    pub ignored_keys: Vec<String>,
    /// The status code of the answer, also of one that was lost on its way; 0 when there was none.
    pub status: u16,
    /// The rule whose fault struck, by its name.
    pub fault: Option<String>,
}

impl RecordedRequest {
    /// The first header of this name, in whatever case it is asked for.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// What the `Authorization` header of a request was, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorizationSeen {
    /// There was none.
    Missing,
    /// There was one.
    Present {
        /// The scheme as written, such as `Bearer`.
        scheme: String,
        /// Whether the workspace knows the token.
        accepted: bool,
    },
}

/// The parts of a request that are known before it is answered.
pub(crate) struct Incoming<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

impl RecordedRequest {
    pub(crate) fn new(incoming: &Incoming<'_>, authorization: AuthorizationSeen) -> Self {
        let headers = incoming.headers.iter().filter(|(name, _)| *name != header::AUTHORIZATION);
        Self {
            method: incoming.method.as_str().to_owned(),
            path: incoming.uri.path().to_owned(),
            query: incoming.uri.query().unwrap_or_default().to_owned(),
            headers: headers
                .map(|(name, value)| {
                    (
                        name.as_str().to_owned(),
                        String::from_utf8_lossy(value.as_bytes()).into_owned(),
                    )
                })
                .collect(),
            authorization,
            body: serde_json::from_slice(incoming.body).ok(),
            body_bytes: incoming.body.len(),
            ignored_keys: Vec::new(),
            status: 0,
            fault: None,
        }
    }
}

/// The requests so far.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    requests: Mutex<VecDeque<RecordedRequest>>,
}

impl Recorder {
    pub(crate) fn push(&self, request: RecordedRequest) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() == REMEMBERED {
            requests.pop_front();
        }
        requests.push_back(request);
    }

    pub(crate) fn all(&self) -> Vec<RecordedRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
