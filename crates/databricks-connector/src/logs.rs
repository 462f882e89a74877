//! The log of a run, page by page, from every source that the run has (DA §5.1).
//!
//! [`reader`] goes through the attempts of the run's tasks; each tells its own events, then what it wrote, then how it
//! failed. What it wrote is what its cluster delivers, where that is so, else what `get-output` tells. A page ends when
//! it is full or when everything that is there was told; its token is a [`cursor`], sealed by [`token`]. [`lines`],
//! [`place`] and [`rotation`] are the arithmetic, and do no I/O.

mod attempts;
mod cursor;
mod delivered;
mod destination;
mod events;
mod files;
pub(crate) mod known_clusters;
mod lines;
mod page;
mod place;
mod reader;
pub(crate) mod reading;
mod rotation;
pub(crate) mod token;

use std::time::{Instant, SystemTime};

use connector_core::{CallContext, Error, LogPage, LogsRequest};
use databricks_client::Client;

use crate::{
    context::{Context, host_of, no_credentials},
    error,
    run_meta::RunMeta,
};

/// One page of the run's log. While the run is running it may be empty, and has a token; the last page has none.
///
/// A failure that passes ends the page, and not the log: the token goes on where it stopped.
///
/// # Errors
///
/// `InvalidRequest` for a token that is not of this run's log; whatever lasts and keeps the run from being read.
pub(crate) async fn page(
    context: &Context,
    cx: &CallContext,
    meta: &RunMeta,
    request: &LogsRequest,
) -> Result<LogPage, Error> {
    let settings = &context.settings;
    let (host, run_id) = (meta.databricks_instance.as_str(), meta.run_id);
    let mut cursor = settings.log_tokens.cursor(host, run_id, &request.token)?;
    let client = client_of_run(context, cx, meta).await?;
    let (lines, is_over) = match client.get_run(run_id).await {
        Ok(run) => {
            let page = page::Page::new(request.lines);
            let reader = reader::Reader::new(context, &client, run_id, &run, page);
            reader.until(cx.deadline).read(&mut cursor, SystemTime::now()).await?
        }
        Err(failed) if files::passes(&failed) => {
            tracing::debug!(%host, %run_id, error = %failed, "a page of the log ends early");
            (Vec::new(), false)
        }
        Err(failed) => return Err(error::from_client("reading the run", failed)),
    };
    if lines.is_empty() && !is_over && !request.token.is_empty() {
        pause(context, cx).await;
    }
    let next_token = (!is_over).then(|| settings.log_tokens.token(host, run_id, &cursor));
    Ok(LogPage { lines, next_token })
}

/// A caller who asks again as soon as it has an answer must not ask as fast as it can.
async fn pause(context: &Context, cx: &CallContext) {
    let left = cx.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()) / 2);
    let pause = context.settings.logs.pause;
    tokio::time::sleep(left.map_or(pause, |left| left.min(pause))).await;
}

/// The client for a call that carries no connection: the connector's own credential, else the one last seen for the
/// run (DESIGN §3.1).
pub(crate) async fn client_of_run(
    context: &Context,
    cx: &CallContext,
    meta: &RunMeta,
) -> Result<Client, Error> {
    let host = host_of(meta)?;
    context.permit(&host)?;
    let credentials = context
        .credentials_of(&host, cx, meta)
        .await
        .map_err(|no| no.error)?
        .or_else(|| context.run_tracker.credentials(&host, meta.run_id, Instant::now()))
        .ok_or_else(|| no_credentials(&host))?;
    Ok(context.client(&host, credentials, cx.deadline))
}
