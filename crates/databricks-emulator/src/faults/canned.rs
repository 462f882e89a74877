//! Answers word for word.

use crate::refusal;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An answer word for word, for [`Emulator::answer_next`](crate::Emulator::answer_next) and
/// [`Fault::Answer`](crate::Fault::Answer).
///
/// As JSON `status` is needed, `body` is a text or any JSON, and `headers` is a list of pairs; what HTTP cannot carry is
/// refused.
///
/// ```
/// use databricks_emulator::CannedAnswer;
///
/// let busy = CannedAnswer::json(429, r#"{"error_code":"REQUEST_LIMIT_EXCEEDED"}"#).with_header("retry-after", "1");
/// let same: CannedAnswer = serde_json::from_str(
///     r#"{"status": 429, "body": {"error_code": "REQUEST_LIMIT_EXCEEDED"}, "headers": [["retry-after", "1"]]}"#,
/// )?;
/// assert_eq!(same, busy);
/// let gateway = CannedAnswer { status: 502, content_type: "text/html".into(), ..CannedAnswer::default() };
/// # Ok::<(), serde_json::Error>(())
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

    /// The answer on the wire, or what HTTP has no way to say.
    fn try_response(&self) -> Result<Response, String> {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = StatusCode::from_u16(self.status)
            .ok()
            .filter(|status| !status.is_informational())
            .ok_or_else(|| format!("status {} ends no exchange", self.status))?;
        if !self.content_type.is_empty() {
            response.headers_mut().insert(header::CONTENT_TYPE, value_of(&self.content_type)?);
        }
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|error| format!("header {name:?}: {error}"))?;
            response.headers_mut().append(name, value_of(value)?);
        }
        Ok(response)
    }

    pub(crate) fn response(&self) -> Response {
        self.try_response().unwrap_or_else(|what| {
            refusal::unsayable(format!("the canned answer is not valid HTTP: {what}"))
                .into_response()
        })
    }
}

fn value_of(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|error| format!("header value {text:?}: {error}"))
}

impl<'de> Deserialize<'de> for CannedAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Form {
            status: u16,
            #[serde(default)]
            headers: Vec<(String, String)>,
            #[serde(default)]
            body: Value,
            content_type: Option<String>,
        }
        let form = Form::deserialize(deserializer)?;
        let (body, kind) = match form.body {
            Value::Null => (Vec::new(), ""),
            Value::String(text) => (text.into_bytes(), "text/plain;charset=utf-8"),
            json => (json.to_string().into_bytes(), "application/json"),
        };
        let answer = Self {
            status: form.status,
            headers: form.headers,
            body,
            content_type: form.content_type.unwrap_or_else(|| kind.to_owned()),
        };
        answer.try_response().map_err(serde::de::Error::custom)?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_http_cannot_carry_is_a_clear_500_and_no_json() {
        assert_eq!(CannedAnswer::json(5, "{}").response().status(), 500);
        for (form, word) in [
            (r#"{"status": 5}"#, "status 5"),
            (r#"{"status": 101}"#, "101"),
            (r#"{"status": 200, "headers": [["a b", "c"]]}"#, "a b"),
            (r#"{"status": 200, "content_type": "a\nb"}"#, "header value"),
            (r#"{"status": 200, "bodi": ""}"#, "bodi"),
        ] {
            let error = serde_json::from_str::<CannedAnswer>(form).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
