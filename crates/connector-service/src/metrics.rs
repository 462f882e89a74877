//! Prometheus metrics of the server.
//!
//! The first four families have the names and labels of the Python server (flyte-contract.md#python-metrics). Its two
//! summaries are histograms here, with the same `_count` and `_sum`. Connectors register their own families.

use std::{array, borrow::Cow, time::Duration};

use connector_core::TaskType;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use tonic::Code;

use self::{labels::Labels, scrapes::Scrapes};
use crate::status::{TABLE, code_name};

mod labels;
mod process;
mod scrapes;
mod text;

pub(crate) use labels::{Operation, OrphanOutcome, RejectionReason};

/// Value of the `task_type` label for calls without a task type.
const NONE: &str = "none";

/// Value of the `task_type` label for task types that no connector serves, so that callers cannot create label values.
pub(crate) const UNKNOWN: &str = "unknown";

/// A text format for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exposition {
    /// The Prometheus text format, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// Selects the format for an `Accept` header: `OpenMetrics` if it is listed, otherwise `Text`.
    pub(crate) fn accepted(header: Option<&str>) -> Self {
        if header.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// The metrics of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    success: Counters<2>,
    failure: Counters<3>,
    latency: Histograms<2>,
    input_bytes: Histograms<1>,
    rpcs: Counters<3>,
    durations: Histograms<2>,
    abandoned: Counters<2>,
    refused: Counters<1>,
    scrapes: Scrapes,
}

