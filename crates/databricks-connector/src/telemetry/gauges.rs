//! Prometheus gauges that are computed at scrape time.

use std::{fmt, sync::Arc, time::Instant};

use connector_core::Phase;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet},
    metrics::MetricType,
};

use super::{CircuitBreakerState, RateLimitSnapshot, RequestClassSnapshot, WorkspaceSnapshot};
use crate::context::Context;

/// Exports the state of the workspaces and of the tracked runs.
#[derive(Debug)]
pub(crate) struct Gauges(pub(crate) Arc<Context>);

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let phases = self.0.run_tracker.phases(Instant::now());
        let runs = [Phase::WaitingForResources, Phase::Initializing, Phase::Running].map(|phase| {
            #[expect(clippy::cast_precision_loss, reason = "the number of tracked runs is bounded")]
            let number = phases.get(&phase).copied().unwrap_or_default() as f64;
            ([("phase", phase.as_str())], number)
        });
        gauge(
            &mut encoder,
            "flyte_connector_databricks_runs",
            "Runs polled in the last 15 minutes, by the phase last reported",
            runs,
        )?;

        // Workspaces beyond the limit of label values have no gauges.
        let labels = self.0.settings.telemetry.metrics.workspaces();
        let workspaces: Vec<(String, WorkspaceSnapshot)> = self
            .0
            .settings
            .pool
            .snapshots()
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
        let lanes = |value: fn(&RequestClassSnapshot) -> f64| {
            workspaces.iter().flat_map(move |(label, workspace)| {
                let sum = |lane: fn(&RateLimitSnapshot) -> &RequestClassSnapshot| -> f64 {
                    workspace.rate_limits.iter().map(|budget| value(lane(budget))).sum()
                };
                let labels = |lane| [("workspace", label.as_str()), ("lane", lane)];
                [
                    (labels("reads"), sum(|budget| &budget.reads)),
                    (labels("writes"), sum(|budget| &budget.writes)),
                ]
            })
        };
        gauge(
            &mut encoder,
            "flyte_connector_databricks_calls_in_flight",
            "Calls to the workspace in flight",
            lanes(|lane| f64::from(lane.in_flight)),
        )?;
        gauge(
            &mut encoder,
            "flyte_connector_databricks_budget_per_second",
            "Current rate limit of calls to the workspace; reduced after a 429",
            lanes(|lane| lane.rate_per_second),
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
