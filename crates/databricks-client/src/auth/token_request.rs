//! One request to a token endpoint.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, de};
use tokio::time::Instant;
use tracing::Instrument as _;
use url::form_urlencoded;

use super::{access_token::AccessToken, secret::redact};
use crate::{
    Error, ErrorKind,
    error::ErrorBody,
    http::{body::read_up_to, trace},
};

/// The largest response that is read, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// The maximum length of the message that an error quotes, in characters.
const MAX_QUOTE: usize = 600;

/// Form fields that contain a secret.
const SECRET_FIELDS: [&str; 3] = ["client_secret", "subject_token", "client_assertion"];

/// The lifetime of a token whose response does not state it.
const DEFAULT_LIFETIME: Duration = Duration::from_hours(1);

/// A request to a token endpoint.
#[derive(Debug)]
pub(super) struct TokenRequest<'a> {
    pub(super) http: &'a reqwest::Client,
    pub(super) url: String,
    /// The body of a POST request. A GET request without.
    pub(super) form: Option<Vec<(&'static str, String)>>,
    pub(super) headers: HeaderMap,
    /// A secret that is not in the form. Errors do not quote it.
    pub(super) other_secret: Option<SecretString>,
}

/// A token response: the names of OAuth, of the Azure metadata service, and the older ones of Databricks.
#[derive(Deserialize)]
struct TokenResponse {
    access_token: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<u64>,
}

/// Parses seconds from a number or a string.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(f64),
        Text(String),
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    match Option::<Either>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Either::Number(number)) => Ok(Some(number as u64)),
        Some(Either::Text(text)) => text.trim().parse().map(Some).map_err(de::Error::custom),
    }
}

impl<'a> TokenRequest<'a> {
    pub(super) fn get(http: &'a reqwest::Client, url: String, headers: HeaderMap) -> Self {
        Self { http, url, form: None, headers, other_secret: None }
    }

    pub(super) fn post(
        http: &'a reqwest::Client,
        url: String,
        form: Vec<(&'static str, String)>,
    ) -> Self {
        Self { http, url, form: Some(form), headers: HeaderMap::new(), other_secret: None }
    }

    /// Sends the request and parses the token from the response.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` if the endpoint denies the token, otherwise a transient kind. Errors quote only the error code
    /// and message of the response.
    pub(super) async fn fetch_token(self) -> Result<AccessToken, Error> {
        let sent_at = Instant::now();
        let url = self.url.clone();
        let body = self.fetch().await?;
        let response: TokenResponse =
            serde_json::from_slice(&body).map_err(|_may_quote_it| no_token(&url))?;
        let token = response.access_token.filter(|token| !token.is_empty());
        let secret = token.map(SecretString::from).ok_or_else(|| no_token(&url))?;
        let lifetime = response.expires_in.map_or(DEFAULT_LIFETIME, Duration::from_secs);
        Ok(AccessToken::new(secret, sent_at, lifetime))
    }

    /// Sends the request and returns the body of the response.
    ///
    /// # Errors
    ///
    /// As [`fetch_token`](Self::fetch_token).
    pub(super) async fn fetch(self) -> Result<Vec<u8>, Error> {
        let method = if self.form.is_some() { Method::POST } else { Method::GET };
        let span = trace::other_host_span(&method, "token", &self.url);
        let outcome = self.exchange().instrument(span.clone()).await;
        trace::record_result(&span, None, outcome.as_ref().err());
        outcome
    }

    async fn exchange(self) -> Result<Vec<u8>, Error> {
        let url = &self.url;
        let request = match &self.form {
            Some(form) => {
                let form = form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(form.iter().map(|(name, value)| (*name, value.as_str())))
                    .finish();
                self.http
                    .post(url)
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form)
            }
            None => self.http.get(url),
        };
        let failed = |error: reqwest::Error| {
            let text = format!("cannot request a token from {}", without_query(url));
            Error::new(ErrorKind::Connect, text).with_source(error.without_url()).before_sending()
        };
        // A header quotes a secret in the form in which it was sent.
        let sent_headers: Vec<String> = self
            .headers
            .values()
            .filter_map(|value| value.to_str().ok()?.split_once(' '))
            .map(|(_scheme, value)| value.to_owned())
            .collect();
        let request = request.headers(self.headers).header(header::ACCEPT, "application/json");
        let mut response = request.send().await.map_err(failed)?;
        let (body, is_complete) = read_up_to(&mut response, MAX_BYTES).await.map_err(failed)?;
        let status = response.status();
        if !is_complete {
            return Err(no_token(url));
        }
        if status.is_success() {
            return Ok(body.into());
        }
        let form_secrets = self.form.iter().flatten();
        let secrets = form_secrets
            .filter(|(name, _)| SECRET_FIELDS.contains(name))
            .map(|(_, value)| value.as_str())
            .chain(self.other_secret.as_ref().map(SecretString::expose_secret));
        let secrets: Vec<&str> = secrets.chain(sent_headers.iter().map(String::as_str)).collect();
        let encoded: Vec<String> = secrets
            .iter()
            .map(|secret| form_urlencoded::byte_serialize(secret.as_bytes()).collect())
            .collect();
        let forms = secrets.into_iter().chain(encoded.iter().map(String::as_str));
        Err(denied(url, status, &redact(&String::from_utf8_lossy(&body), forms)))
    }
}

