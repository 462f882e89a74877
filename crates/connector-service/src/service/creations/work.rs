//! Does the work of one creation, and gives it up when it turns out to be nobody's.

use std::{
    mem,
    time::{Duration, Instant},
};

use connector_core::{ConnectorHandle, CreateContext, Error, ErrorKind};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Abandonment, Creations, Ticket};
use crate::{detached::DetachedGuard, metrics::Abandoned, service::outcome};

/// How often something is tried that fails in a way that does not pass by itself.
const TRIES: u32 = 5;

/// How long something is tried that fails in a way that passes: most outages are shorter.
const LASTING: Duration = Duration::from_hours(1);

/// How much work nobody waits for, at most, while something is tried again: it takes memory.
const MOST_LASTING: usize = 10_000;

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// How long the first look for earlier attempts may hold the answer up once the work is created.
const LOOK_PATIENCE: Duration = Duration::from_secs(3);

/// How long each try may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Creates the work, answers everybody who asked for it, and gives it up if it belongs to nobody. `count` is told what
/// became of work that belonged to nobody. A later attempt has the work of earlier ones stopped beside that.
pub(in crate::service) async fn carry_out(
    ticket: Ticket,
    connector: ConnectorHandle,
    mut cx: CreateContext,
    count: impl FnOnce(Abandoned) + Send,
) {
    let remembered = without_inputs(&mut cx);
    let creations = ticket.creations.clone();
    let looked = CancellationToken::new();
    let mut piece = creations.unawaited().guard();
    let create = create(ticket, &connector, cx, (&remembered, &looked, &mut piece), count);
    let look = cancel_earlier_attempts(&creations, &connector, &remembered, &looked);
    tokio::join!(Box::pin(create), Box::pin(look));
}

async fn create(
    ticket: Ticket,
    connector: &ConnectorHandle,
    cx: CreateContext,
    (remembered, looked, piece): (&CreateContext, &CancellationToken, &mut DetachedGuard),
    count: impl FnOnce(Abandoned) + Send,
) {
    let outcome = outcome::caught(connector.create(cx)).await;
    // Only a favour: a server that is killed after its answer has looked before it. The caller has a deadline, though.
    let left = remembered.deadline.map(|at| at.saturating_duration_since(Instant::now()));
    let patience = left.map_or(LOOK_PATIENCE, |left| (left / 2).min(LOOK_PATIENCE));
    drop(tokio::time::timeout(patience, looked.cancelled()).await);
    let settled = ticket.settle(outcome).await;
    piece.detach();
    let Some(abandonment) = settled else { return };
    warn!(
        is_started = abandonment.meta.is_some(),
        "the caller was told that the task could not be created; what was started is given up after the grace time"
    );
    if abandonment.is_due().await {
        count(give_up(connector, remembered, &abandonment).await);
    } else {
        info!("the attempt was asked for again; its work is kept");
        count(Abandoned::Claimed);
    }
}

/// Flyte has given up the earlier attempts of this action, so that what is left of them belongs to nobody. Once at once,
/// and once more after the grace time, for what was on its way when its server died.
async fn cancel_earlier_attempts(
    creations: &Creations,
    connector: &ConnectorHandle,
    remembered: &CreateContext,
    looked: &CancellationToken,
) {
    let attempt = remembered.execution.task_execution_id.as_ref().map(|id| id.retry_attempt);
    if attempt.is_none_or(|attempt| attempt == 0) {
        looked.cancel();
        return;
    }
    let look = || {
        let until = Instant::now() + PATIENCE;
        let cx = remembered.clone().with_deadline(Some(until));
        outcome::guarded(until, connector.cancel_earlier_attempts(cx))
    };
    let first = look().await;
    looked.cancel();
    if let Err(error) = first {
        info!(
            error = crate::status::message(&error),
            "the work of earlier attempts is looked for later"
        );
    }
    // A server that stops has no later.
    creations.time_or_stop(creations.grace()).await;
    let mut tries = Tries::new(creations);
    while let Err(error) = look().await {
        warn!(
            tried = tries.failed,
            error = crate::status::message(&error),
            "the work of earlier attempts could not be looked for"
        );
        if !tries.again_after(&error).await {
            return;
        }
    }
}

async fn give_up(
    connector: &ConnectorHandle,
    remembered: &CreateContext,
    abandonment: &Abandonment,
) -> Abandoned {
    let mut tries = Tries::new(&abandonment.creations);
    loop {
        let cx = remembered.clone().with_deadline(Some(Instant::now() + PATIENCE));
        let given_up = outcome::guarded(
            Instant::now() + PATIENCE,
            connector.cancel_abandoned(cx, abandonment.meta.as_deref()),
        );
        let Err(error) = given_up.await else {
            info!("the work was given up");
            return Abandoned::Stopped;
        };
        warn!(
            tried = tries.failed,
            error = crate::status::message(&error),
            "the work could not be given up"
        );
        if !tries.again_after(&error).await {
            break;
        }
    }
    error!("work that belongs to nobody could not be stopped and may still be alive");
    Abandoned::Left
}

/// How often, and for how long, something is tried that nobody waits for.
struct Tries<'a> {
    creations: &'a Creations,
    since: tokio::time::Instant,
    failed: u32,
}

impl<'a> Tries<'a> {
    fn new(creations: &'a Creations) -> Self {
        Self { creations, since: tokio::time::Instant::now(), failed: 0 }
    }

    /// Waits until it makes sense to try again after that error; not at all when it does not. An outage of the workspace
    /// is sat out, for nobody else will ever stop the work. A server that stops tries once more, at once.
    async fn again_after(&mut self, error: &Error) -> bool {
        self.failed += 1;
        let passes = matches!(
            error.kind(),
            ErrorKind::Exhausted | ErrorKind::Unavailable | ErrorKind::DeadlineExceeded
        );
        let is_crowded = self.creations.unawaited().count() > MOST_LASTING;
        let is_over = is_crowded
            || if passes { self.since.elapsed() >= LASTING } else { self.failed >= TRIES };
        if is_over || self.creations.is_stopping() {
            return false;
        }
        let wait = Duration::from_secs(1 << self.failed.min(6)).min(LONGEST_WAIT);
        self.creations.time_or_stop(wait).await;
        true
    }
}

/// The parts of a request that outlive it, should its work have to be given up. Inputs can be large, and are not needed.
fn without_inputs(cx: &mut CreateContext) -> CreateContext {
    let inputs = mem::take(&mut cx.inputs);
    let remembered = cx.clone();
    cx.inputs = inputs;
    remembered
}
