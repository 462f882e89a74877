//! Cancels runs that belong to nobody: those of earlier attempts, and those whose submission was never answered
//! (DESIGN §3.1).

use databricks_client::{Client, Error, RunId, jobs::ListRuns};
use tracing::{info, warn};

use crate::create::run_tag::RunTag;

/// Pages of active runs that are looked through, at 24 runs a page.
const MAX_PAGES: usize = 20;

/// Runs on a page: inside every statement about the limit (DA §1.5).
const PAGE: u32 = 24;

/// Cancels the active runs of that action, up to that attempt, tells of each, and says how many.
///
/// # Errors
///
/// The first failure to list; else the first one to cancel, once all the others are cancelled: a run that cannot be
/// cancelled shields no other.
pub(crate) async fn cancel_runs_up_to(
    client: &Client,
    marker: &RunTag,
    cancelled: impl Fn(RunId),
) -> Result<usize, Error> {
    let mut list = ListRuns {
        active_only: true,
        expand_tasks: true,
        run_type: Some("SUBMIT_RUN".to_owned()),
        limit: Some(PAGE),
        ..ListRuns::default()
    };
    let (mut number, mut failed) = (0, None);
    for _ in 0..MAX_PAGES {
        let page = client.list_runs(&list).await?;
        for run in page.runs.iter().filter(|run| marker.is_up_to_here(run)) {
            let Some(run_id) = run.run_id else { continue };
            if let Err(error) = client.cancel_run(run_id).await {
                failed.get_or_insert(error);
                continue;
            }
            number += 1;
            cancelled(run_id);
            info!(host = %client.host(), %run_id, %marker, "a run that belongs to nobody was cancelled");
        }
        let Some(next) = page.next() else { return failed.map_or(Ok(number), Err) };
        list.page_token = Some(next.to_owned());
    }
    warn!(host = %client.host(), pages = MAX_PAGES, %marker, "there are more active runs than are looked through");
    failed.map_or(Ok(number), Err)
}
