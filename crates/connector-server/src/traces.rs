//! Traces: a span of each call, of each request to a workspace and of each look into a store, in the caller's trace.
//!
//! With the feature `otel` they go to a collector by OTLP, as the standard variables (`OTEL_*`) say. Without it a
//! server that is asked for them does not start.

#[cfg(not(feature = "otel"))]
mod absent;
#[cfg(feature = "otel")]
mod otlp;

#[cfg(not(feature = "otel"))]
pub(crate) use absent::{Traces, accept, answered, start};
#[cfg(feature = "otel")]
pub(crate) use otlp::{Traces, accept, answered, start};

/// The variable that switches traces on, and the one for a fault of any of them.
pub(crate) const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Whether the standard variables ask for traces: a collector is named, or the exporter, and nothing is switched off.
pub(crate) fn are_wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    let says = |name, word: &str| {
        variable(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(word))
    };
    let is_named = |name| variable(name).is_some_and(|value| !value.trim().is_empty());
    let is_off = says("OTEL_SDK_DISABLED", "true") || says("OTEL_TRACES_EXPORTER", "none");
    let has_collector = is_named(ENDPOINT)
        || is_named("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        || says("OTEL_TRACES_EXPORTER", "otlp");
    has_collector && !is_off
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_switches_them_on_and_the_standard_switches_off() {
        for (variables, wanted) in [
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
            assert_eq!(are_wanted(read), wanted, "{variables:?}");
        }
    }
}
