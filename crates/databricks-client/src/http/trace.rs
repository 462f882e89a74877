//! Trace spans of outgoing requests: names, statuses and counts, without queries and bodies.
//!
//! Spans have the level `TRACE`, so an ordinary log omits them.

use std::fmt;

use http::Method;
use tracing::{Span, field};

use crate::{Error, Host};

/// Provides the headers that propagate the current trace context.
pub trait TracePropagator: fmt::Debug + Send + Sync {
    /// Returns headers for the current span, such as `traceparent` (W3C Trace Context). Empty if the span is not
    /// sampled.
    fn headers(&self) -> Vec<(&'static str, String)>;
}

/// Returns the span of one request to a workspace.
pub(crate) fn workspace_span(host: &Host, method: &Method, endpoint: &str, attempt: u32) -> Span {
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

/// Returns the span of one request to another service. The URL may contain a secret, so the span has only its host and
/// the kind of request, such as `token`.
pub(crate) fn other_host_span(method: &Method, what: &str, url: &str) -> Span {
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

/// Returns the host of a URL.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.split(':').next().unwrap_or(host)
}

/// Records the result of the request.
pub(crate) fn record_result(span: &Span, status: Option<u16>, error: Option<&Error>) {
    if let Some(status) = status {
        span.record("http.response.status_code", status);
    }
    if let Some(error) = error {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", field::debug(error.kind()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_contains_only_the_host_of_a_url() {
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
