//! Finds and cancels orphans: runs of earlier attempts of an action, and the run of a creation
//! that was reported to Flyte as failed.
//!
//! Orphans are recognized by their run tag: the same action, and the same or an earlier attempt
//! ([`run_tag::is_same_or_earlier_attempt`]).

use std::time::Instant;

use connector_core::{
    CallContext, CreateContext, Error,
    attempt::{AttemptId, RunTag},
};
use databricks_client::{Client, Host, RunId, jobs::ListRuns};
use tracing::{info, warn};

use super::{CancelOutcome, cancel_task_run};
use crate::{
    context::{Context, host_of_run},
    create::run_tag,
    error,
    run_meta::RunMeta,
    task::DatabricksTask,
    telemetry::Orphan,
};

/// The maximum number of pages of active runs that are searched.
const MAX_PAGES: usize = 20;

/// Runs per page: within every documented limit (databricks-api.md#runs-list).
const PAGE_SIZE: u32 = 24;

/// Cancels the run of an abandoned creation. Searches for the run if `meta` is `None`, as after a
/// lost response of Databricks.
///
/// # Errors
///
/// The error that prevents the search or the cancel.
pub(crate) async fn cancel_abandoned(
    context: &Context,
    cx: CreateContext,
    meta: Option<RunMeta>,
) -> Result<(), Error> {
    let Some(meta) = meta else { return find_abandoned(context, &cx).await };
    let host = host_of_run(&meta)?;
    if cancel_task_run(context, &CallContext::from(cx), &meta).await? == CancelOutcome::Cancelled {
        record(context, &host, meta.run_id, Orphan::Abandoned);
    }
    Ok(())
}

async fn find_abandoned(context: &Context, cx: &CreateContext) -> Result<(), Error> {
    let task = DatabricksTask::parse(cx)?;
    let attempt = AttemptId::from_request(cx);
    let (client, _) = context.client_for_task(cx, &task, &attempt).await?;
    let Some(run_tag) = RunTag::new(&attempt) else {
        warn!("the run of an abandoned creation cannot be found: the request names no execution");
        return Ok(());
    };
    let cancelled =
        cancel_active(context, &client, &run_tag, Orphan::Abandoned).await.map_err(|error| {
            error::from_client("searching for the run of an abandoned creation", error)
        })?;
    if cancelled == 0 {
        info!(%run_tag, "no run was found for an abandoned creation");
    }
    Ok(())
}

/// Cancels active runs of earlier attempts of the same action. Does nothing for a first attempt.
///
/// # Errors
///
/// The error that prevents the search or a cancel.
pub(crate) async fn cancel_earlier_attempts(
    context: &Context,
    cx: &CreateContext,
) -> Result<(), Error> {
    let attempt = AttemptId::from_request(cx);
    let Some(previous) = RunTag::new(&attempt).and_then(|run_tag| run_tag.previous_attempt())
    else {
        return Ok(());
    };
    let task = DatabricksTask::parse(cx)?;
    let (client, _) = context.client_for_task(cx, &task, &attempt).await?;
    cancel_active(context, &client, &previous, Orphan::EarlierAttempt)
        .await
        .map_err(|error| error::from_client("searching for runs of earlier attempts", error))?;
    Ok(())
}

/// Cancels the active runs that the tag covers, and returns how many.
///
/// # Errors
///
/// The first failed list; else the first failed cancel, after all other runs were cancelled.
async fn cancel_active(
    context: &Context,
    client: &Client,
    run_tag: &RunTag,
    orphan: Orphan,
) -> Result<usize, databricks_client::Error> {
    let host = client.host();
    let mut list = ListRuns {
        active_only: true,
        expand_tasks: true,
        run_type: Some("SUBMIT_RUN".to_owned()),
        limit: Some(PAGE_SIZE),
        ..ListRuns::default()
    };
    let (mut cancelled, mut failed) = (0, None);
    for _ in 0..MAX_PAGES {
        let page = client.list_runs(&list).await?;
        for run in page.runs.iter().filter(|run| run_tag::is_same_or_earlier_attempt(run_tag, run))
        {
            let Some(run_id) = run.run_id else { continue };
            if let Err(error) = client.cancel_run(run_id).await {
                failed.get_or_insert(error);
                continue;
            }
            cancelled += 1;
            record(context, host, run_id, orphan);
            info!(orphan = %run_id, %run_tag, "cancel of an orphaned run requested");
        }
        let Some(next) = page.next() else { return failed.map_or(Ok(cancelled), Err) };
        list.page_token = Some(next.to_owned());
    }
    warn!(pages = MAX_PAGES, %run_tag, "the search for orphaned runs stopped at its page limit");
    failed.map_or(Ok(cancelled), Err)
}

/// Counts a cancelled orphan once: a run that is still terminating can be found again.
fn record(context: &Context, host: &Host, run_id: RunId, orphan: Orphan) {
    if context.run_tracker.record_orphan(&(host.clone(), run_id), Instant::now()) {
        context.settings.telemetry.metrics.orphan_cancelled(orphan);
    }
}
