//! CPU and memory usage of a run's machines, from system tables (databricks-api.md#system-tables).
//!
//! `system.compute.node_timeline` has one row per machine and minute, in per cent of the machine's size, which
//! `node_types` has. One statement reads both through the operator's SQL warehouse; [`rows`] converts the result.

mod rows;

use connector_core::Error;
use databricks_client::{
    Client, ErrorKind,
    statements::{Binding, Disposition, Statement},
};

use super::{series::MachineUsage, window::ClippedWindow};
use crate::{
    config::warehouse::{SqlResults, Warehouse},
    context::{Context, host_of_run},
    error,
    run_meta::RunMeta,
};

/// Clusters that one query reads: the number of cluster parameters of the statement.
const MAX_CLUSTERS: usize = 16;

/// The maximum number of samples of all machines. The limit for the other metrics is separate.
const MAX_SAMPLES: u64 = 20_000;

/// Samples of a series if no step is requested.
const DEFAULT_SAMPLES: u64 = 60;

/// Interval of the rows in the tables.
const MINUTE: u64 = 60_000;

/// Selects one row per machine and step: mean usage, and the machine's size. A node type that `node_types` lists twice
/// counts once. `cargo xtask interop --full` runs the statement on Spark.
const STATEMENT: &str = include_str!("usage/statement.sql");

const CLUSTER_PARAMETERS: [&str; MAX_CLUSTERS] = [
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

/// Returns the SQL warehouse configured for the run's workspace.
///
/// # Errors
///
/// `FailedPrecondition` if none is configured.
pub(super) fn warehouse_of<'a>(
    context: &'a Context,
    meta: &RunMeta,
) -> Result<&'a Warehouse, Error> {
    let host = host_of_run(meta)?;
    context.settings.warehouses.get(&host).ok_or_else(|| {
        let message = format!("CPU and memory metrics of runs at {host} need a SQL warehouse, and none is configured");
        Error::failed_precondition(message).with_hint(
            "the operator can set FLYTE_DATABRICKS_SQL_WAREHOUSE, or `sql_warehouse` in the workspaces file",
        )
    })
}

/// Reads the usage of the clusters' machines in the window. `metrics` is the number of metrics that share the sample limit.
///
/// # Errors
///
/// `FailedPrecondition` if the warehouse or the tables may not be used, `InvalidRequest` if there are too many samples, and
/// failures of the workspace.
pub(super) async fn read(
    client: &Client,
    warehouse: &Warehouse,
    clusters: &[&str],
    window: ClippedWindow,
    metrics: usize,
) -> Result<MachineUsage, Error> {
    let Some(last) = clusters.last() else { return Ok(MachineUsage::default()) };
    let step = window.step.unwrap_or_else(|| default_step(window.until - window.from));
    let max_samples = MAX_SAMPLES / metrics.max(1) as u64;
    let milliseconds = |value: u64| Binding::bigint(i64::try_from(value).unwrap_or(i64::MAX));
    let mut statement = Statement::new(warehouse.id.as_str(), STATEMENT)
        .bind("anchor", milliseconds(window.anchor))
        .bind("step", milliseconds(step))
        .bind("from", milliseconds(window.from))
        .bind("until", milliseconds(window.until))
        .row_limit(max_samples)
        .disposition(match warehouse.results {
            SqlResults::Inline => Disposition::Inline,
            SqlResults::Links => Disposition::ExternalLinks,
        })
        .idempotent();
    for (index, parameter) in CLUSTER_PARAMETERS.into_iter().enumerate() {
        let cluster = clusters.get(index).unwrap_or(last);
        statement = statement.bind(parameter, Binding::text(*cluster));
    }
    let table = client
        .run_statement(&statement)
        .await
        .map_err(|error| statement_error(warehouse, error))?;
    if table.is_truncated() {
        return Err(Error::invalid_request(format!(
            "there are more than {max_samples} samples of CPU and memory usage, which is the limit"
        ))
        .with_hint("request a larger step or a shorter window"));
    }
    rows::read(&table, window, step)
}

/// Returns the default step: whole minutes.
fn default_step(span: u64) -> u64 {
    span.div_ceil(DEFAULT_SAMPLES).div_ceil(MINUTE).max(1) * MINUTE
}

/// Converts a failure of the statement. The operator can fix a rejection.
fn statement_error(warehouse: &Warehouse, error: databricks_client::Error) -> Error {
    let rejections = [ErrorKind::Invalid, ErrorKind::Forbidden, ErrorKind::NotFound];
    if !rejections.contains(&error.kind()) {
        return error::from_client("reading the system tables", error);
    }
    let message = format!("SQL warehouse {} cannot read the system tables", warehouse.id);
    Error::failed_precondition(message)
        .with_hint(
            "the credential needs CAN USE on the warehouse, and SELECT on system.compute.node_timeline and \
             system.compute.node_types; an account admin enables the schema",
        )
        .with_source(error)
}

/// Returns the likely reason why there is no usage data.
pub(super) fn reason_for_no_data(
    window: Option<ClippedWindow>,
    clusters: &[&str],
    now: u64,
) -> &'static str {
    const DAY: u64 = 24 * 60 * MINUTE;
    let Some(window) = window else {
        return "the run did not exist in the window";
    };
    let ago = now.saturating_sub(window.until);
    if clusters.is_empty() {
        "the run has no known cluster; system tables do not cover serverless compute"
    } else if ago < DAY {
        "system tables are updated with a delay of minutes to hours, and may omit machines that ran for less than \
         ten minutes; retry later"
    } else if ago > 90 * DAY {
        "system tables keep this data for 90 days"
    } else {
        "system tables may omit machines that ran for less than ten minutes"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cluster_parameter_is_in_the_statement() {
        for parameter in CLUSTER_PARAMETERS {
            assert!(
                STATEMENT.contains(&format!(":{parameter},"))
                    || STATEMENT.contains(&format!(":{parameter})")),
                "{parameter}"
            );
        }
        assert_eq!(STATEMENT.matches(":cluster_").count(), MAX_CLUSTERS);
    }

    #[test]
    fn default_step_is_whole_minutes() {
        let minutes = |span: u64| default_step(span * MINUTE) / MINUTE;
        assert_eq!([0, 1, 60, 61, 2_880].map(minutes), [1, 1, 1, 2, 48]);
    }

    #[test]
    fn missing_data_has_the_matching_reason() {
        let window = |until| Some(ClippedWindow { anchor: 0, from: 0, until, step: None });
        let now = 200 * 24 * 60 * MINUTE;
        assert!(reason_for_no_data(None, &["c"], now).contains("did not exist"));
        assert!(reason_for_no_data(window(now), &[], now).contains("serverless"));
        assert!(reason_for_no_data(window(now), &["c"], now).contains("delay"));
        assert!(reason_for_no_data(window(1), &["c"], now).contains("90 days"));
        assert!(reason_for_no_data(window(now / 2 + now / 4), &["c"], now).contains("ten minutes"));
    }
}
