//! Executes a creation as a background task, and cancels its task if that becomes an orphan.

use std::{
    mem,
    pin::pin,
    time::{Duration, Instant},
};

use connector_core::{ConnectorHandle, CreateContext, Error, ErrorKind};
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};
use tracing::{error, info, warn};

use super::{
    entries::CreateDedup,
    is_transient,
    ticket::{OrphanedCreate, Ticket},
};
use crate::{metrics::OrphanOutcome, service::guard, status};

/// Attempts at an operation that fails permanently.
const MAX_TRIES: u32 = 5;

/// Time to retry an operation that fails transiently. Most outages are shorter.
const RETRY_FOR: Duration = Duration::from_hours(1);

/// Detached background tasks above which nothing is retried, to bound memory.
const MAX_RETRYING: usize = 10_000;

/// Longest delay between two attempts.
const MAX_RETRY_DELAY: Duration = Duration::from_mins(1);

/// Time that the response waits for the first cancellation of earlier attempts.
const FIRST_CANCEL_WAIT: Duration = Duration::from_secs(3);

/// Time limit of one attempt at cancelling.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(30);

/// Creates the task, responds to all callers, and cancels the task if it is an orphan. Cancels the tasks of earlier
/// attempts concurrently. `count` receives the outcome of an orphan.
pub(in crate::service) async fn run(
    ticket: Ticket,
    connector: ConnectorHandle,
    mut cx: CreateContext,
    count: impl FnOnce(OrphanOutcome) + Send,
) {
    let retained = without_inputs(&mut cx);
    let dedup = ticket.dedup.clone();
    let cancelled_earlier = CancellationToken::new();
    // Held until both are complete.
    let mut detached = None;
    let shared = (&retained, &cancelled_earlier, &mut detached);
    let create = create(ticket, &connector, cx, shared, count);
    let cancel = cancel_earlier_attempts(&dedup, &connector, &retained, &cancelled_earlier);
    tokio::join!(Box::pin(create), Box::pin(cancel));
}

async fn create(
    ticket: Ticket,
    connector: &ConnectorHandle,
    cx: CreateContext,
    (retained, cancelled_earlier, detached): (
        &CreateContext,
        &CancellationToken,
        &mut Option<TaskTrackerToken>,
    ),
    count: impl FnOnce(OrphanOutcome) + Send,
) {
    let dedup = ticket.dedup.clone();
    let deadline = cx.deadline.unwrap_or_else(Instant::now);
    let mut created = pin!(guard::catch_panic(connector.create(cx)));
    // It only waits for a response that no caller awaits.
    let is_late = async {
        tokio::time::sleep_until(deadline.into()).await;
        ticket.all_callers_left().await;
    };
    let outcome = tokio::select! {
        outcome = &mut created => outcome,
        () = is_late => {
            *detached = Some(dedup.detached().token());
            tokio::select! {
                outcome = &mut created => outcome,
                () = dedup.end_of_grace_periods() => Err(response_not_awaited()),
            }
        }
    };
    // Waiting is best effort: if the server is killed after the response, the first cancellation is already done.
    let left = retained.deadline.map(|at| at.saturating_duration_since(Instant::now()));
    let wait = left.map_or(FIRST_CANCEL_WAIT, |left| (left / 2).min(FIRST_CANCEL_WAIT));
    drop(tokio::time::timeout(wait, cancelled_earlier.cancelled()).await);
    let orphan = ticket.settle(outcome).await;
    detached.get_or_insert_with(|| dedup.detached().token());
    let Some(orphan) = orphan else { return };
    warn!(
        is_started = orphan.meta.is_some(),
        "the caller received an error: the task is an orphan and is cancelled after the grace period"
    );
    if orphan.wait_for_expiry().await {
        count(cancel_orphan(connector, retained, &orphan).await);
    } else {
        info!("the attempt was requested again: the task is kept");
        count(OrphanOutcome::Claimed);
    }
}

