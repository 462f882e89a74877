//! One exchange with whoever mints tokens.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};
use tokio::time::Instant;
use tracing::Instrument as _;
use url::form_urlencoded;

use super::{Credentials, token::Token};
use crate::{Error, ErrorKind, spans};

/// The largest answer that is read, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// Fields of a form that are secrets, and are kept out of what is told of a refusal.
const SECRETS: [&str; 3] = ["client_secret", "subject_token", "client_assertion"];

/// The lifetime of a token whose answer does not say it.
const DEFAULT_LIFETIME: Duration = Duration::from_hours(1);

/// Something that is asked for a token.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) http: &'a reqwest::Client,
    pub(super) url: String,
    /// Sent in the body of a POST; a GET without.
    pub(super) form: Option<Vec<(&'static str, String)>>,
    pub(super) headers: HeaderMap,
}

/// What an authority answers: OAuth's own names, those of Azure's machines, and Databricks' older ones (DA §3.5).
#[derive(Deserialize)]
struct Granted {
    access_token: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Denied {
    error: Option<String>,
    error_description: Option<String>,
    #[serde(rename = "errorCode")]
    error_code: Option<String>,
    #[serde(rename = "errorSummary")]
    error_summary: Option<String>,
}

/// Seconds as a number or as text.
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

impl Ask<'_> {
    /// The token that is granted.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` when it is denied, a kind that passes for the rest. Answers are not quoted but for the two
    /// fields that say why.
    pub(super) async fn token(self, credentials: &Credentials) -> Result<Token, Error> {
        let asked = Instant::now();
        let url = self.url.clone();
        let body = self.body(credentials).await?;
        let granted: Granted = serde_json::from_slice(&body).map_err(|_may_quote_it| odd(&url))?;
        let secret =
            granted.access_token.filter(|token| !token.is_empty()).ok_or_else(|| odd(&url))?;
        let lifetime = granted.expires_in.map_or(DEFAULT_LIFETIME, Duration::from_secs);
        Ok(Token::new(SecretString::from(secret), asked, lifetime))
    }

    /// The body of a good answer.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token).
    pub(super) async fn body(self, credentials: &Credentials) -> Result<Vec<u8>, Error> {
        let method = if self.form.is_some() { Method::POST } else { Method::GET };
        let span = spans::beside(&method, "token", &self.url);
        let outcome = self.exchange(credentials).instrument(span.clone()).await;
        spans::end(&span, None, outcome.as_ref().err());
        outcome
    }

    async fn exchange(self, credentials: &Credentials) -> Result<Vec<u8>, Error> {
        let Self { http, url, form, headers } = self;
        let secrets: Vec<SecretString> = form
            .iter()
            .flatten()
            .filter(|(name, _)| SECRETS.contains(name))
            .map(|(_, value)| SecretString::from(value.clone()))
            .collect();
        let request = match form {
            Some(form) => {
                let form = form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(form.iter().map(|(name, value)| (*name, value.as_str())))
                    .finish();
                http.post(&url)
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form)
            }
            None => http.get(&url),
        };
        let failed = |error: reqwest::Error| {
            let error = error.without_url();
            Error::new(ErrorKind::Connect, format!("{} cannot be asked for a token", place(&url)))
                .with_source(error)
                .before_sending()
        };
        let request = request.headers(headers).header(header::ACCEPT, "application/json");
        let mut response = request.send().await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_BYTES {
                return Err(odd(&url));
            }
        }
        let status = response.status();
        if status.is_success() {
            return Ok(body);
        }
        let body = super::without(&String::from_utf8_lossy(&body), &secrets);
        Err(denied(&url, status, &credentials.redact(&body)))
    }
}

/// Where it was asked, without what may be in the query.
pub(super) fn place(url: &str) -> &str {
    url.split_once('?').map_or(url, |(place, _query)| place)
}

fn odd(url: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{} did not answer with a token", place(url)))
        .before_sending()
}

/// A refusal, or a fault that passes, by the status and by the words of the authority.
fn denied(url: &str, status: StatusCode, body: &str) -> Error {
    let said: Denied = serde_json::from_str(body).unwrap_or_default();
    let why = [said.error, said.error_description, said.error_code, said.error_summary]
        .into_iter()
        .flatten()
        .map(|text| text.chars().take(300).collect::<String>())
        .collect::<Vec<_>>()
        .join(": ");
    let passes = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT;
    let kind = if passes { ErrorKind::Unavailable } else { ErrorKind::Unauthenticated };
    let what = format!("{} answered {} to the request for a token", place(url), status.as_u16());
    let what = if why.is_empty() { what } else { format!("{what}: {why}") };
    Error::new(kind, what).before_sending()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_from_numbers_and_from_text() {
        for (text, expected) in
            [("3599", Some(3599)), ("\"3599\"", Some(3599)), ("null", None), ("3599.5", Some(3599))]
        {
            let granted: Granted =
                serde_json::from_str(&format!(r#"{{"access_token":"t","expires_in":{text}}}"#))
                    .unwrap();
            assert_eq!(granted.expires_in, expected, "{text}");
        }
    }

    #[test]
    fn a_refusal_is_told_from_a_fault_and_says_why() {
        let error = denied(
            "https://h/t?x=secret",
            StatusCode::UNAUTHORIZED,
            r#"{"error":"invalid_client","error_description":"no"}"#,
        );
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert_eq!(
            error.to_string(),
            "https://h/t answered 401 to the request for a token: invalid_client: no"
        );
        let older = denied(
            "https://h/t",
            StatusCode::BAD_REQUEST,
            r#"{"errorCode":"E1","errorSummary":"s"}"#,
        );
        assert!(older.to_string().ends_with(": E1: s"));
        assert!(!older.is_retryable());
        for status in [StatusCode::BAD_GATEWAY, StatusCode::TOO_MANY_REQUESTS] {
            let error = denied("https://h/t", status, "<html>");
            assert!(error.is_retryable() && !error.may_have_effect(), "{status}");
        }
    }
}
