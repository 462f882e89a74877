//! Prometheus gauges that are computed at scrape time.

use std::{collections::BTreeMap, fmt, sync::Arc};

use connector_core::Phase;
use databricks_client::{
    CircuitBreakerState, RateLimitSnapshot, RequestClassSnapshot, WorkspaceSnapshot,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet},
    metrics::MetricType,
};

use super::recorder::Recorder;

/// The values of the gauges.
#[derive(Debug)]
pub(crate) struct GaugeValues {
    /// Recently polled runs by last known phase.
    pub(crate) runs: BTreeMap<Phase, u64>,
    pub(crate) workspaces: Vec<WorkspaceSnapshot>,
}

/// Exports the state of the workspaces and of the tracked runs.
pub(crate) struct Gauges<F> {
    pub(crate) telemetry: Arc<Recorder>,
    /// Returns the current values.
    pub(crate) values: F,
}

impl<F> fmt::Debug for Gauges<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauges").field("telemetry", &self.telemetry).finish_non_exhaustive()
    }
}

impl<F> Collector for Gauges<F>
where
    F: Fn() -> GaugeValues + Send + Sync + 'static,
{
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let values = (self.values)();
        let runs = [Phase::WaitingForResources, Phase::Initializing, Phase::Running].map(|phase| {
            #[expect(clippy::cast_precision_loss, reason = "the number of tracked runs is bounded")]
            let number = values.runs.get(&phase).copied().unwrap_or_default() as f64;
            ([("phase", phase.as_str())], number)
        });
        gauge(
            &mut encoder,
            "flyte_connector_databricks_runs",
            "Runs polled in the last 15 minutes, by the phase last reported",
            runs,
        )?;

        // Workspaces beyond the limit of label values have no gauges.
        let labels = self.telemetry.metrics.workspaces();
        let workspaces: Vec<(String, WorkspaceSnapshot)> = values
            .workspaces
            .into_iter()
            .filter_map(|workspace| Some((labels.own(&workspace.host)?, workspace)))
            .collect();
        gauge(
            &mut encoder,
            "flyte_connector_databricks_breaker_open",
            "1 while the circuit breaker of the workspace rejects calls",
            workspaces.iter().map(|(label, workspace)| {
                let is_open = workspace.circuit_breaker != CircuitBreakerState::Closed;
                ([("workspace", label.as_str())], f64::from(u8::from(is_open)))
            }),
        )?;
        let by_class = |value: fn(&RequestClassSnapshot) -> f64| {
            workspaces.iter().flat_map(move |(label, workspace)| {
                let sum = |class: fn(&RateLimitSnapshot) -> &RequestClassSnapshot| -> f64 {
                    workspace.rate_limits.iter().map(|rate_limit| value(class(rate_limit))).sum()
                };
                let labels = |class| [("workspace", label.as_str()), ("lane", class)];
                [
                    (labels("reads"), sum(|rate_limit| &rate_limit.reads)),
                    (labels("writes"), sum(|rate_limit| &rate_limit.writes)),
                ]
            })
        };
        gauge(
            &mut encoder,
            "flyte_connector_databricks_calls_in_flight",
            "Calls to the workspace in flight",
            by_class(|class| f64::from(class.in_flight)),
        )?;
        gauge(
            &mut encoder,
            "flyte_connector_databricks_budget_per_second",
            "Current rate limit of calls to the workspace; reduced after a 429",
            by_class(|class| class.rate_per_second),
        )
    }
}

fn gauge<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = (L, f64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}