/// The outcome of a creation that ends at shutdown without a response, after its callers.
fn response_not_awaited() -> Error {
    Error::new(ErrorKind::Unavailable, "the server stopped before the response arrived")
        .with_may_have_started(true)
}

/// Cancels the tasks of earlier attempts, which Flyte no longer uses. Runs immediately, and again after the grace period
/// for tasks that were being created when their server died.
async fn cancel_earlier_attempts(
    dedup: &CreateDedup,
    connector: &ConnectorHandle,
    retained: &CreateContext,
    done_once: &CancellationToken,
) {
    let attempt = retained.execution.task_execution_id.as_ref().map(|id| id.retry_attempt);
    if attempt.is_none_or(|attempt| attempt == 0) {
        done_once.cancel();
        return;
    }
    let cancel = || {
        let deadline = Instant::now() + CANCEL_TIMEOUT;
        let cx = retained.clone().with_deadline(Some(deadline));
        guard::with_deadline(deadline, connector.cancel_earlier_attempts(cx))
    };
    let first = cancel().await;
    done_once.cancel();
    if let Err(error) = first {
        info!(error = status::message(&error), "earlier attempts are cancelled later");
    }
    dedup.sleep_until_stop(dedup.0.grace).await;
    let mut retries = Retries::new(dedup);
    while let Err(error) = cancel().await {
        warn!(
            tried = retries.failed,
            error = status::message(&error),
            "earlier attempts could not be cancelled"
        );
        if !retries.wait_after(&error).await {
            return;
        }
    }
}

async fn cancel_orphan(
    connector: &ConnectorHandle,
    retained: &CreateContext,
    orphan: &OrphanedCreate,
) -> OrphanOutcome {
    let mut retries = Retries::new(&orphan.dedup);
    loop {
        let deadline = Instant::now() + CANCEL_TIMEOUT;
        let cx = retained.clone().with_deadline(Some(deadline));
        let cancel = connector.cancel_abandoned(cx, orphan.meta.as_deref());
        let Err(error) = guard::with_deadline(deadline, cancel).await else {
            info!("orphan cancelled");
            return OrphanOutcome::Cancelled;
        };
        warn!(
            tried = retries.failed,
            error = status::message(&error),
            "orphan could not be cancelled"
        );
        if !retries.wait_after(&error).await {
            break;
        }
    }
    error!("orphan not cancelled: its task may still run");
    OrphanOutcome::NotCancelled
}

/// Retry policy of cancellations.
struct Retries<'a> {
    dedup: &'a CreateDedup,
    since: tokio::time::Instant,
    failed: u32,
}

impl<'a> Retries<'a> {
    fn new(dedup: &'a CreateDedup) -> Self {
        Self { dedup, since: tokio::time::Instant::now(), failed: 0 }
    }

    /// Waits before the next attempt. Returns false if there is none. Transient errors are retried through an outage,
    /// because no other component cancels the task. At shutdown one more attempt follows immediately.
    async fn wait_after(&mut self, error: &Error) -> bool {
        self.failed += 1;
        let is_exhausted = if is_transient(error) {
            self.since.elapsed() >= RETRY_FOR
        } else {
            self.failed >= MAX_TRIES
        };
        let is_crowded = self.dedup.detached().len() > MAX_RETRYING;
        if is_exhausted || is_crowded || self.dedup.0.stop.borrow().is_some() {
            return false;
        }
        let delay = Duration::from_secs(1 << self.failed.min(6)).min(MAX_RETRY_DELAY);
        self.dedup.sleep_until_stop(delay).await;
        true
    }
}

/// Returns the context without its inputs, which can be large and which cancelling does not need.
fn without_inputs(cx: &mut CreateContext) -> CreateContext {
    let inputs = mem::take(&mut cx.inputs);
    let retained = cx.clone();
    cx.inputs = inputs;
    retained
}
