//! A caller that waits for a creation.

use std::sync::Arc;

use connector_core::{Error, ErrorKind, PendingError};
use flyteidl2::connector::CreateTaskRequest;
use tokio::{sync::watch, time::Instant};

use super::{
    entries::{CreateDedup, Entry, Key, State},
    in_flight::{InFlight, Outcome, Response},
    is_transient,
};
use crate::service::guard::deadline_exceeded;

/// One caller. Dropped without a response, it counts as disconnected.
#[derive(Debug)]
pub(in crate::service) struct Waiter {
    dedup: CreateDedup,
    key: Key,
    request: Arc<CreateTaskRequest>,
    outcome: watch::Receiver<Option<Outcome>>,
    pending_error: PendingError,
    /// True if it waits longer than the caller that started the creation.
    has_more_time: bool,
    pub(super) response: Response,
}

/// What a caller waited for.
#[derive(Debug)]
pub(in crate::service) enum Waited {
    /// The response.
    Response(Outcome),
    /// The creation failed for lack of time, and this caller has more: begin again.
    Again(Arc<CreateTaskRequest>),
}

impl Waiter {
    pub(super) fn new(
        dedup: &CreateDedup,
        key: &Key,
        in_flight: &InFlight,
        has_more_time: bool,
    ) -> Self {
        Self {
            dedup: dedup.clone(),
            key: key.clone(),
            request: Arc::clone(&in_flight.request),
            outcome: in_flight.outcome.clone(),
            pending_error: in_flight.pending_error.clone(),
            has_more_time,
            response: Response::Disconnected,
        }
    }

    /// Waits for the outcome. At `respond_by` the response is the pending error, or `DeadlineExceeded` without one.
    pub(in crate::service) async fn wait(mut self, respond_by: Instant) -> Waited {
        let waited = tokio::time::timeout_at(respond_by, self.outcome.wait_for(Option::is_some));
        let outcome = match waited.await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(|| Err(stopping())),
            // An execution ends without an outcome only if the runtime shuts down.
            Ok(Err(_closed)) => Err(stopping()),
            // The execution continues. Its task is cancelled if no caller receives it.
            Err(_elapsed) => {
                let error = self.pending_error.get().unwrap_or_else(deadline_exceeded);
                self.response = Response::Error;
                return Waited::Response(Err(error.with_may_have_started(true)));
            }
        };
        if self.has_more_time && outcome.as_ref().is_err_and(is_transient) {
            return Waited::Again(Arc::clone(&self.request));
        }
        self.response = if outcome.is_ok() { Response::Success } else { Response::Error };
        Waited::Response(outcome)
    }
}

fn stopping() -> Error {
    Error::new(ErrorKind::Unavailable, "the server is shutting down")
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(Entry { state: State::InFlight(in_flight), .. }) =
            self.dedup.lock().get_mut(&self.key)
        {
            in_flight.responses.leave(self.response);
            in_flight.changed.notify_one();
        }
    }
}
