//! The spans of what goes out, for whoever collects traces: names, statuses and counts, and nothing of a query or a body.
//!
//! They are at the level `TRACE`, so that an ordinary log does without them.

use std::fmt;

use http::Method;
use tracing::{Span, field};

use crate::{Error, Host};

/// Says to a callee in which span it is called. Implemented by whoever collects traces.
pub trait Propagate: fmt::Debug + Send + Sync {
    /// Headers for the current span, such as `traceparent` (W3C Trace Context). None when nobody collects it.
    fn headers(&self) -> Vec<(&'static str, String)>;
}

/// The span of one request to a workspace.
pub(crate) fn request(host: &Host, method: &Method, endpoint: &str, attempt: u32) -> Span {
    tracing::trace_span!(
        "http request",
        otel.kind = "client",
        otel.name = format!("{method} {endpoint}"),
        otel.status_code = field::Empty,
        http.request.method = %method,
        http.request.resend_count = attempt.saturating_sub(1),
        http.response.status_code = field::Empty,
        server.address = host.name(),
        server.port = host.port(),
        "error.type" = field::Empty,
    )
}

/// The span of one request to somebody else than a workspace, whose address may hold a secret: what is asked for, such
/// as a token, and of which host.
pub(crate) fn beside(method: &Method, what: &str, url: &str) -> Span {
    tracing::trace_span!(
        "http request",
        otel.kind = "client",
        otel.name = format!("{method} {what}"),
        otel.status_code = field::Empty,
        http.request.method = %method,
        http.response.status_code = field::Empty,
        server.address = host_of(url),
        "error.type" = field::Empty,
    )
}

/// The host in an address.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.split(':').next().unwrap_or(host)
}

/// Notes how it ended.
pub(crate) fn end(span: &Span, status: Option<u16>, failure: Option<&Error>) {
    if let Some(status) = status {
        span.record("http.response.status_code", status);
    }
    if let Some(error) = failure {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", field::debug(error.kind()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_address_the_host_alone_is_told() {
        for (url, host) in [
            ("https://b.s3.amazonaws.com/x?X-Amz-Signature=secret", "b.s3.amazonaws.com"),
            ("http://127.0.0.1:8080/metadata", "127.0.0.1"),
            ("https://user:secret@h.example", "h.example"),
            ("h", "h"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }
}
