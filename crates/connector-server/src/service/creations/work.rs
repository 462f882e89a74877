//! Does the work of one creation, and gives it up when it turns out to be nobody's.

use std::{
    mem,
    time::{Duration, Instant},
};

use connector_core::{ConnectorHandle, CreateContext};
use tracing::{error, info, warn};

use super::{Abandonment, Ticket};
use crate::{metrics::Abandoned, service::outcome};

/// How often giving up is tried.
const TRIES: u32 = 5;

/// How long each try may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Creates the work, answers everybody who asked for it, and gives it up if it belongs to nobody. `count` is told what
/// became of work that belonged to nobody.
pub(in crate::service) async fn carry_out(
    ticket: Ticket,
    connector: ConnectorHandle,
    mut cx: CreateContext,
    count: impl FnOnce(Abandoned) + Send,
) {
    let remembered = without_inputs(&mut cx);
    let outcome = outcome::caught(connector.create(cx)).await;
    let Some(abandonment) = ticket.settle(outcome).await else { return };
    warn!(
        is_started = abandonment.meta.is_some(),
        "the caller was told that the task could not be created; what was started is given up after the grace time"
    );
    if abandonment.is_due().await {
        count(give_up(&connector, &remembered, &abandonment).await);
    } else {
        info!("the attempt was asked for again; its work is kept");
        count(Abandoned::Claimed);
    }
}

async fn give_up(
    connector: &ConnectorHandle,
    remembered: &CreateContext,
    abandonment: &Abandonment,
) -> Abandoned {
    for tried in 1..=TRIES {
        let cx = CreateContext { deadline: Some(Instant::now() + PATIENCE), ..remembered.clone() };
        let given_up = outcome::guarded(
            Instant::now() + PATIENCE,
            connector.abandon(cx, abandonment.meta.as_deref()),
        );
        match given_up.await {
            Ok(()) => {
                info!("the work was given up");
                return Abandoned::Stopped;
            }
            Err(error) => {
                warn!(
                    tried,
                    error = crate::status::message(&error),
                    "the work could not be given up"
                );
                if tried < TRIES {
                    tokio::time::sleep(Duration::from_secs(1 << tried)).await;
                }
            }
        }
    }
    error!("work that belongs to nobody could not be stopped and may still be alive");
    Abandoned::Left
}

/// The parts of a request that outlive it, should its work have to be given up. Inputs can be large, and are not needed.
fn without_inputs(cx: &mut CreateContext) -> CreateContext {
    let inputs = mem::take(&mut cx.inputs);
    let remembered = cx.clone();
    cx.inputs = inputs;
    remembered
}
