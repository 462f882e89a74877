//! Deduplicates `CreateTask` requests and cancels orphaned tasks.
//!
//! Identical requests for one attempt share one execution. An execution outlives its callers
//! (`docs/adr/0003-create-is-detached.md`). When every caller has left, the outcomes of the callers decide:
//!
//! - A caller received the task, or disconnected without a response and will retry: the task is kept.
//! - The callers received an error only: Flyte starts the next attempt and never uses this task. It is an orphan, kept for
//!   a grace period in case the attempt is requested again, then cancelled.
//!
//! The state is bounded, in memory, and only an optimization: another replica may serve the next request.
//!
//! [`entries`] holds the state, [`in_flight`] the pure decision, [`waiter`] a caller, [`ticket`] the right to execute, and
//! [`run`] the execution.

mod entries;
mod in_flight;
mod run;
#[cfg(test)]
mod tests;
mod ticket;
mod waiter;

pub(super) use run::run;
pub(super) use ticket::Ticket;
pub(super) use waiter::{Waited, Waiter};

use std::{sync::Arc, time::Duration};

use connector_core::{Error, ErrorKind, PendingError};
use flyteidl2::connector::CreateTaskRequest;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

pub(crate) use self::entries::CreateDedup;
use self::{
    entries::{Entry, Key, State},
    in_flight::{InFlight, Outcome, Responses},
};
use super::guard::deadline_exceeded;

/// Shortest time in which a creation is started. With less it would most likely start a task whose response is too late.
pub(super) const MIN_CREATE_TIME: Duration = Duration::from_millis(250);

/// The result of beginning a request.
#[derive(Debug)]
pub(super) enum Begun {
    /// An identical request is in flight; wait for its outcome.
    Joined(Waiter),
    /// Execute the request with this ticket.
    Started(Waiter, Ticket),
}

impl CreateDedup {
    /// Joins an identical request of the same attempt, or starts. Waits until a different request of the same attempt has
    /// completed, and until one has ended that failed only for lack of time. Claims an orphan of the attempt that is in its
    /// grace period.
    ///
    /// # Errors
    ///
    /// `DeadlineExceeded` if a different request is still in flight at `respond_by`.
    pub(super) async fn begin(
        &self,
        request: Arc<CreateTaskRequest>,
        respond_by: Instant,
    ) -> Result<Begun, Error> {
        let key = self.key(&request);
        loop {
            let mut other = match self.try_begin(&key, &request, respond_by) {
                Ok(begun) => return Ok(begun),
                Err(in_flight) => in_flight,
            };
            let completed = async { while other.changed().await.is_ok() {} };
            tokio::time::timeout_at(respond_by, completed)
                .await
                .map_err(|_elapsed| deadline_exceeded())?;
        }
    }

    /// Joins or starts. Returns the outcome of the different request in flight otherwise.
    fn try_begin(
        &self,
        key: &Key,
        request: &Arc<CreateTaskRequest>,
        respond_by: Instant,
    ) -> Result<Begun, watch::Receiver<Option<Outcome>>> {
        let mut entries = self.lock();
        let (abandoned, claimed) = match entries.get_mut(key) {
            None => (0, None),
            Some(Entry { state: State::InFlight(in_flight), .. }) => {
                let has_more_time = respond_by > in_flight.respond_by + MIN_CREATE_TIME;
                if in_flight.request != *request || has_more_time && in_flight.lacked_time() {
                    return Err(in_flight.outcome.clone());
                }
                in_flight.responses.join();
                return Ok(Begun::Joined(Waiter::new(self, key, in_flight, has_more_time)));
            }
            Some(Entry { state: State::Grace(claim, orphan), abandoned, .. }) => {
                claim.cancel();
                (*abandoned, Some(orphan.clone()))
            }
            Some(Entry { state: State::Abandoned, abandoned, .. }) => (*abandoned, None),
        };
        let (publish, outcome) = watch::channel(None);
        let in_flight = InFlight {
            request: Arc::clone(request),
            claimed,
            respond_by,
            pending_error: PendingError::default(),
            outcome,
            responses: Responses::of_one_caller(),
            changed: Arc::new(Notify::new()),
        };
        let waiter = Waiter::new(self, key, &in_flight, false);
        let pending_error = in_flight.pending_error.clone();
        let state = State::InFlight(in_flight);
        entries.insert(key.clone(), Entry { abandoned, state, last_used: Instant::now() });
        let ticket = Ticket {
            dedup: self.clone(),
            key: key.clone(),
            request: Arc::clone(request),
            publish,
            pending_error,
            abandoned,
        };
        Ok(Begun::Started(waiter, ticket))
    }
}

/// True if a creation with this error can succeed later, or with more time.
fn is_transient(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Exhausted | ErrorKind::Unavailable | ErrorKind::DeadlineExceeded
    )
}

/// Sorts the inputs, which arrive in the random order of a Go map (flyte-contract.md#createtask).
pub(super) fn with_sorted_inputs(mut request: CreateTaskRequest) -> CreateTaskRequest {
    if let Some(inputs) = &mut request.inputs {
        inputs.literals.sort_by(|one, other| one.name.cmp(&other.name));
    }
    request
}
