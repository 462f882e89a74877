//! The exclusive right to execute a creation, and the orphan that may result.

use std::{collections::hash_map, ops::ControlFlow, sync::Arc, time::Duration};

use connector_core::{CreateContext, PendingError, TaskType};
use flyteidl2::connector::CreateTaskRequest;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    entries::{CreateDedup, Entry, Key, State, forget_oldest},
    in_flight::{Orphan, OrphanDecision, Outcome},
};

/// The longest time of a creation, whose callers may all have left. Longer than a call and a request to a service.
const MAX_CREATE_TIME: Duration = Duration::from_mins(2);

/// The exclusive right to execute one creation. Its holder must [`settle`](Self::settle) it.
#[derive(Debug)]
pub(in crate::service) struct Ticket {
    pub(super) dedup: CreateDedup,
    pub(super) key: Key,
    pub(super) request: Arc<CreateTaskRequest>,
    pub(super) publish: watch::Sender<Option<Outcome>>,
    pub(super) pending_error: PendingError,
    pub(super) abandoned: u32,
}

impl Ticket {
    /// Returns the connector's arguments.
    pub(in crate::service) fn context(
        &self,
        task_type: TaskType,
        deadline: std::time::Instant,
    ) -> CreateContext {
        let mut cx = CreateContext::from(self.request.as_ref().clone())
            .with_abandoned_creates(self.abandoned)
            .with_deadline(Some(deadline))
            .with_response_deadline(Some((Instant::now() + MAX_CREATE_TIME).into_std()))
            .with_pending_error(self.pending_error.clone());
        cx.task_type = task_type;
        cx
    }

    /// Waits until no caller waits.
    pub(super) async fn all_callers_left(&self) {
        let changed = match self.dedup.lock().get(&self.key) {
            Some(Entry { state: State::InFlight(in_flight), .. }) => Arc::clone(&in_flight.changed),
            _ => return,
        };
        loop {
            let notified = changed.notified();
            let is_awaited = matches!(
                self.dedup.lock().get(&self.key),
                Some(Entry { state: State::InFlight(in_flight), .. }) if in_flight.responses.is_awaited()
            );
            if !is_awaited {
                return;
            }
            notified.await;
        }
    }

    /// Publishes the outcome and waits until every caller has left. Returns the orphan, if the task is one.
    pub(super) async fn settle(self, outcome: Outcome) -> Option<OrphanedCreate> {
        self.publish.send_replace(Some(outcome.clone()));
        let changed = match self.dedup.lock().get(&self.key) {
            Some(Entry { state: State::InFlight(in_flight), .. }) => Arc::clone(&in_flight.changed),
            _ => return None,
        };
        let claim = CancellationToken::new();
        let orphan = loop {
            let notified = changed.notified();
            match self.try_settle(&outcome, &claim) {
                ControlFlow::Continue(()) => notified.await,
                ControlFlow::Break(orphan) => break orphan?,
            }
        };
        Some(OrphanedCreate { dedup: self.dedup, key: self.key, claim, meta: orphan.meta })
    }

    /// Continues while a caller waits. Breaks with the orphan, or None if the task is kept or there is none.
    fn try_settle(
        &self,
        outcome: &Outcome,
        claim: &CancellationToken,
    ) -> ControlFlow<Option<Orphan>> {
        let mut entries = self.dedup.lock();
        let hash_map::Entry::Occupied(mut entry) = entries.entry(self.key.clone()) else {
            return ControlFlow::Break(None);
        };
        let State::InFlight(in_flight) = &mut entry.get_mut().state else {
            return ControlFlow::Break(None);
        };
        match in_flight.responses.decide(outcome, in_flight.claimed.is_some()) {
            None => return ControlFlow::Continue(()),
            Some(OrphanDecision::Orphan) => {
                let claimed = in_flight.claimed.take().and_then(|orphan| orphan.meta);
                let orphan = Orphan { meta: outcome.as_ref().ok().cloned().or(claimed) };
                entry.get_mut().state = State::Grace(claim.clone(), orphan.clone());
                return ControlFlow::Break(Some(orphan));
            }
            Some(OrphanDecision::Keep) if self.abandoned > 0 => {
                entry.get_mut().state = State::Abandoned;
            }
            Some(OrphanDecision::Keep) => {
                entry.remove();
            }
        }
        ControlFlow::Break(None)
    }
}

/// An orphan in its grace period.
#[derive(Debug)]
pub(super) struct OrphanedCreate {
    pub(super) dedup: CreateDedup,
    key: Key,
    claim: CancellationToken,
    /// None if it is unknown whether a task exists.
    pub(super) meta: Option<Vec<u8>>,
}

impl OrphanedCreate {
    /// Waits for the end of the grace period. Returns true if the orphan must be cancelled, false if a request has claimed
    /// it.
    pub(super) async fn wait_for_expiry(&self) -> bool {
        let mut expiry = Instant::now() + self.dedup.0.grace;
        let mut stop = self.dedup.0.stop.subscribe();
        loop {
            if let Some(stop) = *stop.borrow_and_update() {
                expiry = expiry.min(stop);
            }
            tokio::select! {
                () = self.claim.cancelled() => return false,
                () = tokio::time::sleep_until(expiry) => break,
                Ok(()) = stop.changed() => {}
            }
        }
        let mut entries = self.dedup.lock();
        // A claim takes the same lock, so either the claim or the expiry is first.
        if self.claim.is_cancelled() {
            return false;
        }
        match entries.entry(self.key.clone()) {
            hash_map::Entry::Occupied(entry) if matches!(self.key, Key::Anonymous(_)) => {
                entry.remove();
            }
            hash_map::Entry::Occupied(mut entry) => {
                let entry = entry.get_mut();
                entry.abandoned = entry.abandoned.saturating_add(1);
                entry.state = State::Abandoned;
                entry.last_used = Instant::now();
            }
            hash_map::Entry::Vacant(_) => {}
        }
        forget_oldest(&mut entries);
        true
    }
}
