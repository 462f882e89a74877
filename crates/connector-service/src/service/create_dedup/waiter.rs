//! A caller that waits for a creation.

use connector_core::{Error, ErrorKind};
use tokio::{sync::watch, time::Instant};

use super::{
    entries::{CreateDedup, Entry, Key, State},
    in_flight::{Outcome, Response},
};
use crate::service::guard::deadline_exceeded;

/// One caller. Dropped without a response, it counts as disconnected.
#[derive(Debug)]
pub(in crate::service) struct Waiter {
    pub(super) dedup: CreateDedup,
    pub(super) key: Key,
    pub(super) outcome: watch::Receiver<Option<Outcome>>,
    pub(super) response: Response,
}

impl Waiter {
    /// Waits for the outcome.
    ///
    /// # Errors
    ///
    /// The outcome's error, or `DeadlineExceeded` at `respond_by`.
    pub(in crate::service) async fn wait(mut self, respond_by: Instant) -> Outcome {
        let waited = tokio::time::timeout_at(respond_by, self.outcome.wait_for(Option::is_some));
        let outcome = match waited.await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(|| Err(stopping())),
            // An execution ends without an outcome only if the runtime shuts down.
            Ok(Err(_closed)) => Err(stopping()),
            // The execution continues. Its task is cancelled if no caller receives it.
            Err(_elapsed) => Err(deadline_exceeded().with_may_have_started(true)),
        };
        self.response = if outcome.is_ok() { Response::Success } else { Response::Error };
        outcome
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
