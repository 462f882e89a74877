//! One HTTP exchange: the only module that knows reqwest's requests and answers.

use std::{
    error::Error as StdError,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::de::IgnoredAny;
use tracing::Instrument as _;

use crate::{
    Credentials, Error, ErrorKind, credentials, error_body::ErrorBody, request::Span, spans,
};

/// The largest body of a failed answer that is read, in bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// What is sent.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) method: Method,
    /// The address without the query.
    pub(crate) url: String,
    pub(crate) query: &'a [(&'static str, String)],
    /// The part of a file that is wanted: the answer is bytes then, and not JSON.
    pub(crate) span: Option<Span>,
    pub(crate) body: Option<&'a Bytes>,
    /// Whether the answer may be that there is no such run.
    pub(crate) names_a_run: bool,
    /// Kept out of what is told of a failed answer.
    pub(crate) credentials: &'a Credentials,
    pub(crate) proofs: Vec<(HeaderName, HeaderValue)>,
    pub(crate) user_agent: HeaderValue,
    /// Headers that say in which span it is sent.
    pub(crate) trace: Vec<(&'static str, String)>,
    /// How long the exchange may take.
    pub(crate) timeout: Duration,
    /// The largest body of a good answer, in bytes.
    pub(crate) max_response_bytes: usize,
}

/// A whole answer that says success.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// Sends it and reads the whole answer.
///
/// # Errors
///
/// For every answer that is not 2xx, and for what is no answer of the API.
pub(crate) async fn send(
    http: &reqwest::Client,
    exchange: Exchange<'_>,
) -> Result<Received, Error> {
    let timeout = exchange.timeout;
    match tokio::time::timeout(timeout, answer(http, exchange)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::new(
            ErrorKind::Timeout,
            format!("no answer within {:.1} s", timeout.as_secs_f64()),
        )),
    }
}

async fn answer(http: &reqwest::Client, exchange: Exchange<'_>) -> Result<Received, Error> {
    let sent = credentials::sent(&exchange.proofs);
    let mut request = http
        .request(exchange.method, exchange.url)
        .query(exchange.query)
        .headers(exchange.proofs.into_iter().collect())
        .header(header::USER_AGENT, exchange.user_agent)
        .header(header::ACCEPT, "application/json");
    for (name, value) in exchange.trace {
        request = request.header(name, value);
    }
    if let Some(body) = exchange.body {
        request = request.header(header::CONTENT_TYPE, "application/json").body(body.clone());
    }
    if let Some(span) = exchange.span {
        request = request.header(header::RANGE, range(span));
    }
    let mut response = request.send().await.map_err(no_answer)?;
    let status = response.status();
    let headers = response.headers().clone();
    if let Some(span) = exchange.span
        && let Some(part) = part(&mut response, span, &headers).await?
    {
        return Ok(part);
    }
    if status.is_success() {
        let (body, is_whole) = read(&mut response, exchange.max_response_bytes).await?;
        if is_page(&headers, &body) {
            return Err(login_page(status));
        }
        if !is_whole {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("the answer has more than {} bytes", exchange.max_response_bytes),
            )
            .with_status(status.as_u16()));
        }
        if is_cut(&body) {
            return Err(Error::new(ErrorKind::Connect, "the answer broke off before its end")
                .with_status(status.as_u16()));
        }
        return Ok(Received { status: status.as_u16(), body });
    }
    if let Some(error) = login_redirect(status, &headers) {
        return Err(error);
    }
    // What cannot be read of a failed answer is not missed: its status says enough.
    let (body, _) = read(&mut response, MAX_ERROR_BYTES).await.unwrap_or_default();
    let body = credentials::without(&String::from_utf8_lossy(&body), &sent);
    let body = exchange.credentials.redact(&body);
    Err(Error::of_answer(
        status.as_u16(),
        ErrorBody::parse(body.as_bytes()),
        retry_after(&headers, SystemTime::now()),
        exchange.names_a_run,
    ))
}

