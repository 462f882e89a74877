//! One HTTP exchange with a workspace: sends a request, reads the response, and maps failures to [`Error`].

use std::{
    error::Error as StdError,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::de::IgnoredAny;

use super::{
    body::{read_range, read_up_to},
    off_worker::off_worker,
    request::{ByteRange, Subject},
};
use crate::{
    Error, ErrorKind,
    api::json::BYTE_ORDER_MARK,
    error::{ErrorBody, error_chain},
};

/// The largest error body that is read, in bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// A request that is ready to be sent.
pub(crate) struct HttpRequest<'a> {
    pub(crate) method: Method,
    /// The URL without the query.
    pub(crate) url: String,
    pub(crate) query: &'a [(&'static str, String)],
    /// Requests a range of a file. The response is bytes instead of JSON.
    pub(crate) range: Option<ByteRange>,
    pub(crate) body: Option<&'a Bytes>,
    pub(crate) subject: Subject,
    pub(crate) auth_headers: &'a [(HeaderName, HeaderValue)],
    /// Names the workspace on a host that several share.
    pub(crate) workspace_header: Option<(HeaderName, HeaderValue)>,
    pub(crate) user_agent: HeaderValue,
    /// Headers of the trace context.
    pub(crate) trace_headers: Vec<(&'static str, String)>,
    pub(crate) timeout: Duration,
    /// The largest response body that is read, in bytes.
    pub(crate) max_response_bytes: usize,
    /// Removes secrets from an error body.
    pub(crate) redact: &'a (dyn Fn(&str) -> String + Sync),
}

/// A successful response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// Sends a request and reads the whole response.
///
/// # Errors
///
/// For connection errors, timeouts, every status other than 2xx, and responses that are not from the API.
pub(crate) async fn send(
    http: &reqwest::Client,
    request: HttpRequest<'_>,
) -> Result<Response, Error> {
    let timeout = request.timeout;
    tokio::time::timeout(timeout, exchange(http, request)).await.unwrap_or_else(|_elapsed| {
        Err(Error::new(ErrorKind::Timeout, no_response_within(timeout, "response")))
    })
}

/// Returns the message of a timeout.
pub(crate) fn no_response_within(timeout: Duration, what: &str) -> String {
    format!("no {what} within {:.1} s", timeout.as_secs_f64())
}

async fn exchange(http: &reqwest::Client, request: HttpRequest<'_>) -> Result<Response, Error> {
    let mut builder = http
        .request(request.method, request.url)
        .query(request.query)
        .headers(request.auth_headers.iter().cloned().collect())
        .header(header::USER_AGENT, request.user_agent)
        .header(header::ACCEPT, "application/json");
    if let Some((name, value)) = request.workspace_header {
        builder = builder.header(name, value);
    }
    for (name, value) in request.trace_headers {
        builder = builder.header(name, value);
    }
    if let Some(body) = request.body {
        builder = builder.header(header::CONTENT_TYPE, "application/json").body(body.clone());
    }
    if let Some(range) = request.range {
        builder = builder.header(header::RANGE, range_header(range));
    }
    let mut response = builder.send().await.map_err(connection_error)?;
    let status = response.status();
    let headers = response.headers().clone();
    if let Some(range) = request.range
        && let Some(body) = file_range(&mut response, range, &headers).await?
    {
        return Ok(Response { status: status.as_u16(), body });
    }
    if status.is_success() {
        let limit = request.max_response_bytes;
        let (body, is_complete) =
            read_up_to(&mut response, limit).await.map_err(connection_error)?;
        let error = if is_html_page(&headers, &body) {
            html_page(status)
        } else if !is_complete {
            Error::new(ErrorKind::TooLarge, format!("the response exceeds {limit} bytes"))
        } else if is_truncated_json(&body).await? {
            Error::new(ErrorKind::Connect, "the response is truncated")
        } else {
            return Ok(Response { status: status.as_u16(), body });
        };
        return Err(error.with_status(status.as_u16()));
    }
    if let Some(error) = login_redirect(status, &headers) {
        return Err(error);
    }
    // The status alone is sufficient if the body cannot be read.
    let (body, _) = read_up_to(&mut response, MAX_ERROR_BYTES).await.unwrap_or_default();
    let body = (request.redact)(&String::from_utf8_lossy(&body));
    let retry_after = retry_after(&headers, SystemTime::now());
    let mut body = ErrorBody::parse(body.as_bytes());
    body.message = body.message.or_else(|| reason_phrase(&headers, request.redact));
    Err(Error::from_response(status.as_u16(), body, retry_after, request.subject))
}

