//! `GetTaskMetrics`: what a run tells of itself as range-query results, with no set-up at all.
//!
//! [`window`] says which moments are asked for, [`life`] what was when, [`curve`] how a few figures become a series:
//! they are pure. [`cluster_size`] reads the events of the clusters.

mod cluster_size;
mod curve;
mod life;
mod window;

use std::time::{Duration, SystemTime};

use connector_core::{CallContext, Error, Metric, MetricsRequest};
use databricks_client::{Client, jobs::Run};

use self::{
    curve::Told,
    life::{Life, Part},
    window::{Clipped, Window, since_epoch},
};
use crate::{DatabricksConnector, error, logs, run_meta::RunMeta};

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
}

/// Every known metric, in the order of the answer. What belongs to a task has one series a task or an attempt, for the
/// run's own figures are 0 where it has several tasks (DA §1.3).
const KNOWN: [(&str, Known); 8] = [
    ("databricks_run_queue_duration_seconds", Known::Queue),
    ("databricks_run_duration_seconds", Known::Whole),
    ("databricks_run_tasks", Known::Tasks),
    ("databricks_task_attempts", Known::Attempts),
    ("databricks_task_setup_duration_seconds", Known::Part(Part::Setup)),
    ("databricks_task_execution_duration_seconds", Known::Part(Part::Execution)),
    ("databricks_task_cleanup_duration_seconds", Known::Part(Part::Cleanup)),
    ("databricks_cluster_workers", Known::Workers),
];

/// The asked metrics of a run; those that have nothing to tell in the window have no series.
///
/// # Errors
///
/// `InvalidRequest` for an unknown name, with the known ones, and for a window or step that makes no sense; whatever
/// keeps the run from being read.
pub(crate) async fn of_run(
    connector: &DatabricksConnector,
    cx: &CallContext,
    meta: &RunMeta,
    request: &MetricsRequest,
) -> Result<Vec<Metric>, Error> {
    let asked = asked(&request.names)?;
    let window = Window::new(request)?;
    let client = logs::client_of_run(connector, cx, meta).await?;
    let run = client
        .get_run(meta.run_id)
        .await
        .map_err(|error| error::from_client("reading the run", error))?;
    let now = since_epoch(SystemTime::now());
    let workers = if asked.iter().any(|(_, known)| *known == Known::Workers) {
        workers(&client, &run, window, now, !request.names.is_empty()).await?
    } else {
        Vec::new()
    };
    answer(&asked, &run, window, now, workers)
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

/// The sizes of the run's clusters. Where nobody asked for them by name, what cannot be read is left out.
async fn workers(
    client: &Client,
    run: &Run,
    window: Window,
    now: u64,
    by_name: bool,
) -> Result<Vec<Told>, Error> {
    let Some((life, clipped)) = clipped(run, window, now) else { return Ok(Vec::new()) };
    let client = if by_name { client.clone() } else { client.clone().within(UNASKED) };
    match cluster_size::of_clusters(&client, &life.clusters(), clipped.until).await {
        Ok(told) => Ok(told),
        Err(failed) if by_name => {
            Err(error::from_client("reading the sizes of the run's clusters", failed))
        }
        Err(failed) => {
            tracing::debug!(error = %failed, "the sizes of the run's clusters are left out");
            Ok(Vec::new())
        }
    }
}

fn answer(
    asked: &[(&'static str, Known)],
    run: &Run,
    window: Window,
    now: u64,
    workers: Vec<Told>,
) -> Result<Vec<Metric>, Error> {
    let Some((life, clipped)) = clipped(run, window, now) else {
        return Ok(asked.iter().map(|(name, _)| Metric::new(*name, Vec::new())).collect());
    };
    let mut workers = Some(workers);
    let told: Vec<(&str, Vec<Told>)> = asked
        .iter()
        .map(|(name, known)| {
            let told = match known {
                Known::Queue => life.queue(),
                Known::Whole => life.whole(),
                Known::Tasks => life.tasks(),
                Known::Attempts => life.attempts(),
                Known::Part(part) => life.part(*part),
                Known::Workers => workers.take().unwrap_or_default(),
            };
            (*name, told)
        })
        .collect();
    let moments = clipped.moments(told.iter().map(|(_, told)| told.len()).sum())?;
    let sampled = told.into_iter().map(|(name, told)| {
        Metric::new(name, told.into_iter().filter_map(|told| told.sampled(&moments)).collect())
    });
    Ok(sampled.collect())
}

#[cfg(test)]
mod tests;
