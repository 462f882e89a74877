//! Replaces [`usage`](super::usage) in builds without the feature `system-tables`. The metrics keep their names.

use connector_core::Error;
use databricks_client::Client;

use super::{series::MachineUsage, window::ClippedWindow};
use crate::{config::warehouse::Warehouse, context::Context, run_meta::RunMeta};

/// Returns an error: this build cannot use a warehouse.
///
/// # Errors
///
/// `FailedPrecondition`, always.
pub(super) fn warehouse_of<'a>(
    _context: &'a Context,
    _meta: &RunMeta,
) -> Result<&'a Warehouse, Error> {
    let message = "this build cannot read CPU and memory usage from system tables";
    Err(Error::failed_precondition(message)
        .with_hint("build it with the cargo feature `system-tables`"))
}

#[expect(clippy::unused_async, reason = "the signature of the enabled feature")]
pub(super) async fn read(
    _client: &Client,
    _warehouse: &Warehouse,
    _clusters: &[&str],
    _window: ClippedWindow,
    _metrics: usize,
) -> Result<MachineUsage, Error> {
    Ok(MachineUsage::default())
}

pub(super) fn reason_for_no_data(
    _window: Option<ClippedWindow>,
    _clusters: &[&str],
    _now: u64,
) -> &'static str {
    ""
}
