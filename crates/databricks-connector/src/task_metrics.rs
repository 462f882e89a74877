//! `GetTaskMetrics`: what Databricks reports of a run, as results of range queries.
//!
//! [`window`] computes the sample times, [`timeline`] the run's history, [`series`] the series; these are pure.
//! [`cluster_workers`] reads cluster events. [`usage`] reads CPU and memory from system tables, where the operator
//! configured a SQL warehouse.
//!
//! Metrics of the connector itself do not belong here.

mod cluster_workers;
mod series;
mod timeline;
#[cfg(feature = "system-tables")]
mod usage;
#[cfg(not(feature = "system-tables"))]
#[path = "task_metrics/usage_disabled.rs"]
mod usage;
mod window;

use std::time::{Duration, SystemTime};

use connector_core::{CallContext, Error, ErrorKind, Metric, MetricsRequest};
use databricks_client::{Client, jobs::Run};

use self::{
    series::{MachineUsage, UnsampledSeries},
    timeline::AttemptPart,
    window::{ClippedWindow, Window, since_epoch},
};

use crate::{
    config::warehouse::Warehouse, context::Context, error, run_meta::RunMeta,
    run_timeline::RunTimeline,
};

/// Bounds the reads for metrics that were not requested by name.
const OPTIONAL_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The kinds of metrics of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetricKind {
    QueueDuration,
    RunDuration,
    TaskStates,
    TaskAttempts,
    PartDuration(AttemptPart),
    ClusterWorkers,
    CpuUsage,
    MemoryUsage,
}

/// Every metric, in response order. Durations of parts have one series per attempt, because those of the run itself are 0
/// for runs with several tasks (databricks-api.md#runs-get).
const METRICS: [(&str, MetricKind); 10] = [
    ("databricks_run_queue_duration_seconds", MetricKind::QueueDuration),
    ("databricks_run_duration_seconds", MetricKind::RunDuration),
    ("databricks_run_tasks", MetricKind::TaskStates),
    ("databricks_task_attempts", MetricKind::TaskAttempts),
    ("databricks_task_setup_duration_seconds", MetricKind::PartDuration(AttemptPart::Setup)),
    (
        "databricks_task_execution_duration_seconds",
        MetricKind::PartDuration(AttemptPart::Execution),
    ),
    ("databricks_task_cleanup_duration_seconds", MetricKind::PartDuration(AttemptPart::Cleanup)),
    ("databricks_cluster_workers", MetricKind::ClusterWorkers),
    // Names that Flyte defines (flyte-contract.md#logs-and-metrics).
    ("EXECUTION_METRIC_USED_CPU_AVG", MetricKind::CpuUsage),
    ("EXECUTION_METRIC_USED_MEMORY_BYTES_AVG", MetricKind::MemoryUsage),
];

/// Returns the requested metrics of a run. A metric without values in the window has no series.
///
/// # Errors
///
/// `InvalidRequest` for an unknown name, an invalid window or step; `OutOfRange` if CPU or memory were requested by name
/// and no metric has a series; failures to read the run.
pub(crate) async fn of_run(
    context: &Context,
    cx: &CallContext,
    meta: &RunMeta,
    request: &MetricsRequest,
) -> Result<Vec<Metric>, Error> {
    let mut requested = requested(&request.names)?;
    let window = Window::new(request)?;
    let by_name = !request.names.is_empty();
    let warehouse = match usage::warehouse_of(context, meta) {
        Err(error) if by_name && requested.iter().any(is_usage) => return Err(error),
        Err(_) => {
            requested.retain(|metric| !is_usage(metric));
            None
        }
        Ok(warehouse) => Some(warehouse),
    };
    let client = context.client_without_connection(cx, meta).await?;
    let run = client
        .get_run(meta.run_id)
        .await
        .map_err(|error| error::from_client("reading the run", error))?;
    let now = since_epoch(SystemTime::now());
    let query = Query { run: &run, requested: &requested, window, now };
    let timed = if by_name { client } else { client.with_timeout(OPTIONAL_READ_TIMEOUT) };
    let (workers, usage) =
        tokio::join!(Box::pin(query.workers(&timed)), Box::pin(query.usage(&timed, warehouse)));
    let workers = unless_optional(workers, by_name)?;
    let usage = unless_optional(usage, by_name)?;
    let metrics = query.response(workers, usage)?;
    if by_name
        && requested.iter().any(is_usage)
        && metrics.iter().all(|metric| metric.series.is_empty())
    {
        let reason = query.reason_for_no_usage();
        let message = format!("no CPU and memory usage is known of run {}", meta.run_id);
        return Err(Error::new(ErrorKind::OutOfRange, format!("{message}: {reason}")));
    }
    Ok(metrics)
}