/// Returns the message that Databricks puts into a header as well (databricks-api.md#error-bodies).
fn reason_phrase(headers: &HeaderMap, redact: &dyn Fn(&str) -> String) -> Option<String> {
    let phrase = headers.get("x-databricks-reason-phrase")?.to_str().ok()?;
    ErrorBody::parse(redact(phrase).as_bytes()).message
}

fn range_header(ByteRange { offset, length }: ByteRange) -> String {
    let last = offset.saturating_add(length as u64).saturating_sub(1);
    format!("bytes={offset}-{}", last.max(offset))
}

/// Reads the requested range of a file. None if the response is an error. Accepts the whole file from a service that
/// ignores the header.
async fn file_range(
    response: &mut reqwest::Response,
    range: ByteRange,
    headers: &HeaderMap,
) -> Result<Option<Bytes>, Error> {
    let status = response.status();
    let offset = match status {
        // The range starts after the end of the file.
        StatusCode::RANGE_NOT_SATISFIABLE => return Ok(Some(Bytes::new())),
        StatusCode::PARTIAL_CONTENT => 0,
        _ if status.is_success() => range.offset,
        _ => return Ok(None),
    };
    if is_html_content(headers) {
        return Err(html_page(status));
    }
    let body = read_range(response, ByteRange { offset, ..range }).await;
    body.map(Some).map_err(connection_error)
}

/// Maps a failure to connect, or a connection that broke before the end of the response.
pub(super) fn connection_error(error: reqwest::Error) -> Error {
    let kind = if error.is_timeout() {
        ErrorKind::Timeout
    } else if error.is_builder() {
        ErrorKind::Config
    } else {
        ErrorKind::Connect
    };
    let what = if error.is_connect() { "no connection" } else { "the connection broke" };
    Error::new(kind, format!("{what}: {}", causes(&error.without_url())))
}

/// Renders the sources of an error, without the outer ones that only say that the request failed.
fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error.source();
    while let Some(outer) = cause.filter(|cause| cause.to_string().starts_with("client error (")) {
        cause = outer.source();
    }
    error_chain(cause.unwrap_or(error))
}

/// True for a JSON object without its end. Something between client and workspace truncated it without breaking the
/// connection, so a retry may succeed. Other invalid JSON is not retried.
async fn is_truncated_json(body: &Bytes) -> Result<bool, Error> {
    if first_byte(body) != Some(b'{') {
        return Ok(false);
    }
    let shared = body.clone();
    off_worker(body.len(), move || {
        let body = shared.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&shared);
        serde_json::from_slice::<IgnoredAny>(body).is_err_and(|error| error.is_eof())
    })
    .await
}

/// Returns the first byte that is neither white space nor a byte order mark.
fn first_byte(body: &[u8]) -> Option<u8> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    body.trim_ascii_start().first().copied()
}

/// True for an HTML page in place of JSON: a login page after a redirect inside Databricks, or the page of a proxy
/// (databricks-api.md#error-bodies). A JSON object is accepted with any content type, since it may be the only response
/// that names a started run.
fn is_html_page(headers: &HeaderMap, body: &[u8]) -> bool {
    match first_byte(body) {
        Some(b'<') => true,
        Some(b'{') => false,
        _ => is_html_content(headers),
    }
}

fn is_html_content(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.to_ascii_lowercase().contains("html"))
}

fn html_page(status: StatusCode) -> Error {
    let text = "received an HTML page instead of JSON: not signed in, or not a Databricks host";
    Error::new(ErrorKind::Unauthenticated, text).with_status(status.as_u16())
}

/// Recognizes a redirect to a login page. Redirects are not followed, since a token must not leave
/// its host (databricks-api.md#error-bodies).
fn login_redirect(status: StatusCode, headers: &HeaderMap) -> Option<Error> {
    let location = headers.get(header::LOCATION)?.to_str().ok()?;
    if !status.is_redirection() || !location.contains("login") {
        return None;
    }
    let (kind, text) = if location.contains("private-link-validation-error") {
        (ErrorKind::Forbidden, "the workspace accepts calls over its private link only")
    } else {
        (ErrorKind::Unauthenticated, "the call was redirected to a login page")
    };
    Some(Error::new(kind, text).with_status(status.as_u16()))
}

/// Parses `Retry-After`, in seconds or as a date.
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

    #[test]
    fn retry_after_is_parsed_as_seconds_and_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let parse = |text: String| {
            let value = HeaderValue::from_str(&text).unwrap();
            retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, value)]), now)
        };
        let date = httpdate::fmt_http_date;
        assert_eq!(parse("7".to_owned()), Some(Duration::from_secs(7)));
        assert_eq!(parse(date(now + Duration::from_secs(5))), Some(Duration::from_secs(5)));
        assert_eq!(parse(date(now - Duration::from_secs(5))), Some(Duration::ZERO));
        assert_eq!(parse("soon".to_owned()), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
