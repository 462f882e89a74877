//! Faults: answers given in place of the workspace's own, before the call has any effect.

use crate::endpoint::Endpoint;
use crate::refusal;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// An answer word for word, for [`Emulator::answer_next`](crate::Emulator::answer_next).
///
/// ```
/// use databricks_emulator::CannedAnswer;
///
/// let busy = CannedAnswer::json(429, r#"{"error_code": "REQUEST_LIMIT_EXCEEDED"}"#).with_header("retry-after", "1");
/// let gateway = CannedAnswer { status: 502, content_type: "text/html".into(), ..CannedAnswer::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CannedAnswer {
    /// The status code. One that HTTP cannot carry is answered as a 500 that says so.
    pub status: u16,
    /// Further headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The `Content-Type`; empty: no such header.
    pub content_type: String,
}

impl Default for CannedAnswer {
    /// 200 with an empty body and no content type.
    fn default() -> Self {
        Self { status: 200, headers: Vec::new(), body: Vec::new(), content_type: String::new() }
    }
}

impl CannedAnswer {
    /// This status with a body that calls itself JSON. Whether it is JSON is not checked.
    #[must_use]
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            body: body.into(),
            content_type: "application/json".to_owned(),
            ..Self::default()
        }
    }

    /// This status with an HTML body.
    #[must_use]
    pub fn html(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            body: body.into(),
            content_type: "text/html;charset=utf-8".to_owned(),
            ..Self::default()
        }
    }

    /// The same answer with one more header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The answer on the wire; `None` when HTTP has no way to say it.
    fn try_response(&self) -> Option<Response> {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = StatusCode::from_u16(self.status).ok()?;
        if !self.content_type.is_empty() {
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_str(&self.content_type).ok()?);
        }
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            response.headers_mut().append(name, HeaderValue::from_str(value).ok()?);
        }
        Some(response)
    }

    fn response(&self) -> Response {
        self.try_response().unwrap_or_else(|| {
            refusal::unsayable(format!(
                "the canned answer with status {} is not valid HTTP",
                self.status
            ))
            .into_response()
        })
    }
}

/// The faults that are waiting for their calls.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    waiting: Mutex<HashMap<Endpoint, VecDeque<Waiting>>>,
}

#[derive(Debug)]
struct Waiting {
    answer: CannedAnswer,
    left: u32,
}

impl Faults {
    /// Gives the answer to the next so many calls, after those that already wait.
    pub(crate) fn push(&self, endpoint: Endpoint, answer: CannedAnswer, times: u32) {
        if times > 0 {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.entry(endpoint).or_default().push_back(Waiting { answer, left: times });
        }
    }

    /// Takes the answer that this call gets in place of the workspace's own, if any.
    pub(crate) fn take(&self, endpoint: Endpoint) -> Option<Response> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = waiting.get_mut(&endpoint)?;
        let first = queue.front_mut()?;
        let response = first.answer.response();
        first.left -= 1;
        if first.left == 0 {
            queue.pop_front();
        }
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_in_order_and_run_out() {
        let faults = Faults::default();
        faults.push(Endpoint::GetRun, CannedAnswer::json(503, "{}"), 2);
        faults.push(Endpoint::GetRun, CannedAnswer::html(502, ""), 1);
        faults.push(Endpoint::GetRun, CannedAnswer::html(599, ""), 0);
        let next = || faults.take(Endpoint::GetRun).map(|response| response.status().as_u16());
        assert_eq!([next(), next(), next(), next()], [Some(503), Some(503), Some(502), None]);
        assert!(faults.take(Endpoint::SubmitRun).is_none());
    }

    #[test]
    fn an_answer_that_http_cannot_carry_is_a_clear_500() {
        let faults = Faults::default();
        faults.push(Endpoint::GetRun, CannedAnswer::json(5, "{}"), 1);
        assert_eq!(faults.take(Endpoint::GetRun).unwrap().status(), 500);
    }
}
