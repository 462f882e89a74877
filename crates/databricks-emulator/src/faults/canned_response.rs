//! A complete HTTP response to return instead of the real one.

use crate::api::error;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An HTTP response, for [`Emulator::answer_next`](crate::Emulator::answer_next) and
/// [`Fault::Answer`](crate::Fault::Answer).
///
/// In JSON `status` is required, `body` is a string or any JSON value, and `headers` is a list of pairs. An invalid HTTP
/// response is rejected.
///
/// ```
/// use databricks_emulator::CannedResponse;
///
/// let busy = CannedResponse::json(429, r#"{"error_code":"REQUEST_LIMIT_EXCEEDED"}"#).with_header("retry-after", "1");
/// let same: CannedResponse = serde_json::from_str(
///     r#"{"status": 429, "body": {"error_code": "REQUEST_LIMIT_EXCEEDED"}, "headers": [["retry-after", "1"]]}"#,
/// )?;
/// assert_eq!(same, busy);
/// let gateway = CannedResponse { status: 502, content_type: "text/html".into(), ..CannedResponse::default() };
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct CannedResponse {
    /// The status code. If it is invalid, the emulator responds 500 with the reason.
    pub status: u16,
    /// Additional headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The `Content-Type` header. Empty: no such header.
    pub content_type: String,
}

impl Default for CannedResponse {
    /// Returns a 200 response with an empty body and no content type.
    fn default() -> Self {
        Self { status: 200, headers: Vec::new(), body: Vec::new(), content_type: String::new() }
    }
}

impl CannedResponse {
    /// Creates a response with content type JSON. The body is not checked.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let content_type = "application/json".to_owned();
        Self { status, body: body.into(), content_type, ..Self::default() }
    }

    /// Creates a response with content type HTML.
    pub fn html(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let content_type = "text/html;charset=utf-8".to_owned();
        Self { status, body: body.into(), content_type, ..Self::default() }
    }

    /// Adds a header.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Returns the response, or why it is not valid HTTP.
    fn try_response(&self) -> Result<Response, String> {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = StatusCode::from_u16(self.status)
            .ok()
            .filter(|status| !status.is_informational())
            .ok_or_else(|| format!("status {} is not a final HTTP status", self.status))?;
        if !self.content_type.is_empty() {
            response.headers_mut().insert(header::CONTENT_TYPE, header_value(&self.content_type)?);
        }
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|error| format!("header {name:?}: {error}"))?;
            response.headers_mut().append(name, header_value(value)?);
        }
        Ok(response)
    }

    pub(crate) fn response(&self) -> Response {
        self.try_response().unwrap_or_else(|reason| {
            error::invalid_response(format!("the canned response is not valid HTTP: {reason}"))
                .into_response()
        })
    }
}

fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|error| format!("header value {text:?}: {error}"))
}

impl<'de> Deserialize<'de> for CannedResponse {
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
        let response = Self {
            status: form.status,
            headers: form.headers,
            body,
            content_type: form.content_type.unwrap_or_else(|| kind.to_owned()),
        };
        response.try_response().map_err(serde::de::Error::custom)?;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_http_response_is_rejected_in_json_and_returned_as_500() {
        assert_eq!(CannedResponse::json(5, "{}").response().status(), 500);
        for (form, word) in [
            (r#"{"status": 5}"#, "status 5"),
            (r#"{"status": 101}"#, "101"),
            (r#"{"status": 200, "headers": [["a b", "c"]]}"#, "a b"),
            (r#"{"status": 200, "content_type": "a\nb"}"#, "header value"),
            (r#"{"status": 200, "bodi": ""}"#, "bodi"),
        ] {
            let error = serde_json::from_str::<CannedResponse>(form).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
