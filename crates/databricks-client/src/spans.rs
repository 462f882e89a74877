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

/// The span of one question for a token.
pub(crate) fn token(method: &Method, address: &str) -> Span {
    tracing::trace_span!(
        "http request",
        otel.kind = "client",
        otel.name = format!("{method} token"),
        otel.status_code = field::Empty,
        http.request.method = %method,
        http.response.status_code = field::Empty,
        server.address = address,
        "error.type" = field::Empty,
    )
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
