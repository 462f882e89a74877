//! Cancels runs. This module cancels the run of a task that Flyte deletes; [`orphans`] cancels
//! runs that Flyte does not know or no longer uses.
//!
//! Flyte repeats a failed delete without limit (flyte-contract.md#deletetask), so a failure is
//! returned only while its cause can still be fixed.

pub(crate) mod orphans;

use std::time::Instant;

use connector_core::{
    CallContext, Error, ErrorKind,
    run_tracker::{FailureResponse, PollFailure},
};
use databricks_client::{Client, ErrorKind as ClientErrorKind, Host, RunId};
use tracing::{info, warn};

use crate::{
    context::{Context, host_of_run},
    credentials::error::CredentialError,
    error,
    run_meta::RunMeta,
};

/// The result of cancelling a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelOutcome {
    /// Databricks accepted the cancel.
    Cancelled,
    /// The run had ended, or does not exist.
    AlreadyEnded,
    /// The run may still be active, and further calls cannot cancel it.
    NotCancelled,
}

/// Cancels the run unless it has ended.
///
/// # Errors
///
/// `InvalidMeta`; the error that prevents the cancel. A rejected credential or host is an error only during the grace
/// period (`--refusal-patience`), because a revoked token of a task may never be replaced.
pub(crate) async fn cancel_task_run(
    context: &Context,
    cx: &CallContext,
    meta: &RunMeta,
) -> Result<CancelOutcome, Error> {
    let host = host_of_run(meta)?;
    let outcome = try_cancel(context, cx, meta, &host).await?;
    context.run_tracker.record_delete(&(host, meta.run_id));
    Ok(outcome)
}

async fn try_cancel(
    context: &Context,
    cx: &CallContext,
    meta: &RunMeta,
    host: &Host,
) -> Result<CancelOutcome, Error> {
    let run_id = meta.run_id;
    if context.run_tracker.has_ended(&(host.clone(), run_id)) {
        return Ok(CancelOutcome::AlreadyEnded);
    }
    if let Err(forbidden) = context.permit(host) {
        return rejected(context, host, run_id, forbidden);
    }
    let credentials = &context.settings.credentials;
    let own = credentials.own_for_run(host, meta);
    let credentials = match credentials.for_run(host, cx, meta, None).await {
        Ok(credentials) => credentials,
        Err(CredentialError { is_transient, error }) => {
            if let Some(own) = own {
                info!(%error, "trying the connector's own credential instead");
                match cancel(&context.client(host, own, cx.deadline), run_id).await {
                    Err(error) if is_rejection(&error) => {}
                    other => return other,
                }
            }
            return if is_transient { Err(error) } else { rejected(context, host, run_id, error) };
        }
    };
    let is_own = own.as_ref().is_some_and(|own| own.name() == credentials.name());
    let first = cancel(&context.client(host, credentials.clone(), cx.deadline), run_id).await;
    let outcome = match (first, own) {
        (Err(error), Some(own)) if is_rejection(&error) && !is_own => {
            info!(%error, "the task's credential was rejected; trying the connector's own");
            let client = context.client(host, own, cx.deadline).with_redacted(credentials);
            cancel(&client, run_id).await
        }
        (outcome, _) => outcome,
    };
    match outcome {
        // `NotFound`: no workspace at this host, or one that is not active.
        Err(error) if is_rejection(&error) || error.kind() == ErrorKind::NotFound => {
            rejected(context, host, run_id, error)
        }
        // The task has failed already. Flyte would repeat a failed delete without limit.
        Err(error) if context.run_tracker.grace_period_expired(&(host.clone(), run_id)) => {
            Ok(report_not_cancelled(context, &error))
        }
        other => other,
    }
}

fn is_rejection(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unauthenticated | ErrorKind::Forbidden)
}

/// Cancels with one credential. If Databricks rejects the cancel, reads the run, which may have ended.
async fn cancel(client: &Client, run_id: RunId) -> Result<CancelOutcome, Error> {
    let failed = match client.cancel_run(run_id).await {
        Ok(()) => {
            info!("cancel requested; it has no effect on a run that has ended");
            return Ok(CancelOutcome::Cancelled);
        }
        Err(failed) => failed,
    };
    match failed.kind() {
        ClientErrorKind::RunNotFound => return Ok(CancelOutcome::AlreadyEnded),
        // Databricks responded, but did not cancel the run.
        ClientErrorKind::Invalid | ClientErrorKind::Conflict | ClientErrorKind::NotFound => {}
        _ => return Err(error::from_client("cancelling the run", failed)),
    }
    match client.get_run_state(run_id).await {
        Ok(run) if run.has_ended() => Ok(CancelOutcome::AlreadyEnded),
        Err(error) if error.kind() == ClientErrorKind::RunNotFound => {
            Ok(CancelOutcome::AlreadyEnded)
        }
        Ok(_) | Err(_) => Err(error::from_client("cancelling the run", failed)),
    }
}

/// Handles a rejected credential or host: an error during the grace period, afterwards success
/// with a warning.
fn rejected(
    context: &Context,
    host: &Host,
    run_id: RunId,
    error: Error,
) -> Result<CancelOutcome, Error> {
    let key = (host.clone(), run_id);
    match context.run_tracker.record_failure(&key, PollFailure::Rejected, Instant::now()) {
        FailureResponse::KeepPhase { .. } => Err(error),
        FailureResponse::FailTask { .. } => Ok(report_not_cancelled(context, &error)),
    }
}

fn report_not_cancelled(context: &Context, error: &Error) -> CancelOutcome {
    warn!(%error, "the run could not be cancelled and may still be active");
    context.settings.telemetry.metrics.cancel_failed();
    CancelOutcome::NotCancelled
}
