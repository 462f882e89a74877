//! `GetTaskMetrics`: what a run tells of itself as range-query results, with no set-up at all.
//!
//! What the machines used comes from system tables (`usage`), where the operator names a SQL warehouse.
//!
//! [`window`] says which moments are asked for, [`life`] what was when, [`curve`] how a few figures become a series:
//! they are pure. [`cluster_size`] reads the events of the clusters.

mod cluster_size;
mod curve;
mod life;
#[cfg(feature = "system-tables")]
mod usage;
mod window;
#[cfg(not(feature = "system-tables"))]
mod without_usage;

use std::time::{Duration, SystemTime};

use connector_core::{CallContext, Error, ErrorKind, Metric, MetricsRequest, Series};
use databricks_client::{Client, jobs::Run};

use self::{
    curve::Told,
    life::{Life, Part},
    window::{Clipped, Window, since_epoch},
};
#[cfg(feature = "system-tables")]
use usage::warehouse_of;
#[cfg(not(feature = "system-tables"))]
use without_usage::warehouse_of;

use crate::{config::warehouse::Warehouse, context::Context, error, logs, run_meta::RunMeta};

/// How long the clusters may take to tell their size, when nobody asked for it by name.
const UNASKED: Duration = Duration::from_secs(5);

/// What is told of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Queue,
    Whole,
    Tasks,
    Attempts,
    Part(Part),
    Workers,
    Used(Resource),
}

/// What machines have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    Cpu,
    Memory,
}

/// Every known metric, in the order of the answer. What belongs to a task has one series a task or an attempt, for the
/// run's own figures are 0 where it has several tasks (DA §1.3).
const KNOWN: [(&str, Known); 10] = [
    ("databricks_run_queue_duration_seconds", Known::Queue),
    ("databricks_run_duration_seconds", Known::Whole),
    ("databricks_run_tasks", Known::Tasks),
    ("databricks_task_attempts", Known::Attempts),
    ("databricks_task_setup_duration_seconds", Known::Part(Part::Setup)),
    ("databricks_task_execution_duration_seconds", Known::Part(Part::Execution)),
    ("databricks_task_cleanup_duration_seconds", Known::Part(Part::Cleanup)),
    ("databricks_cluster_workers", Known::Workers),
    // Flyte's own names (FC §1.8).
    ("EXECUTION_METRIC_USED_CPU_AVG", Known::Used(Resource::Cpu)),
    ("EXECUTION_METRIC_USED_MEMORY_BYTES_AVG", Known::Used(Resource::Memory)),
];

/// The asked metrics of a run; those that have nothing to tell in the window have no series.
///
/// # Errors
///
/// `InvalidRequest` for an unknown name, with the known ones, and for a window or step that makes no sense; `OutOfRange`
/// when CPU or memory were asked for and there is nothing at all; whatever keeps the run from being read.
pub(crate) async fn of_run(
    context: &Context,
    cx: &CallContext,
    meta: &RunMeta,
    request: &MetricsRequest,
) -> Result<Vec<Metric>, Error> {
    let mut asked = asked(&request.names)?;
    let window = Window::new(request)?;
    let by_name = !request.names.is_empty();
    let warehouse = match warehouse_of(context, meta) {
        Err(without) if by_name && asked.iter().any(is_used) => return Err(without),
        Err(_) => {
            asked.retain(|asked| !is_used(asked));
            None
        }
        Ok(warehouse) => Some(warehouse),
    };
    let client = logs::client_of_run(context, cx, meta).await?;
    let run = client
        .get_run(meta.run_id)
        .await
        .map_err(|error| error::from_client("reading the run", error))?;
    let now = since_epoch(SystemTime::now());
    let beside = Beside { client: &client, run: &run, window, now, by_name };
    let (workers, used) = tokio::join!(
        Box::pin(beside.workers(&asked)),
        Box::pin(beside.what_is_used(&asked, warehouse))
    );
    let metrics = answer(&asked, &run, window, now, workers?, used?)?;
    if by_name && asked.iter().any(is_used) && metrics.iter().all(|metric| metric.series.is_empty())
    {
        let why = beside.why_nothing_used();
        let message = format!("nothing is known of the CPU and memory of run {}", meta.run_id);
        return Err(Error::new(ErrorKind::OutOfRange, format!("{message}: {why}")));
    }
    Ok(metrics)
}

