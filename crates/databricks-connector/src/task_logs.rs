//! `GetTaskLogs`: the log of a run, page by page.
//!
//! [`reader`] visits the attempts of the run's tasks. For each it adds events, then output, then the error; errors of
//! latest attempts come last. The output of an attempt comes from [`delivered_logs`] where its cluster delivers any, else
//! from [`run_output`]. A page ends when it is full or when nothing new is available; its [`token`] carries a [`cursor`].
//!
//! Modules marked *Pure* do no I/O. Access to object stores belongs to the crate `task-storage`.

mod attempts;
mod clusters;
mod cursor;
mod delivered_logs;
mod driver_folder;
mod events;
mod line_splitter;
mod page;
mod position;
mod reader;
mod rotation;
mod run_output;
mod session;
mod token;

use std::time::{Instant, SystemTime};

use connector_core::{CallContext, Error, LogPage, LogsRequest};

use crate::{context::Context, error, run_meta::RunMeta};

/// Returns one page of the run's log. Pages of an active run may be empty and have a token; the last page has none.
///
/// A transient failure ends the page, not the log: the token continues where reading stopped.
///
/// # Errors
///
/// `InvalidRequest` if the token is not for this run's log; a permanent failure to read the run.
pub(crate) async fn page(
    context: &Context,
    cx: &CallContext,
    meta: &RunMeta,
    request: &LogsRequest,
) -> Result<LogPage, Error> {
    let settings = &context.settings;
    let (host, run_id) = (meta.databricks_instance.as_str(), meta.run_id);
    let mut cursor = settings.log_token_key.cursor(host, run_id, &request.token)?;
    let client = context.client_without_connection(cx, meta).await?;
    let (lines, is_last) = match client.get_run(run_id).await {
        Ok(run) => {
            let session = session::ReadSession {
                client: &client,
                run: &run,
                known_clusters: &context.known_clusters,
                storage: &settings.logs.storage,
                deadline: cx.deadline,
                page: page::Page::new(request.lines),
            };
            reader::read_page(session, run_id, &mut cursor, SystemTime::now()).await?
        }
        Err(error) if session::is_transient(&error) => {
            tracing::debug!(%host, %run_id, %error, "returning an empty log page after a transient failure");
            (Vec::new(), false)
        }
        Err(error) => return Err(error::from_client("reading the run", error)),
    };
    if lines.is_empty() && !is_last && !request.token.is_empty() {
        delay_empty_page(context, cx).await;
    }
    let next_token = (!is_last).then(|| settings.log_token_key.token(host, run_id, &cursor));
    Ok(LogPage { lines, next_token })
}

/// Delays an empty page, for at most half of the remaining time, because callers poll again immediately.
async fn delay_empty_page(context: &Context, cx: &CallContext) {
    let left = cx.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()) / 2);
    let delay = context.settings.logs.empty_page_delay;
    tokio::time::sleep(left.map_or(delay, |left| left.min(delay))).await;
}