/// Reads what an address leads to that is itself the proof of who asks. Nothing of the address or of a refusal is told,
/// for both hold secrets.
///
/// # Errors
///
/// For every answer that is not 2xx, and for one that is too large.
pub(crate) async fn download(
    http: &reqwest::Client,
    address: &str,
    headers: HeaderMap,
    timeout: Duration,
    max_bytes: usize,
) -> Result<Bytes, Error> {
    let exchange = async {
        let mut response = http.get(address).headers(headers).send().await.map_err(no_answer)?;
        let status = response.status();
        if !status.is_success() {
            let kind = match status.as_u16() {
                403 => ErrorKind::Forbidden,
                404 => ErrorKind::NotFound,
                429 | 500..=599 => ErrorKind::Unavailable,
                _ => ErrorKind::Decode,
            };
            let what = format!("the storage of the result answered {status}");
            return Err(Error::new(kind, what).with_status(status.as_u16()));
        }
        let (body, is_whole) = read(&mut response, max_bytes).await?;
        if is_whole {
            Ok(body)
        } else {
            let what = format!("a part of the result has more than {max_bytes} bytes");
            Err(Error::new(ErrorKind::TooLarge, what).with_status(status.as_u16()))
        }
    };
    let span = spans::beside(&Method::GET, "result", address);
    let downloading = tokio::time::timeout(timeout, exchange).instrument(span.clone());
    let outcome = downloading.await.unwrap_or_else(|_elapsed| {
        let what =
            format!("no answer of the result's storage within {:.1} s", timeout.as_secs_f64());
        Err(Error::new(ErrorKind::Timeout, what))
    });
    spans::end(&span, None, outcome.as_ref().err());
    outcome
}

/// The header that asks for a part. Its last byte counts.
fn range(Span { offset, length }: Span) -> String {
    let last = offset.saturating_add(length as u64).saturating_sub(1);
    format!("bytes={offset}-{}", last.max(offset))
}

/// The part of a file that an answer brings; none when it is a refusal. What an answer brings beyond the part is not
/// read, and what lies before it is thrown away as it comes, for a service that sends the whole file all the same.
async fn part(
    response: &mut reqwest::Response,
    span: Span,
    headers: &HeaderMap,
) -> Result<Option<Received>, Error> {
    let status = response.status();
    let mut before = match status {
        StatusCode::PARTIAL_CONTENT => 0,
        // The part begins behind the end of the file.
        StatusCode::RANGE_NOT_SATISFIABLE => {
            return Ok(Some(Received { status: status.as_u16(), body: Bytes::new() }));
        }
        _ if status.is_success() => usize::try_from(span.offset).unwrap_or(usize::MAX),
        _ => return Ok(None),
    };
    if says_html(headers) {
        return Err(login_page(status));
    }
    let mut body = Vec::new();
    while body.len() < span.length
        && let Some(mut chunk) = response.chunk().await.map_err(no_answer)?
    {
        let skipped = before.min(chunk.len());
        before -= skipped;
        let wanted = chunk.split_off(skipped);
        let room = wanted.len().min(span.length - body.len());
        body.extend(wanted.into_iter().take(room));
    }
    Ok(Some(Received { status: status.as_u16(), body: Bytes::from(body) }))
}

/// The body up to the limit, and whether that is all of it.
async fn read(response: &mut reqwest::Response, limit: usize) -> Result<(Bytes, bool), Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
        let room = limit - body.len();
        if let Some(start) = chunk.get(..room).filter(|_| chunk.len() > room) {
            body.extend_from_slice(start);
            return Ok((Bytes::from(body), false));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((Bytes::from(body), true))
}

/// The connection failed, or broke before the answer was whole.
fn no_answer(error: reqwest::Error) -> Error {
    let kind = if error.is_timeout() {
        ErrorKind::Timeout
    } else if error.is_builder() {
        ErrorKind::Config
    } else {
        ErrorKind::Connect
    };
    let what = if error.is_connect() { "no connection" } else { "the connection broke" };
    Error::new(kind, format!("{what}: {}", reasons(&error.without_url())))
}

