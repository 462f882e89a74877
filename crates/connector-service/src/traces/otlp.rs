//! Trace export over OTLP.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::{Status, TracerProvider as _},
};
use opentelemetry_otlp::SpanExporter as OtlpExporter;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use tonic::{Code, metadata::MetadataMap};
use tracing::{Metadata, Span, Subscriber, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter, registry::LookupSpan};

use super::ENDPOINT;
use crate::config_error::ConfigError;

/// The service name, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` sets it.
const SERVICE_NAME: &str = "flyte-connector";

/// The gRPC service whose calls have spans.
const RPC_SERVICE: &str = "flyteidl2.connector.AsyncConnectorService";

/// Crates whose spans are exported, beside those of the program.
const CRATES: [&str; 2] = ["connector_core", "connector_service"];

/// Time that shutdown waits for the last spans to be exported.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Minimum time between two warnings about failed exports.
const WARNING_INTERVAL: Duration = Duration::from_mins(1);

/// The trace exporter.
#[derive(Debug)]
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    crates: &'static [&'static str],
}

impl Traces {
    /// Starts exporting, configured by `OTEL_*`. Exports the spans of `crates` and of this library.
    pub(crate) fn start(crates: &'static [&'static str]) -> Result<Self, ConfigError> {
        let exporter = OtlpExporter::builder()
            .build()
            .map_err(|error| ConfigError::new(ENDPOINT, error.to_string()))?;
        let detected = Resource::builder().build();
        let name = detected.get(&"service.name".into()).map(|name| name.to_string());
        let is_named = name.is_some_and(|name| !name.starts_with("unknown_service"));
        let mut resource = Resource::builder()
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if !is_named {
            resource = resource.with_service_name(SERVICE_NAME);
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(WarningExporter::new(exporter))
            .with_resource(resource.build())
            .build();
        Ok(Self { provider, crates })
    }

    /// Returns the layer that exports our spans. Events and the spans of other crates are not exported.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + 'static
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let crates = self.crates;
        let is_exported = move |metadata: &Metadata<'_>| {
            let name = metadata.target().split("::").next().unwrap_or_default();
            metadata.is_span() && (CRATES.contains(&name) || crates.contains(&name))
        };
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(SERVICE_NAME))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(filter::filter_fn(is_exported))
    }

    /// Exports the last spans.
    pub(crate) async fn shutdown(self) {
        let flush = tokio::task::spawn_blocking(move || {
            self.provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT)
        });
        if !matches!(tokio::time::timeout(SHUTDOWN_TIMEOUT, flush).await, Ok(Ok(Ok(())))) {
            warn!("the last spans were not exported");
        }
    }
}

/// An exporter that logs failures, rate-limited. The cause may contain an address and is not logged.
struct WarningExporter {
    exporter: OtlpExporter,
    lost: AtomicU64,
    warned_at: Mutex<Option<Instant>>,
}

impl WarningExporter {
    fn new(exporter: OtlpExporter) -> Self {
        Self { exporter, lost: AtomicU64::new(0), warned_at: Mutex::new(None) }
    }

    fn record_lost(&self, spans: usize) {
        let lost = self.lost.fetch_add(spans as u64, Ordering::Relaxed) + spans as u64;
        let mut warned_at = self.warned_at.lock().unwrap_or_else(PoisonError::into_inner);
        if warned_at.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            *warned_at = Some(Instant::now());
            warn!(lost, "spans cannot be exported; check {ENDPOINT}");
        }
    }
}

impl fmt::Debug for WarningExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The exporter holds OTEL_EXPORTER_OTLP_HEADERS, which may be secrets.
        f.debug_struct("WarningExporter").field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl SpanExporter for WarningExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.exporter.export(batch).await;
        if exported.is_err() {
            self.record_lost(spans);
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Reads trace context from gRPC metadata.
struct MetadataExtractor<'a>(&'a MetadataMap);

impl Extractor for MetadataExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        // Only propagators of baggage use this.
        Vec::new()
    }
}

/// Makes the span of a call a child of its caller's span.
pub(crate) fn accept(span: &Span, metadata: &MetadataMap) {
    let parent = TraceContextPropagator::new()
        .extract_with_context(&Context::new(), &MetadataExtractor(metadata));
    // Fails only for a span that no layer records.
    let _recorded = span.set_parent(parent);
    span.record("otel.kind", "server");
    span.set_attribute("rpc.system", "grpc");
    span.set_attribute("rpc.service", RPC_SERVICE);
}

/// Records the status code of a call. Server faults set the span's status to error.
pub(crate) fn record_code(span: &Span, code: Code) {
    span.set_attribute("rpc.grpc.status_code", i64::from(i32::from(code)));
    let is_server_fault = matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    );
    if is_server_fault {
        span.set_status(Status::error(code.description()));
    }
}

/// Collects W3C Trace Context headers.
struct HeaderInjector(Vec<(&'static str, String)>);

impl Injector for HeaderInjector {
    fn set(&mut self, key: &str, value: String) {
        let known = ["traceparent", "tracestate"].into_iter().find(|known| *known == key);
        if let Some(name) = known.filter(|_| !value.is_empty()) {
            self.0.push((name, value));
        }
    }
}

/// Returns the W3C Trace Context headers of the current span, for outgoing requests of a connector. Empty if the span is
/// not exported.
pub fn propagation_headers() -> Vec<(&'static str, String)> {
    let mut headers = HeaderInjector(Vec::new());
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut headers);
    headers.0
}
