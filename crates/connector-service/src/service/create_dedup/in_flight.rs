//! A creation in flight, and the pure decision about its task once all callers have left.

use std::sync::Arc;

use connector_core::{Error, PendingError};
use flyteidl2::connector::CreateTaskRequest;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::is_transient;

/// The outcome of a creation: the resource meta or an error.
pub(in crate::service) type Outcome = Result<Vec<u8>, Error>;

/// A creation that executes, or whose callers have not all left. A caller leaves when it receives
/// a response or disconnects.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) request: Arc<CreateTaskRequest>,
    /// The orphan that this request has claimed. It is an orphan again if the request fails.
    pub(super) claimed: Option<Orphan>,
    /// The deadline of the caller that started it.
    pub(super) respond_by: Instant,
    /// The error for callers whose deadline passes before the outcome.
    pub(super) pending_error: PendingError,
    pub(super) outcome: watch::Receiver<Option<Outcome>>,
    pub(super) responses: Responses,
    /// Notified when a caller leaves.
    pub(super) changed: Arc<Notify>,
}

impl InFlight {
    /// True if it has failed with an error that more time can avoid.
    pub(super) fn lacked_time(&self) -> bool {
        matches!(&*self.outcome.borrow(), Some(Err(error)) if is_transient(error))
    }
}

/// A task that no caller received.
#[derive(Debug, Clone)]
pub(super) struct Orphan {
    /// None if it is unknown whether a task exists.
    pub(super) meta: Option<Vec<u8>>,
}

/// The response that a caller received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Response {
    /// None: the caller disconnected. It retries the same attempt.
    Disconnected,
    /// The resource meta.
    Success,
    /// An error. Flyte starts the next attempt.
    Error,
}

/// The decision about the task after all callers have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrphanDecision {
    /// A caller has it, or may retry, or there is no task.
    Keep,
    /// The task is an orphan.
    Orphan,
}

/// The responses of all callers that share a creation.
#[derive(Debug)]
pub(super) struct Responses {
    waiting: usize,
    has_success: bool,
    has_error: bool,
}

impl Responses {
    /// One waiting caller.
    pub(super) fn of_one_caller() -> Self {
        Self { waiting: 1, has_success: false, has_error: false }
    }

    /// True while a caller waits.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting > 0
    }

    /// Adds a waiting caller.
    pub(super) fn join(&mut self) {
        self.waiting += 1;
    }

    /// Records that a caller has left with this response.
    pub(super) fn leave(&mut self, response: Response) {
        self.waiting = self.waiting.saturating_sub(1);
        match response {
            Response::Disconnected => {}
            Response::Success => self.has_success = true,
            Response::Error => self.has_error = true,
        }
    }

    /// Decides about the task. None while a caller waits. A claimed orphan is a task even if the outcome is an error.
    pub(super) fn decide(&self, outcome: &Outcome, has_claimed: bool) -> Option<OrphanDecision> {
        if self.is_awaited() {
            return None;
        }
        let may_exist = match outcome {
            Ok(_) => true,
            Err(error) => error.may_have_started() || has_claimed,
        };
        let is_orphan = may_exist && self.has_error && !self.has_success;
        Some(if is_orphan { OrphanDecision::Orphan } else { OrphanDecision::Keep })
    }
}

#[cfg(test)]
mod tests {
    use connector_core::ErrorKind;

    use super::*;

    fn decide(
        responses: &[Response],
        outcome: &Outcome,
        has_claimed: bool,
    ) -> Option<OrphanDecision> {
        let mut callers = Responses::of_one_caller();
        for _ in responses.iter().skip(1) {
            callers.join();
        }
        for response in responses {
            callers.leave(*response);
        }
        callers.decide(outcome, has_claimed)
    }

    #[test]
    fn task_is_an_orphan_only_if_callers_received_errors_and_no_success() {
        use Response::{Disconnected, Error as Failed, Success};
        let started: Outcome = Ok(Vec::new());
        let rejected: Outcome = Err(Error::invalid_task("x"));
        let lost: Outcome =
            Err(Error::new(ErrorKind::Unavailable, "x").with_may_have_started(true));
        for (responses, outcome, has_claimed, expected) in [
            (&[Success][..], &started, false, OrphanDecision::Keep),
            (&[Failed], &started, false, OrphanDecision::Orphan),
            (&[Disconnected], &started, false, OrphanDecision::Keep),
            (&[Failed, Disconnected], &started, false, OrphanDecision::Orphan),
            (&[Failed, Success], &started, false, OrphanDecision::Keep),
            (&[Failed], &rejected, false, OrphanDecision::Keep),
            (&[Failed], &rejected, true, OrphanDecision::Orphan),
            (&[Disconnected], &rejected, true, OrphanDecision::Keep),
            (&[Failed], &lost, false, OrphanDecision::Orphan),
            (&[Disconnected], &lost, false, OrphanDecision::Keep),
        ] {
            let found = decide(responses, outcome, has_claimed);
            assert_eq!(found, Some(expected), "{responses:?} {outcome:?} {has_claimed}");
        }
    }

    #[test]
    fn nothing_is_decided_while_a_caller_waits() {
        let mut callers = Responses::of_one_caller();
        callers.join();
        callers.leave(Response::Error);
        assert_eq!(callers.decide(&Ok(Vec::new()), true), None);
    }
}