/// The causes, from what was tried to what went wrong. The outermost words are left out: they only repeat that the
/// request failed. Nothing is left for a source, which would say all of it again.
fn reasons(error: &(dyn StdError + 'static)) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !said.starts_with("client error (") && causes.last() != Some(&said) {
            causes.push(said);
        }
        next = cause.source();
    }
    if causes.is_empty() { error.to_string() } else { causes.join(": ") }
}

/// A JSON object that lacks its end: something between us and the workspace cut it, and did so without breaking the
/// connection. Another try may bring the whole; what is no JSON at all stays what it is.
fn is_cut(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'{')
        && serde_json::from_slice::<IgnoredAny>(body).is_err_and(|error| error.is_eof())
}

/// A page where the API answers JSON: a login page after a redirect inside Databricks, or a proxy's (DA §3.4). An object
/// is none, whatever it calls itself: it may be the only word about a run that was started.
fn is_page(headers: &HeaderMap, body: &[u8]) -> bool {
    match body.trim_ascii_start().first() {
        Some(b'<') => true,
        Some(b'{') => false,
        _ => says_html(headers),
    }
}

fn says_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.to_ascii_lowercase().contains("html"))
}

fn login_page(status: StatusCode) -> Error {
    Error::new(
        ErrorKind::Unauthenticated,
        "a page came in place of an answer: not signed in, or not Databricks",
    )
    .with_status(status.as_u16())
}

/// Redirects to a login page, which are not followed: a token must not leave its host (DA §3.4).
fn login_redirect(status: StatusCode, headers: &HeaderMap) -> Option<Error> {
    let location = headers.get(header::LOCATION)?.to_str().ok()?;
    if !status.is_redirection() || !location.contains("login") {
        return None;
    }
    let (kind, what) = if location.contains("private-link-validation-error") {
        (ErrorKind::Forbidden, "the workspace takes calls over its private link alone")
    } else {
        (ErrorKind::Unauthenticated, "the call was sent to a login page")
    };
    Some(Error::new(kind, what).with_status(status.as_u16()))
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_not_shown_that_was_replaced_while_its_call_was_under_way() {
        use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};
        let server = MockServer::start().await;
        let echo = |request: &Request| {
            let said = |name| request.headers.get(name).unwrap().to_str().unwrap().to_owned();
            let message = format!("{}, {}", said("authorization"), said("x-more"));
            ResponseTemplate::new(400).set_body_json(serde_json::json!({ "message": message }))
        };
        Mock::given(any()).respond_with(echo).mount(&server).await;
        // Its cache has forgotten the token that this call was begun with.
        let credentials = Credentials::token_file("mounted", "/nowhere");
        let exchange = Exchange {
            method: Method::GET,
            url: server.uri(),
            query: &[],
            span: None,
            body: None,
            names_a_run: false,
            credentials: &credentials,
            proofs: vec![
                (header::AUTHORIZATION, HeaderValue::from_static("Bearer canary-old")),
                (HeaderName::from_static("x-more"), HeaderValue::from_static("canary-more")),
            ],
            user_agent: HeaderValue::from_static("it"),
            trace: Vec::new(),
            timeout: Duration::from_secs(10),
            max_response_bytes: 1_000,
        };
        let error = send(&reqwest::Client::new(), exchange).await.unwrap_err();
        assert_eq!(error.api_message(), Some("Bearer [redacted], [redacted]"), "{error:?}");
    }

    #[test]
    fn a_wait_is_read_in_seconds_and_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let at = |text: String| {
            retry_after(
                &HeaderMap::from_iter([(
                    header::RETRY_AFTER,
                    HeaderValue::from_str(&text).unwrap(),
                )]),
                now,
            )
        };
        assert_eq!(at("7".to_owned()), Some(Duration::from_secs(7)));
        assert_eq!(
            at(httpdate::fmt_http_date(now + Duration::from_secs(5))),
            Some(Duration::from_secs(5))
        );
        assert_eq!(at(httpdate::fmt_http_date(now - Duration::from_secs(5))), Some(Duration::ZERO));
        assert_eq!(at("soon".to_owned()), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
