//! Traces: one span per call, per outgoing request and per storage access, within the caller's trace.
//!
//! With the feature `otel` spans are exported over OTLP, configured by the standard variables (`OTEL_*`). Without it a
//! server that has traces enabled fails to start.

#[cfg(not(feature = "otel"))]
mod disabled;
#[cfg(feature = "otel")]
mod otlp;

#[cfg(not(feature = "otel"))]
pub use disabled::propagation_headers;
#[cfg(not(feature = "otel"))]
pub(crate) use disabled::{Traces, accept, record_code};
#[cfg(feature = "otel")]
pub use otlp::propagation_headers;
#[cfg(feature = "otel")]
pub(crate) use otlp::{Traces, accept, record_code};

/// The variable that enables traces. Errors of any `OTEL_*` variable name it.
pub(crate) const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// True if the standard variables enable traces: an endpoint or the OTLP exporter is set, and nothing disables them.
pub(crate) fn are_enabled(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is = |name, expected: &str| {
        variable(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(expected))
    };
    let is_set = |name| variable(name).is_some_and(|value| !value.trim().is_empty());
    let is_disabled = is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none");
    let has_exporter = is_set(ENDPOINT)
        || is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        || is("OTEL_TRACES_EXPORTER", "otlp");
    has_exporter && !is_disabled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_or_exporter_enables_traces_unless_they_are_disabled() {
        for (variables, expected) in [
            (&[][..], false),
            (&[(ENDPOINT, "http://c:4318")], true),
            (&[(ENDPOINT, " ")], false),
            (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318/v1/traces")], true),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], true),
            (&[("OTEL_TRACES_EXPORTER", "none"), (ENDPOINT, "http://c:4318")], false),
            (&[("OTEL_SDK_DISABLED", "TRUE"), (ENDPOINT, "http://c:4318")], false),
            (&[("OTEL_SDK_DISABLED", "false"), (ENDPOINT, "http://c:4318")], true),
            (&[("OTEL_SERVICE_NAME", "x")], false),
        ] {
            let read = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(are_enabled(read), expected, "{variables:?}");
        }
    }
}
