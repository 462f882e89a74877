//! CPU and memory of a run's machines, from the system tables that Databricks keeps of its compute (DA §5.2).
//!
//! `system.compute.node_timeline` has one row a minute and machine, in per cent; `node_types` says of how much. They are
//! read with one statement at the SQL warehouse that the operator names. [`rows`] makes series of what comes.

mod rows;

use connector_core::Error;
use databricks_client::{
    Client, ErrorKind,
    statements::{Binding, Disposition, Statement},
};

use super::{Beside, Known, Used, clipped, is_used, window::Clipped};
use crate::{
    config::warehouse::{SqlResults, Warehouse},
    context::{Context, host_of},
    error,
    run_meta::RunMeta,
};

/// Clusters that are asked about for one answer, which is how many markers the statement has for them.
const MAX_CLUSTERS: usize = 16;

/// Samples of all series together; those of the run itself have their own share of an answer.
const MAX_SAMPLES: u64 = 20_000;

/// Samples of a series when no step is asked for.
const USUAL_SAMPLES: u64 = 60;

/// The tables have one row for each.
const MINUTE: u64 = 60_000;

/// One row for each machine and step: the mean of its minutes, and how large it is. A type of machine that is in
/// `node_types` twice counts once. `cargo xtask interop --full` runs it with Spark.
const STATEMENT: &str = include_str!("usage/statement.sql");

const MARKERS: [&str; MAX_CLUSTERS] = [
    "cluster_0",
    "cluster_1",
    "cluster_2",
    "cluster_3",
    "cluster_4",
    "cluster_5",
    "cluster_6",
    "cluster_7",
    "cluster_8",
    "cluster_9",
    "cluster_10",
    "cluster_11",
    "cluster_12",
    "cluster_13",
    "cluster_14",
    "cluster_15",
];

/// The warehouse of the run's workspace.
///
/// # Errors
///
/// `FailedPrecondition` when there is none.
pub(super) fn warehouse_of<'a>(
    context: &'a Context,
    meta: &RunMeta,
) -> Result<&'a Warehouse, Error> {
    let host = host_of(meta)?;
    context.settings.warehouses.get(&host).ok_or_else(|| {
        let message = format!("CPU and memory of runs at {host} need a SQL warehouse there, and none is named");
        Error::failed_precondition(message).with_hint(
            "the operator can name one with FLYTE_DATABRICKS_SQL_WAREHOUSE, or as `sql_warehouse` in the file of workspaces",
        )
    })
}

