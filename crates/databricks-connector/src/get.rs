//! Tells how a run stands. Whatever may pass is an answer, not an error (DESIGN §3.1).

mod declared_outputs;
mod hints;
pub(crate) mod links;
pub(crate) mod outputs;
pub(crate) mod phase;
pub(crate) mod reason;
pub(crate) mod run_tracker;
mod terminal;
mod terminal_rules;
pub(crate) mod unverified_success;

use std::time::{Duration, Instant};

use connector_core::{CallContext, Error, Resource};
use databricks_client::{Client, ErrorKind, Host, RunId, jobs::Run};
use tracing::{info, warn};

use crate::{
    context::{Context, host_of, no_credentials},
    get::{
        phase::Progress,
        run_tracker::{Trouble, Verdict},
    },
    metrics,
    run_meta::RunMeta,
    telemetry::EndedRun,
};

/// The phase of a run with its reason and links.
///
/// # Errors
///
/// `InvalidMeta` alone: anything else may pass.
pub(crate) async fn resource(
    context: &Context,
    cx: &CallContext,
    meta: &RunMeta,
) -> Result<Resource, Error> {
    let host = host_of(meta)?;
    let run_id = meta.run_id;
    if let Err(refused) = context.permit(&host) {
        return Ok(troubled(context, &host, run_id, Trouble::Refused, &refused));
    }
    let credentials = match context.credentials_of(&host, cx, meta).await {
        Ok(Some(credentials)) => credentials,
        Ok(None) => {
            let error = no_credentials(&host);
            return Ok(troubled(context, &host, run_id, Trouble::Refused, &error));
        }
        Err(no) => return Ok(troubled(context, &host, run_id, no.trouble, &no.error)),
    };
    context.run_tracker.remember_credentials(&host, run_id, &credentials, Instant::now());
    let client = context.client(&host, credentials, cx.deadline);
    Ok(match client.get_run(run_id).await {
        Ok(run) => judged(context, &client, cx, meta, &run).await,
        Err(error) => {
            let trouble = trouble_of(error.kind());
            let told = crate::error::from_client(
                &format!("reading the run with {}", client.credentials_name()),
                error,
            );
            troubled(context, &host, run_id, trouble, &told)
        }
    })
}

/// Whether it passes by itself.
fn trouble_of(kind: ErrorKind) -> Trouble {
    match kind {
        // A token that no header can carry is refused before it is sent.
        ErrorKind::Unauthenticated | ErrorKind::Forbidden | ErrorKind::Config => Trouble::Refused,
        ErrorKind::RunNotFound => Trouble::Gone,
        // Any other refusal of a plain read comes from something between us and the workspace.
        _ => Trouble::Passing,
    }
}

/// The answer when the run was read.
async fn judged(
    context: &Context,
    client: &Client,
    cx: &CallContext,
    meta: &RunMeta,
    run: &Run,
) -> Resource {
    let (host, run_id) = (client.host(), meta.run_id);
    let progress = phase::progress(run);
    let resource = match progress {
        Progress::Ended(outcome) => {
            terminal::resource(context, client, cx, meta, run, outcome).await
        }
        Progress::Waiting | Progress::Preparing | Progress::Running => {
            Resource::new(progress.phase(context.settings.user_failures))
                .with_message(reason::of_progress(run))
        }
    };
    let has_ended_now = context.run_tracker.seen(host, run_id, resource.phase, Instant::now());
    if has_ended_now {
        let (took, until_running) = metrics::times(run);
        let ended = EndedRun { phase: resource.phase, took, until_running };
        context.settings.telemetry.metrics.run_ended(host, ended);
    }
    if resource.phase.is_terminal() {
        // Flyte drops the reason of a retried failure (FC §8.2), so it stands here too.
        info!(%host, %run_id, phase = ?resource.phase, reason = %resource.message, "run ended");
    }
    links::add(resource, host, run_id, run)
}

/// The answer when the run could not be read: the last known phase, or the end of our patience.
fn troubled(
    context: &Context,
    host: &Host,
    run_id: RunId,
    trouble: Trouble,
    error: &Error,
) -> Resource {
    let verdict = context.run_tracker.troubled(
        host,
        run_id,
        trouble,
        context.settings.patience,
        Instant::now(),
    );
    let told = told(error);
    match verdict {
        Verdict::Wait { phase, lasted } => {
            warn!(%host, %run_id, ?phase, seconds = lasted.as_secs(), error = %told, "the run could not be read");
            Resource::new(phase)
                .with_message(format!("no news of the run for {}: {told}", words(lasted)))
        }
        Verdict::GiveUp { phase, lasted } => {
            warn!(%host, %run_id, ?phase, seconds = lasted.as_secs(), error = %told, "the run was given up");
            let still = match trouble {
                Trouble::Refused | Trouble::Passing => "; the run itself may still be alive",
                Trouble::Gone => "",
            };
            Resource::new(phase).with_message(format!(
                "given up after {} without news of the run: {told}{still}",
                words(lasted)
            ))
        }
    }
}

/// The error with its causes and its hint, in one line.
fn told(error: &Error) -> String {
    let text = crate::error::with_causes(error);
    match error.hint() {
        Some(hint) => format!("{}; {hint}", text.trim_end_matches('.')),
        None => text,
    }
}

/// A duration as a person says it.
fn words(lasted: Duration) -> String {
    match lasted.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