impl Metrics {
    /// Creates the metrics. Series of these task types start at zero, because `rate` needs the sample before the first
    /// increment.
    pub(crate) fn new<'a>(task_types: impl IntoIterator<Item = &'a TaskType>) -> Self {
        let mut registry = Registry::default();
        let success = Counters::default();
        registry.register(
            "flyte_connector_requests_success",
            "CreateTask, GetTask and DeleteTask calls that succeeded",
            success.clone(),
        );
        let failure = Counters::default();
        registry.register(
            "flyte_connector_requests_failure",
            "CreateTask, GetTask and DeleteTask calls that failed; error_code is 404 for NOT_FOUND, otherwise 500",
            failure.clone(),
        );
        let latency = Histograms::new_with_constructor(latency_histogram as fn() -> Histogram);
        registry.register(
            "flyte_connector_request_latency_seconds",
            "Duration of CreateTask, GetTask and DeleteTask calls, until the response or the client's cancellation",
            latency.clone(),
        );
        let input_bytes = Histograms::new_with_constructor(size_histogram as fn() -> Histogram);
        registry.register(
            "flyte_connector_input_literal_bytes",
            "Encoded size of the inputs of CreateTask calls",
            input_bytes.clone(),
        );
        let rpcs = Counters::default();
        registry.register(
            "flyte_connector_rpcs",
            "Calls by gRPC code; CANCELLED if the client cancelled before the response",
            rpcs.clone(),
        );
        let durations = Histograms::new_with_constructor(latency_histogram as fn() -> Histogram);
        registry.register(
            "flyte_connector_rpc_duration_seconds",
            "Duration of calls, until the response or the client's cancellation",
            durations.clone(),
        );
        let abandoned = Counters::default();
        registry.register(
            "flyte_connector_abandoned",
            "Orphaned task creations by outcome: claimed by a repeated request, stopped, or left because they could not be stopped",
            abandoned.clone(),
        );
        let refused = Counters::default();
        registry.register(
            "flyte_connector_refused",
            "Connections and calls rejected by the transport, by reason",
            refused.clone(),
        );
        for reason in RejectionReason::ALL.map(RejectionReason::label) {
            drop(refused.get_or_create(&[("reason", reason.into())]));
        }
        let metrics = Self {
            registry,
            success,
            failure,
            latency,
            input_bytes,
            rpcs,
            durations,
            abandoned,
            refused,
            scrapes: Scrapes::default(),
        };
        for task_type in task_types {
            metrics.start_at_zero(task_type.name());
        }
        metrics
    }

    /// Adds the metrics of the connectors and of the process.
    pub(crate) fn with_connectors(mut self, connectors: &connector_core::Registry) -> Self {
        for connector in connectors.connectors() {
            connector.register_metrics(&mut self.registry);
        }
        self.registry.register_collector(Box::new(process::Process::now()));
        self
    }

    fn start_at_zero(&self, task_type: &str) {
        let task_type = ("task_type", Cow::Owned(task_type.to_owned()));
        drop(self.input_bytes.get_or_create(array::from_ref(&task_type)));
        for operation in Operation::OF_TASKS.into_iter().filter_map(Operation::python_label) {
            let operation = ("operation", operation.into());
            let labels = [task_type.clone(), operation.clone()];
            drop(self.success.get_or_create(&labels));
            drop(self.latency.get_or_create(&labels));
            let labels = [task_type.clone(), operation, ("error_code", "500".into())];
            drop(self.failure.get_or_create(&labels));
        }
        for outcome in OrphanOutcome::ALL.map(OrphanOutcome::label) {
            let labels = [task_type.clone(), ("outcome", outcome.into())];
            drop(self.abandoned.get_or_create(&labels));
        }
        // The alerts use `increase`, which misses the first failure of a series that does not start at zero.
        let codes = TABLE.map(|(_, code, _)| code).into_iter().chain([Code::Ok, Code::Cancelled]);
        for code in codes {
            for method in Operation::OF_TASKS.map(Operation::method) {
                let code = ("code", code_name(code).into());
                let labels = [task_type.clone(), ("method", method.into()), code];
                drop(self.rpcs.get_or_create(&labels));
            }
        }
    }

    /// Counts an orphaned task creation.
    pub(crate) fn orphan(&self, task_type: Cow<'static, str>, outcome: OrphanOutcome) {
        let labels = [("task_type", task_type), ("outcome", outcome.label().into())];
        self.abandoned.get_or_create(&labels).inc();
    }

    /// Counts a finished call. `Code::Cancelled` means that the client cancelled; as in the Python server, that is neither a
    /// success nor a failure, but has a duration.
    pub(crate) fn call(
        &self,
        operation: Operation,
        task_type: Cow<'static, str>,
        code: Code,
        took: Duration,
    ) {
        let task_type = ("task_type", task_type);
        if let Some(operation) = operation.python_label() {
            let operation = ("operation", operation.into());
            let labels = [task_type.clone(), operation.clone()];
            self.latency.get_or_create(&labels).observe(took.as_secs_f64());
            match code {
                Code::Ok => {
                    self.success.get_or_create(&labels).inc();
                }
                Code::Cancelled => {}
                _ => {
                    let error_code = if code == Code::NotFound { "404" } else { "500" };
                    let error_code = ("error_code", error_code.into());
                    let labels = [task_type.clone(), operation, error_code];
                    self.failure.get_or_create(&labels).inc();
                }
            }
        }
        let method = ("method", operation.method().into());
        let labels = [task_type.clone(), method.clone()];
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        let labels = [task_type, method, ("code", code_name(code).into())];
        self.rpcs.get_or_create(&labels).inc();
        // The executor lists the connectors continuously.
        if !matches!(operation, Operation::GetConnector | Operation::ListConnectors) {
            self.scrapes.value_changed();
        }
    }

    /// Counts a finished call of the metadata service.
    pub(crate) fn metadata_call(&self, operation: Operation, code: Code, took: Duration) {
        self.call(operation, Cow::Borrowed(NONE), code, took);
    }

    /// Counts a rejected connection or call.
    pub(crate) fn rejected(&self, reason: RejectionReason) {
        self.refused.get_or_create(&[("reason", reason.label().into())]).inc();
    }

    /// Records the size of the inputs of a `CreateTask` call.
    pub(crate) fn inputs(&self, task_type: Cow<'static, str>, bytes: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a message has at most 64 MiB")]
        self.input_bytes.get_or_create(&[("task_type", task_type)]).observe(bytes as f64);
    }

    /// Encodes all metrics, and records that they were scraped.
    pub(crate) fn scrape(&self, exposition: Exposition) -> String {
        let text = self.encode(exposition);
        self.scrapes.scraped();
        text
    }

    /// Waits until the latest values have been scraped. Returns immediately if there was no scrape yet or no value changed.
    pub(crate) async fn last_scrape(&self) {
        self.scrapes.last().await;
    }

    /// Encodes all metrics.
    pub(crate) fn encode(&self, exposition: Exposition) -> String {
        let mut open_metrics = String::new();
        // Writing to a String cannot fail.
        let _infallible = encode(&mut open_metrics, &self.registry);
        match exposition {
            Exposition::OpenMetrics => open_metrics,
            Exposition::Text => text::from_open_metrics(&open_metrics),
        }
    }
}