fn is_usage((_, kind): &(&'static str, MetricKind)) -> bool {
    matches!(kind, MetricKind::CpuUsage | MetricKind::MemoryUsage)
}

/// Returns the metrics of these names, or all if there are none.
fn requested(names: &[String]) -> Result<Vec<(&'static str, MetricKind)>, Error> {
    let is_known = |name: &&String| METRICS.iter().any(|(known, _)| known == name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let known: Vec<&str> = METRICS.iter().map(|(name, _)| *name).collect();
        return Err(Error::invalid_request(format!("unknown metric `{unknown}`"))
            .with_hint(format!("the metrics are {}", known.join(", "))));
    }
    let is_requested = |known: &str| names.is_empty() || names.iter().any(|name| name == known);
    Ok(METRICS.into_iter().filter(|(name, _)| is_requested(name)).collect())
}

/// Replaces a failed read by no data if the metric was not requested by name.
fn unless_optional<T: Default>(read: Result<T, Error>, by_name: bool) -> Result<T, Error> {
    match read {
        Err(error) if !by_name => {
            tracing::debug!(%error, "omitting a metric that was not requested by name");
            Ok(T::default())
        }
        read => read,
    }
}

/// A metrics query for one run.
#[derive(Debug)]
struct Query<'a> {
    run: &'a Run,
    requested: &'a [(&'static str, MetricKind)],
    window: Window,
    now: u64,
}

impl<'a> Query<'a> {
    /// Returns the run's timeline and the part of the window in which the run existed.
    fn clipped(&self) -> Option<(RunTimeline<'a>, ClippedWindow)> {
        let timeline = RunTimeline::new(self.run, self.now)?;
        let clipped = self.window.clip(timeline.start, timeline.end)?;
        Some((timeline, clipped))
    }

    /// Reads the number of workers of the run's clusters.
    async fn workers(&self, client: &Client) -> Result<Vec<UnsampledSeries>, Error> {
        let is_requested =
            self.requested.iter().any(|(_, kind)| *kind == MetricKind::ClusterWorkers);
        let clipped = self.clipped().filter(|_| is_requested);
        let Some((timeline, clipped)) = clipped else { return Ok(Vec::new()) };
        cluster_workers::read(client, &timeline.clusters(), clipped.until)
            .await
            .map_err(|error| error::from_client("reading the sizes of the run's clusters", error))
    }

    /// Reads the CPU and memory usage of the run's machines.
    async fn usage(
        &self,
        client: &Client,
        warehouse: Option<&Warehouse>,
    ) -> Result<MachineUsage, Error> {
        let metrics = self.requested.iter().filter(|metric| is_usage(metric)).count();
        let clipped = self.clipped().filter(|_| metrics > 0);
        let (Some((timeline, clipped)), Some(warehouse)) = (clipped, warehouse) else {
            return Ok(MachineUsage::default());
        };
        let clusters = timeline.clusters_until(clipped.until);
        usage::read(client, warehouse, &clusters, clipped, metrics).await
    }

    fn reason_for_no_usage(&self) -> &'static str {
        let clipped = self.clipped();
        let window = clipped.as_ref().map(|(_, clipped)| *clipped);
        let clusters = clipped.map(|(timeline, clipped)| timeline.clusters_until(clipped.until));
        usage::reason_for_no_data(window, &clusters.unwrap_or_default(), self.now)
    }

    /// Samples every requested metric.
    fn response(
        &self,
        workers: Vec<UnsampledSeries>,
        usage: MachineUsage,
    ) -> Result<Vec<Metric>, Error> {
        let Some((timeline, clipped)) = self.clipped() else {
            let empty = self.requested.iter().map(|(name, _)| Metric::new(*name, Vec::new()));
            return Ok(empty.collect());
        };
        let (mut workers, mut usage) = (workers, usage);
        let unsampled: Vec<(&str, MetricKind, Vec<UnsampledSeries>)> = self
            .requested
            .iter()
            .map(|(name, kind)| {
                let series = match kind {
                    MetricKind::QueueDuration => timeline.queue_duration(),
                    MetricKind::RunDuration => timeline.run_duration(),
                    MetricKind::TaskStates => timeline.task_states(),
                    MetricKind::TaskAttempts => timeline.task_attempts(),
                    MetricKind::PartDuration(part) => timeline.part_duration(*part),
                    MetricKind::ClusterWorkers => std::mem::take(&mut workers),
                    MetricKind::CpuUsage | MetricKind::MemoryUsage => Vec::new(),
                };
                (*name, *kind, series)
            })
            .collect();
        let times =
            clipped.sample_times(unsampled.iter().map(|(.., series)| series.len()).sum())?;
        let sampled = unsampled.into_iter().map(|(name, kind, series)| {
            let series = match kind {
                MetricKind::CpuUsage => std::mem::take(&mut usage.cpu),
                MetricKind::MemoryUsage => std::mem::take(&mut usage.memory),
                _ => series.into_iter().filter_map(|series| series.sample(&times)).collect(),
            };
            Metric::new(name, series)
        });
        Ok(sampled.collect())
    }
}

#[cfg(test)]
mod tests;