impl Beside<'_> {
    /// What the run's machines used, as far as it is asked for.
    pub(super) async fn used(
        &self,
        client: &Client,
        asked: &[(&'static str, Known)],
        warehouse: Option<&Warehouse>,
    ) -> Result<Used, Error> {
        let metrics = asked.iter().filter(|asked| is_used(asked)).count();
        let clipped = clipped(self.run, self.window, self.now).filter(|_| metrics > 0);
        let (Some((life, clipped)), Some(warehouse)) = (clipped, warehouse) else {
            return Ok(Used::default());
        };
        let clusters = life.clusters_until(clipped.until);
        of_clusters(client, warehouse, &clusters, clipped, metrics as u64).await
    }

    /// Why nothing is known of the machines.
    pub(super) fn why_nothing_used(&self) -> String {
        let clipped = clipped(self.run, self.window, self.now);
        let clusters = clipped.as_ref().map(|(life, at)| life.clusters_until(at.until));
        let window = clipped.as_ref().map(|(_, clipped)| *clipped);
        why_nothing(window, &clusters.unwrap_or_default(), self.now)
    }
}

/// What the machines of the clusters used in the window. `metrics` is how many of CPU and memory are told.
///
/// # Errors
///
/// `FailedPrecondition` when the warehouse or the tables may not be used, `InvalidRequest` when there are more samples
/// than an answer holds, and what keeps the workspace from answering.
async fn of_clusters(
    client: &Client,
    warehouse: &Warehouse,
    clusters: &[&str],
    window: Clipped,
    metrics: u64,
) -> Result<Used, Error> {
    let Some(last) = clusters.last() else { return Ok(Used::default()) };
    let step = window.step.unwrap_or_else(|| usual_step(window.until - window.from));
    let most = MAX_SAMPLES / metrics.max(1);
    let milliseconds = |value: u64| Binding::bigint(i64::try_from(value).unwrap_or(i64::MAX));
    let mut statement = Statement::new(warehouse.id.as_str(), STATEMENT)
        .bind("anchor", milliseconds(window.anchor))
        .bind("step", milliseconds(step))
        .bind("from", milliseconds(window.from))
        .bind("until", milliseconds(window.until))
        .row_limit(most)
        .disposition(match warehouse.results {
            SqlResults::Inline => Disposition::Inline,
            SqlResults::Links => Disposition::ExternalLinks,
        })
        .idempotent();
    for (place, marker) in MARKERS.into_iter().enumerate() {
        let cluster = clusters.get(place).unwrap_or(last);
        statement = statement.bind(marker, Binding::text(*cluster));
    }
    let table =
        client.run_statement(&statement).await.map_err(|failed| refused(warehouse, failed))?;
    if table.is_truncated() {
        return Err(Error::invalid_request(format!(
            "there are more than {most} samples of the machines' CPU and memory; an answer holds {most}"
        ))
        .with_hint("ask for a larger step or a shorter window"));
    }
    rows::read(&table, window, step)
}

/// A whole number of minutes.
fn usual_step(span: u64) -> u64 {
    span.div_ceil(USUAL_SAMPLES).div_ceil(MINUTE).max(1) * MINUTE
}

/// What keeps the tables from being read. A refusal is for the operator to mend.
fn refused(warehouse: &Warehouse, failed: databricks_client::Error) -> Error {
    let of_operator = [ErrorKind::Invalid, ErrorKind::Forbidden, ErrorKind::NotFound];
    if !of_operator.contains(&failed.kind()) {
        return error::from_client("reading the system tables", failed);
    }
    let message = format!("the system tables cannot be read with SQL warehouse {}", warehouse.id);
    Error::failed_precondition(message)
        .with_hint(
            "the credential needs CAN USE on the warehouse, and SELECT on system.compute.node_timeline and \
             system.compute.node_types, whose schema an account admin enables",
        )
        .with_source(failed)
}

/// Why nothing is known of the machines.
fn why_nothing(window: Option<Clipped>, clusters: &[&str], now: u64) -> String {
    const DAY: u64 = 24 * 60 * MINUTE;
    let Some(window) = window else {
        return "the run was not alive in the window".to_owned();
    };
    let ago = now.saturating_sub(window.until);
    let why = if clusters.is_empty() {
        "no cluster of the run is known; serverless compute is not in the system tables, and neither is a cluster \
         that was not asked for yet"
    } else if ago < DAY {
        "Databricks fills its system tables minutes to hours late, and may leave out machines that lived for less \
         than ten minutes; ask again later"
    } else if ago > 90 * DAY {
        "Databricks keeps this for 90 days"
    } else {
        "Databricks may leave out machines that lived for less than ten minutes"
    };
    why.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_marker_of_a_cluster_is_in_the_statement() {
        for marker in MARKERS {
            assert!(
                STATEMENT.contains(&format!(":{marker},"))
                    || STATEMENT.contains(&format!(":{marker})")),
                "{marker}"
            );
        }
        assert_eq!(STATEMENT.matches(":cluster_").count(), MAX_CLUSTERS);
    }

    #[test]
    fn the_usual_step_is_whole_minutes() {
        let minutes = |span: u64| usual_step(span * MINUTE) / MINUTE;
        assert_eq!([0, 1, 60, 61, 2_880].map(minutes), [1, 1, 1, 2, 48]);
    }

    #[test]
    fn nothing_has_a_reason_that_fits() {
        let window = |until| Some(Clipped { anchor: 0, from: 0, until, step: None });
        let now = 200 * 24 * 60 * MINUTE;
        assert!(why_nothing(None, &["c"], now).contains("not alive"));
        assert!(why_nothing(window(now), &[], now).contains("serverless"));
        assert!(why_nothing(window(now), &["c"], now).contains("late"));
        assert!(why_nothing(window(1), &["c"], now).contains("90 days"));
        assert!(why_nothing(window(now / 2 + now / 4), &["c"], now).contains("ten minutes"));
    }
}