fn is_used((_, known): &(&'static str, Known)) -> bool {
    matches!(known, Known::Used(_))
}

/// What the names stand for; none of them: everything.
fn asked(names: &[String]) -> Result<Vec<(&'static str, Known)>, Error> {
    let is_known = |name: &&String| KNOWN.iter().any(|(known, _)| known == name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let known: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
        return Err(Error::invalid_request(format!("there is no metric `{unknown}`"))
            .with_hint(format!("the metrics are {}", known.join(", "))));
    }
    let is_asked = |known: &str| names.is_empty() || names.iter().any(|name| name == known);
    Ok(KNOWN.into_iter().filter(|(name, _)| is_asked(name)).collect())
}

/// The part of the run's life that lies in the window.
fn clipped(run: &Run, window: Window, now: u64) -> Option<(Life<'_>, Clipped)> {
    let life = Life::of(run, now)?;
    let clipped = window.clip(life.born, life.gone)?;
    Some((life, clipped))
}

/// What the run's machines used.
#[derive(Debug, Default, Clone, PartialEq)]
struct Used {
    /// Cores that were busy.
    cpu: Vec<Series>,
    /// Bytes that were in use.
    memory: Vec<Series>,
}

/// What has to be read beside the run. Where nobody asked for it by name, what cannot be read is left out.
#[derive(Debug)]
struct Beside<'a> {
    client: &'a Client,
    run: &'a Run,
    window: Window,
    now: u64,
    by_name: bool,
}

impl Beside<'_> {
    fn client(&self) -> Client {
        if self.by_name { self.client.clone() } else { self.client.clone().with_timeout(UNASKED) }
    }

    /// The sizes of the run's clusters.
    async fn workers(&self, asked: &[(&'static str, Known)]) -> Result<Vec<Told>, Error> {
        let is_asked = asked.iter().any(|(_, known)| *known == Known::Workers);
        let clipped = clipped(self.run, self.window, self.now).filter(|_| is_asked);
        let Some((life, clipped)) = clipped else { return Ok(Vec::new()) };
        let told = cluster_size::of_clusters(&self.client(), &life.clusters(), clipped.until).await;
        self.or_nothing(told.map_err(|failed| {
            error::from_client("reading the sizes of the run's clusters", failed)
        }))
    }

    /// What the run's machines used.
    async fn what_is_used(
        &self,
        asked: &[(&'static str, Known)],
        warehouse: Option<&Warehouse>,
    ) -> Result<Used, Error> {
        self.or_nothing(self.used(&self.client(), asked, warehouse).await)
    }

    fn or_nothing<T: Default>(&self, read: Result<T, Error>) -> Result<T, Error> {
        match read {
            Err(failed) if !self.by_name => {
                tracing::debug!(error = %failed, "a metric that nobody asked for is left out");
                Ok(T::default())
            }
            read => read,
        }
    }
}

fn answer(
    asked: &[(&'static str, Known)],
    run: &Run,
    window: Window,
    now: u64,
    workers: Vec<Told>,
    used: Used,
) -> Result<Vec<Metric>, Error> {
    let Some((life, clipped)) = clipped(run, window, now) else {
        return Ok(asked.iter().map(|(name, _)| Metric::new(*name, Vec::new())).collect());
    };
    let (mut workers, mut used) = (Some(workers), used);
    let told: Vec<(&str, Known, Vec<Told>)> = asked
        .iter()
        .map(|(name, known)| {
            let told = match known {
                Known::Queue => life.queue(),
                Known::Whole => life.whole(),
                Known::Tasks => life.tasks(),
                Known::Attempts => life.attempts(),
                Known::Part(part) => life.part(*part),
                Known::Workers => workers.take().unwrap_or_default(),
                Known::Used(_) => Vec::new(),
            };
            (*name, *known, told)
        })
        .collect();
    let moments = clipped.moments(told.iter().map(|(.., told)| told.len()).sum())?;
    let sampled = told.into_iter().map(|(name, known, told)| {
        let series = match known {
            Known::Used(Resource::Cpu) => std::mem::take(&mut used.cpu),
            Known::Used(Resource::Memory) => std::mem::take(&mut used.memory),
            _ => told.into_iter().filter_map(|told| told.sampled(&moments)).collect(),
        };
        Metric::new(name, series)
    });
    Ok(sampled.collect())
}

/// How long a run took, and how long it was there before a task of it worked, as far as it tells.
pub(crate) fn times(run: &Run) -> (Option<Duration>, Option<Duration>) {
    // Only what has ended is measured, so that the time of now is not needed.
    let life = Life::of(run, 0);
    let milliseconds = |told: Option<u64>| told.map(Duration::from_millis);
    let took = milliseconds(life.as_ref().and_then(Life::took));
    (took, milliseconds(life.as_ref().and_then(Life::until_running)))
}

#[cfg(test)]
mod tests;
