//! `GetTask`: the phase of a run, with its reason, links and outputs.
//!
//! [`phase`] maps the progress of a run to a phase. [`terminal`] reads more of a run
//! that has ended, and [`terminal_rules`] decides about it. [`run_tracker`](crate::run_tracker) remembers the last
//! known phase, which is the response to a poll that fails: Flyte freezes a task after a few
//! GetTask errors (flyte-contract.md#gettask-errors).

mod failure_reader;
mod hints;
pub(crate) mod links;
pub(crate) mod reason;
mod terminal;
mod terminal_rules;

use std::time::{Duration, Instant};

use connector_core::{
    CallContext, Error, Phase, Resource,
    run_tracker::{FailureResponse, PollFailure},
};
use databricks_client::{
    Client, ErrorKind, Host, RunId, error_chain,
    jobs::{Progress, Run},
};
use tracing::{info, warn};

use crate::{
    context::{Context, host_of_run},
    credentials::error::CredentialError,
    get::terminal::TerminalRun,
    phase,
    run_meta::RunMeta,
    run_timeline, telemetry,
};

/// Returns the resource of a run.
///
/// # Errors
///
/// `InvalidMeta` only. Every other failure may end by itself, so the response is the last known phase.
pub(crate) async fn resource(
    context: &Context,
    cx: &CallContext,
    meta: &RunMeta,
) -> Result<Resource, Error> {
    let host = host_of_run(meta)?;
    let run_id = meta.run_id;
    let failed = |failure, error: &Error| Ok(poll_failed(context, &host, run_id, failure, error));
    let client = match context.client_for_run(&host, cx, meta, None).await {
        Ok(client) => client,
        Err(CredentialError { is_transient: true, error }) => {
            return failed(PollFailure::Transient, &error);
        }
        Err(CredentialError { error, .. }) => return failed(PollFailure::Rejected, &error),
    };
    let key = (host.clone(), run_id);
    context.run_tracker.remember(&key, client.credentials().clone(), Instant::now());
    match client.get_run_state(run_id).await {
        Ok(run) if !run.has_state() => {
            let text = "reading the run failed: the response contains no state of the run";
            failed(
                PollFailure::Transient,
                &Error::new(connector_core::ErrorKind::Unavailable, text),
            )
        }
        Ok(mut run) => {
            if run.has_ended() {
                // Reads of outputs and errors follow.
                let client = client.clone().with_timeout(half_of_time_left(cx));
                client.complete_run(run_id, &mut run).await;
            }
            Ok(poll_succeeded(context, &client, cx, meta, &run).await)
        }
        Err(error) => {
            let failure = failure_of(error.kind());
            let action = format!("reading the run with {}", client.credentials().name());
            failed(failure, &crate::error::from_client(&action, error))
        }
    }
}

fn half_of_time_left(cx: &CallContext) -> Duration {
    let left = cx.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    left.map_or(Duration::MAX, |left| left / 2)
}

fn failure_of(kind: ErrorKind) -> PollFailure {
    match kind {
        // `Config`: a token with characters that no header can carry, rejected before sending.
        // `NotFound`: no workspace at this host, or one that is not active.
        ErrorKind::Unauthenticated
        | ErrorKind::Forbidden
        | ErrorKind::Config
        | ErrorKind::NotFound => PollFailure::Rejected,
        ErrorKind::RunNotFound => PollFailure::NotFound,
        // Other rejections of a read come from a proxy between the connector and the workspace.
        _ => PollFailure::Transient,
    }
}

/// Returns the resource of a run that was read.
async fn poll_succeeded(
    context: &Context,
    client: &Client,
    cx: &CallContext,
    meta: &RunMeta,
    run: &Run,
) -> Resource {
    let (host, run_id) = (client.host(), meta.run_id);
    let progress = run.progress();
    let resource = match progress {
        Progress::Ended(outcome) => {
            TerminalRun { context, client, meta, run }.resource(cx, outcome).await
        }
        Progress::Queued | Progress::Pending | Progress::Running => {
            let phase = phase::of_progress(progress, context.settings.user_failures);
            let reason = reason::of_waiting_run(run);
            // Flyte drops the message of RUNNING (flyte-contract.md#observed-backend).
            let note = (phase != Phase::Running)
                .then(|| context.run_tracker.take_first_message(&(host.clone(), run_id)))
                .flatten();
            let message = match note {
                Some(note) if reason.is_empty() => note.into(),
                Some(note) => format!("{reason}\n{note}"),
                None => reason,
            };
            Resource::new(phase).with_message(message)
        }
    };
    let is_first_end =
        context.run_tracker.record_phase(&(host.clone(), run_id), resource.phase, Instant::now());
    if is_first_end {
        let (took, until_running) = run_timeline::durations(run);
        let ended = telemetry::EndedRun { phase: resource.phase, took, until_running };
        context.settings.telemetry.metrics.run_ended(host, ended);
    }
    if resource.phase.is_terminal() {
        // Flyte drops the reason of a retried failure (flyte-contract.md#observed-backend), so it is logged.
        let reason = Some(resource.message.as_str()).filter(|reason| !reason.is_empty());
        info!(phase = resource.phase.flyte_name(), reason, "run ended");
    }
    links::add(resource, host, run_id, run)
}

/// Returns the resource of a run that could not be read: the last known phase, or a failure after the grace period.
fn poll_failed(
    context: &Context,
    host: &Host,
    run_id: RunId,
    failure: PollFailure,
    error: &Error,
) -> Resource {
    let key = (host.clone(), run_id);
    let response = context.run_tracker.record_failure(&key, failure, Instant::now());
    let error = error_line(error);
    match response {
        FailureResponse::KeepPhase { phase, elapsed } => {
            warn!(
                phase = phase.flyte_name(),
                seconds = elapsed.as_secs(),
                error,
                "could not read the run; keeping the last known phase"
            );
            Resource::new(phase).with_message(format!(
                "the run could not be read for {}: {error}",
                format_duration(elapsed)
            ))
        }
        FailureResponse::FailTask { phase, elapsed } => {
            warn!(
                phase = phase.flyte_name(),
                seconds = elapsed.as_secs(),
                error,
                "could not read the run; failing the task after the grace period"
            );
            let note = match failure {
                PollFailure::Rejected | PollFailure::Transient => {
                    "; the run itself may still be active"
                }
                PollFailure::NotFound => "",
            };
            Resource::new(phase).with_message(format!(
                "failed because the run could not be read for {}: {error}{note}",
                format_duration(elapsed)
            ))
        }
    }
}

/// Returns the error with its causes and its hint on one line.
fn error_line(error: &Error) -> String {
    crate::error::with_hint(error_chain(error), error.hint())
}

/// Formats a duration in one unit.
fn format_duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
