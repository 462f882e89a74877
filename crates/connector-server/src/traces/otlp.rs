//! Traces by OTLP.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use databricks_connector::Propagate;
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::{Status, TracerProvider as _},
};
use opentelemetry_otlp::SpanExporter as Otlp;
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
use crate::ConfigError;

/// The name of the service when no variable says another.
const SERVICE: &str = "flyte-connector";

/// The service whose calls have spans.
const SERVED: &str = "flyteidl2.connector.AsyncConnectorService";

/// The crates whose spans are exported.
const CRATES: [&str; 4] =
    ["connector_core", "connector_server", "databricks_client", "databricks_connector"];

/// How long the last spans may take to reach the collector when the server stops.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// How often it is said that spans do not reach the collector.
const SAID_EVERY: Duration = Duration::from_mins(1);

/// What exports them.
#[derive(Debug)]
pub(crate) struct Traces(SdkTracerProvider);

/// Sets it up as the standard variables say.
pub(crate) fn start() -> Result<Traces, ConfigError> {
    let exporter =
        Otlp::builder().build().map_err(|error| ConfigError::new(ENDPOINT, error.to_string()))?;
    // The variables OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES are read by the resource itself.
    let named = Resource::builder().build();
    let name = named.get(&"service.name".into()).map(|name| name.to_string());
    let is_named = name.is_some_and(|name| !name.starts_with("unknown_service"));
    let mut resource = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if !is_named {
        resource = resource.with_service_name(SERVICE);
    }
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(Told::new(exporter))
        .with_resource(resource.build())
        .build();
    Ok(Traces(provider))
}

impl Traces {
    /// Turns our spans into those of OpenTelemetry. Events are left to the log, and so are the spans of other crates.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + 'static
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let is_ours = |metadata: &Metadata<'_>| {
            let of = metadata.target().split("::").next().unwrap_or_default();
            metadata.is_span() && CRATES.contains(&of)
        };
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(SERVICE))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(filter::filter_fn(is_ours))
    }

    /// What says to a workspace in which span it is called.
    #[expect(clippy::unused_self, reason = "where nothing collects them nothing is to be said")]
    pub(crate) fn propagate(&self) -> Arc<dyn Propagate> {
        Arc::new(W3c)
    }

    /// Sends the last spans, for no longer than a moment.
    pub(crate) async fn finish(self) {
        let finishing =
            tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(LAST_SPANS));
        if !matches!(tokio::time::timeout(LAST_SPANS, finishing).await, Ok(Ok(Ok(())))) {
            warn!("the last spans did not reach the collector");
        }
    }
}

/// Says now and then that spans do not arrive. What the exporter knows of it may hold an address, so it is not shown.
struct Told {
    exporter: Otlp,
    lost: AtomicU64,
    said: Mutex<Option<Instant>>,
}

impl Told {
    fn new(exporter: Otlp) -> Self {
        Self { exporter, lost: AtomicU64::new(0), said: Mutex::new(None) }
    }

    fn lose(&self, spans: usize) {
        let lost = self.lost.fetch_add(spans as u64, Ordering::Relaxed) + spans as u64;
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            *said = Some(Instant::now());
            warn!(lost, "spans do not reach the collector: see {ENDPOINT}");
        }
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The exporter holds the headers of OTEL_EXPORTER_OTLP_HEADERS, which are secrets.
        f.debug_struct("Told").field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl SpanExporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.exporter.export(batch).await;
        if exported.is_err() {
            self.lose(spans);
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

/// The caller's headers.
struct Caller<'a>(&'a MetadataMap);

impl Extractor for Caller<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        // Asked for by propagators of baggage alone.
        Vec::new()
    }
}

/// A call has come: its span is a child of the caller's.
pub(crate) fn accept(span: &Span, metadata: &MetadataMap) {
    let caller =
        TraceContextPropagator::new().extract_with_context(&Context::new(), &Caller(metadata));
    // It fails for a span that nobody collects.
    let _collected = span.set_parent(caller);
    span.record("otel.kind", "server");
    span.set_attribute("rpc.system", "grpc");
    span.set_attribute("rpc.service", SERVED);
}

/// A call is answered.
pub(crate) fn answered(span: &Span, code: Code) {
    span.set_attribute("rpc.grpc.status_code", i64::from(i32::from(code)));
    let is_our_fault = matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    );
    if is_our_fault {
        span.set_status(Status::error(code.description()));
    }
}

/// Names the current span as the W3C says.
#[derive(Debug)]
struct W3c;

/// Headers as they are collected.
struct Headers(Vec<(&'static str, String)>);

impl Injector for Headers {
    fn set(&mut self, key: &str, value: String) {
        let known = ["traceparent", "tracestate"].into_iter().find(|known| *known == key);
        if let Some(name) = known.filter(|_| !value.is_empty()) {
            self.0.push((name, value));
        }
    }
}

impl Propagate for W3c {
    fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Headers(Vec::new());
        TraceContextPropagator::new().inject_context(&Span::current().context(), &mut headers);
        headers.0
    }
}
