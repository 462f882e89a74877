//! A build without the system tables: CPU and memory are known by name, and cannot be had.

use connector_core::Error;
use databricks_client::Client;

use super::{Beside, Known, Used};
use crate::{config::warehouse::Warehouse, context::Context, run_meta::RunMeta};

/// There is none.
///
/// # Errors
///
/// `FailedPrecondition`, always.
pub(super) fn warehouse_of<'a>(
    _context: &'a Context,
    _meta: &RunMeta,
) -> Result<&'a Warehouse, Error> {
    let message = "this server is built without what reads CPU and memory from system tables";
    Err(Error::failed_precondition(message).with_hint("build it with the feature system-tables"))
}

impl Beside<'_> {
    #[expect(clippy::unused_async, reason = "with the feature it reads")]
    pub(super) async fn used(
        &self,
        _client: &Client,
        _asked: &[(&'static str, Known)],
        _warehouse: Option<&Warehouse>,
    ) -> Result<Used, Error> {
        Ok(Used::default())
    }

    #[expect(clippy::unused_self, reason = "with the feature it looks at the run")]
    pub(super) fn why_nothing_used(&self) -> String {
        String::new()
    }
}