/// Buckets from 5 ms to the longest default deadline.
fn latency_histogram() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

/// Buckets from 256 bytes to 64 MiB.
fn size_histogram() -> Histogram {
    Histogram::new([
        256.0,
        1024.0,
        4096.0,
        16_384.0,
        65_536.0,
        262_144.0,
        1_048_576.0,
        4_194_304.0,
        16_777_216.0,
        67_108_864.0,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_names_and_labels_are_kept() {
        let metrics = Metrics::new([]);
        let took = Duration::from_millis(20);
        metrics.inputs("databricks".into(), 12);
        metrics.call(Operation::Create, "databricks".into(), Code::Ok, took);
        metrics.call(Operation::Get, UNKNOWN.into(), Code::NotFound, took);
        metrics.call(Operation::Delete, "databricks".into(), Code::InvalidArgument, took);
        let text = metrics.encode(Exposition::Text);
        for line in [
            r#"flyte_connector_requests_success_total{task_type="databricks",operation="create"} 1"#,
            r#"flyte_connector_requests_failure_total{task_type="unknown",operation="get",error_code="404"} 1"#,
            r#"flyte_connector_requests_failure_total{task_type="databricks",operation="delete",error_code="500"} 1"#,
            r#"flyte_connector_request_latency_seconds_count{task_type="databricks",operation="create"} 1"#,
            r#"flyte_connector_request_latency_seconds_sum{task_type="databricks",operation="create"} 0.02"#,
            r#"flyte_connector_input_literal_bytes_sum{task_type="databricks"} 12.0"#,
            r#"flyte_connector_input_literal_bytes_count{task_type="databricks"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn cancelled_call_is_timed_but_neither_success_nor_failure() {
        let metrics = Metrics::new([]);
        metrics.call(Operation::Get, "databricks".into(), Code::Cancelled, Duration::from_secs(1));
        let text = metrics.encode(Exposition::Text);
        assert!(
            text.contains(r#"latency_seconds_count{task_type="databricks",operation="get"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(
                r#"rpcs_total{task_type="databricks",method="GetTask",code="CANCELLED"} 1"#
            ),
            "{text}"
        );
        assert!(!text.contains("success_total{") && !text.contains("failure_total{"), "{text}");
    }

    #[test]
    fn logs_and_metrics_calls_are_not_in_python_families() {
        let metrics = Metrics::new([]);
        metrics.call(Operation::Logs, "databricks".into(), Code::Ok, Duration::ZERO);
        let text = metrics.encode(Exposition::Text);
        assert!(text.contains(r#"method="GetTaskLogs",code="OK"} 1"#), "{text}");
        assert!(!text.contains("requests_success_total{"), "{text}");
    }

    #[test]
    fn series_of_served_task_type_start_at_zero() {
        let text = Metrics::new([&TaskType::new("databricks", 0)]).encode(Exposition::Text);
        assert!(
            text.contains(r#"success_total{task_type="databricks",operation="create"} 0"#),
            "{text}"
        );
        assert!(
            text.contains(
                r#"failure_total{task_type="databricks",operation="get",error_code="500"} 0"#
            ),
            "{text}"
        );
    }

    #[test]
    fn accept_header_selects_format() {
        assert_eq!(Exposition::accepted(None), Exposition::Text);
        assert_eq!(Exposition::accepted(Some("text/html, */*")), Exposition::Text);
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4";
        assert_eq!(Exposition::accepted(Some(prometheus)), Exposition::OpenMetrics);
    }
}
