//! Stops a run. Flyte repeats a failing delete for ever, so only what somebody must mend is an error (DESIGN §3.1).

pub(crate) mod orphans;

use std::time::Instant;

use connector_core::{CallContext, Error, ErrorKind};
use databricks_client::{Client, Credentials, ErrorKind as Client_, Host, RunId};
use tracing::{info, warn};

use crate::{
    context::{Context, host_of, no_credentials},
    credentials::namespace_secret::NoSecret,
    error,
    get::{
        phase,
        run_tracker::failure_timers::{FailureResponse, PollFailure},
    },
    run_meta::RunMeta,
};

/// What became of a run that was to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Databricks took the cancel.
    Cancelled,
    /// There was nothing to stop.
    WasOver,
    /// It may still be alive, and nobody can mend that.
    GivenUp,
}

/// Cancels the run, unless it is over.
///
/// # Errors
///
/// `InvalidMeta`; whatever keeps the run from being cancelled. Refused credentials, and a host that is not allowed
/// (`Forbidden`), are an error for the operator's patience only: nobody can mend a revoked token of a task, nor does an
/// operator who has closed a workspace open it for its last tasks.
pub(crate) async fn run(
    context: &Context,
    cx: &CallContext,
    meta: &RunMeta,
) -> Result<Stopped, Error> {
    let host = host_of(meta)?;
    let stopped = stop(context, cx, meta, host.clone()).await?;
    context.run_tracker.record_delete(&host, meta.run_id);
    Ok(stopped)
}

async fn stop(
    context: &Context,
    cx: &CallContext,
    meta: &RunMeta,
    host: Host,
) -> Result<Stopped, Error> {
    let run_id = meta.run_id;
    if context.run_tracker.has_ended(&host, run_id) {
        return Ok(Stopped::WasOver);
    }
    if let Err(refused) = context.permit(&host) {
        return patient(context, &host, run_id, refused);
    }
    let own = context.own_credentials(&host, meta);
    let credentials = match context.credentials_of(&host, cx, meta).await {
        Ok(Some(credentials)) => credentials,
        Ok(None) => return patient(context, &host, run_id, no_credentials(&host)),
        Err(no) => return without_secret(context, cx, &host, run_id, own, no).await,
    };
    let is_own = own.as_ref().is_some_and(|own| own.name() == credentials.name());
    let first = cancel(&context.client(&host, credentials, cx.deadline), run_id).await;
    let outcome = match (first, own) {
        (Err(error), Some(own)) if is_refusal(&error) && !is_own => {
            info!(%host, %run_id, "the task's credential was refused; the connector's own is tried");
            cancel(&context.client(&host, own, cx.deadline), run_id).await
        }
        (outcome, _) => outcome,
    };
    match outcome {
        Err(error) if is_refusal(&error) => patient(context, &host, run_id, error),
        // Flyte would repeat it for ever, long after the operator's patience has ended.
        Err(error) if context.run_tracker.grace_period_expired(&host, run_id) => {
            warn!(%host, %run_id, %error, "the run was given up, could not be cancelled either, and may still be alive");
            context.settings.telemetry.metrics.cancel_failed();
            Ok(Stopped::GivenUp)
        }
        other => other,
    }
}

/// The Secret of the run gives no credential. The connector's own may do; if not, what counts is how the Secret stands.
async fn without_secret(
    context: &Context,
    cx: &CallContext,
    host: &Host,
    run_id: RunId,
    own: Option<Credentials>,
    no: NoSecret,
) -> Result<Stopped, Error> {
    if let Some(own) = own {
        info!(%host, %run_id, error = %no.error, "the connector's own credential is tried instead");
        match cancel(&context.client(host, own, cx.deadline), run_id).await {
            Err(error) if is_refusal(&error) => {}
            other => return other,
        }
    }
    match no.trouble {
        PollFailure::Rejected => patient(context, host, run_id, no.error),
        PollFailure::Transient | PollFailure::NotFound => Err(no.error),
    }
}

fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unauthenticated | ErrorKind::Forbidden)
}

/// Cancels with one credential. A refused cancel is decided by a read: the run may be over.
async fn cancel(client: &Client, run_id: RunId) -> Result<Stopped, Error> {
    let host = client.host();
    let refused = match client.cancel_run(run_id).await {
        Ok(()) => {
            info!(%host, %run_id, "cancel accepted");
            return Ok(Stopped::Cancelled);
        }
        Err(refused) => refused,
    };
    match refused.kind() {
        Client_::RunNotFound => return Ok(Stopped::WasOver),
        // Databricks answered, and did not cancel.
        Client_::Invalid | Client_::Conflict | Client_::NotFound => {}
        _ => return Err(error::from_client("cancelling the run", refused)),
    }
    match client.get_run(run_id).await {
        Ok(run) if phase::has_ended(&run) => Ok(Stopped::WasOver),
        Err(error) if error.kind() == Client_::RunNotFound => Ok(Stopped::WasOver),
        Ok(_) | Err(_) => Err(error::from_client("cancelling the run", refused)),
    }
}

/// A refused credential is an error while somebody may still mend it, and OK with a warning afterwards.
fn patient(context: &Context, host: &Host, run_id: RunId, error: Error) -> Result<Stopped, Error> {
    match context.run_tracker.record_failure(
        host,
        run_id,
        PollFailure::Rejected,
        context.settings.grace_periods,
        Instant::now(),
    ) {
        FailureResponse::KeepPhase { .. } => Err(error),
        FailureResponse::FailTask { elapsed, .. } => {
            warn!(%host, %run_id, seconds = elapsed.as_secs(), %error, "the run could not be cancelled and may still be alive");
            context.settings.telemetry.metrics.cancel_failed();
            Ok(Stopped::GivenUp)
        }
    }
}