/// Returns the URL without its query, which may contain a secret.
pub(super) fn without_query(url: &str) -> &str {
    url.split_once('?').map_or(url, |(url, _query)| url)
}

fn no_token(url: &str) -> Error {
    let text = format!("the response of {} contains no token", without_query(url));
    Error::new(ErrorKind::Unavailable, text).before_sending()
}

/// Maps an error response of a token endpoint, which has the forms of the API's errors
/// (databricks-api.md#error-bodies).
fn denied(url: &str, status: StatusCode, body: &str) -> Error {
    let body = ErrorBody::parse(body.as_bytes());
    let is_transient = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT;
    let kind = if is_transient { ErrorKind::Unavailable } else { ErrorKind::Unauthenticated };
    let mut message =
        format!("{} returned {} to the token request", without_query(url), status.as_u16());
    for text in [&body.code, &body.message].into_iter().flatten() {
        message.push_str(": ");
        message.extend(text.chars().take(MAX_QUOTE));
    }
    Error::new(kind, message).with_body(body).before_sending()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetime_is_parsed_from_numbers_and_strings() {
        for (text, expected) in
            [("3599", Some(3599)), ("\"3599\"", Some(3599)), ("null", None), ("3599.5", Some(3599))]
        {
            let json = format!(r#"{{"access_token":"t","expires_in":{text}}}"#);
            let response: TokenResponse = serde_json::from_str(&json).unwrap();
            assert_eq!(response.expires_in, expected, "{text}");
        }
    }

    #[test]
    fn denial_is_permanent_and_quotes_the_reason_and_server_errors_are_transient() {
        let error = denied(
            "https://h/t?x=secret",
            StatusCode::UNAUTHORIZED,
            r#"{"error":"invalid_client","error_description":"no"}"#,
        );
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert_eq!(
            error.to_string(),
            "https://h/t returned 401 to the token request: invalid_client: no"
        );
        let older = denied(
            "https://h/t",
            StatusCode::BAD_REQUEST,
            r#"{"errorCode":"E1","errorSummary":"s"}"#,
        );
        assert!(older.to_string().ends_with(": E1: s"));
        assert!(!older.is_retryable());
        let text = |body| denied("https://h/t", StatusCode::FORBIDDEN, body).to_string();
        for (body, words) in [
            ("Source IP address: 203.0.113.7 is blocked by Databricks IP ACL", "IP ACL"),
            (r#"{"error_code": "403", "message": "blocked by Databricks IP ACL"}"#, "403: blocked"),
            ("<html><pre>unknown client</pre></html>", "unknown client"),
            (r#"{"error": "unauthorized_client"}"#, "unauthorized_client"),
        ] {
            assert!(text(body).contains(words), "{}", text(body));
        }
        for status in [StatusCode::BAD_GATEWAY, StatusCode::TOO_MANY_REQUESTS] {
            let error = denied("https://h/t", status, "<html>");
            assert!(error.is_retryable() && !error.may_have_effect(), "{status}");
        }
    }
}
