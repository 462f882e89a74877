//! How many calls are taken at once, and how much memory with them.
//!
//! A call takes, in this order and each as a whole, so that no two wait for each other: a place, of which there are as
//! many as calls may run and wait, and without which it is refused at once; room for its bytes, if they are many; its
//! turn to run; and room for what the message becomes once it is decoded, if that is much.

use std::{sync::Arc, time::Instant};

use connector_core::{Error, ErrorKind};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::{
    Limits,
    class::Class,
    upload::{Message, Upload},
    weight,
};
use crate::{detached::Detached, metrics::Refusal};

/// Messages up to this size need no room of their own, neither before nor after they are decoded: their number is
/// bounded.
const SMALL: u64 = 32 * 1024;

/// Room is counted in these.
const UNIT: u64 = 1024;

const MIB: u64 = 1024 * 1024;

/// How many health calls and watches may be open. They are no work, but each takes memory.
const HEALTH: usize = 1000;

/// How many reflection streams may be open. They have no end of their own.
const REFLECTION: usize = 32;

/// How much unfinished work there may be for each call that may run, before no task is created: work goes on when its
/// caller is gone. One `CreateTask` counts three times: at the door, as a call, and as work.
const WORK_PER_CALL: usize = 5;

/// How much more there may be of work for callers who have their answer: it waits, for a workspace that is down for
/// instance, and must not keep tasks of other workspaces from being created. It takes memory all the same.
const UNAWAITED_PER_CALL: usize = 20;

/// What calls have begun and not finished.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    /// All of it; a stop waits for it.
    pub(crate) all: TaskTracker,
    /// The part that is for callers who have their answer.
    pub(crate) unawaited: Detached,
}

impl Work {
    /// Whether there is too much of it to create one more task, where so many calls may run.
    fn is_too_much(&self, calls: usize) -> bool {
        let (all, unawaited) = (self.all.len(), self.unawaited.count());
        all.saturating_sub(unawaited) >= calls.saturating_mul(WORK_PER_CALL)
            || unawaited >= calls.saturating_mul(UNAWAITED_PER_CALL)
    }
}

/// Everything that calls take.
#[derive(Debug)]
pub(super) struct Admission {
    present: Arc<Semaphore>,
    running: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    health: Arc<Semaphore>,
    reflection: Arc<Semaphore>,
    work: Work,
    limits: Limits,
    stop: CancellationToken,
}

/// Room for a message, given back when nobody holds it any more.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// What a call has taken.
#[derive(Debug)]
pub(super) struct Places {
    _present: OwnedSemaphorePermit,
    bytes: Option<OwnedSemaphorePermit>,
    running: Option<OwnedSemaphorePermit>,
    room: Option<Room>,
    in_flight: Option<TaskTrackerToken>,
}

/// A call that is not taken: why, for the numbers and for the caller.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: Refusal,
    pub(super) error: Error,
}

impl Admission {
    /// Nothing taken.
    pub(super) fn new(limits: &Limits, work: Work, stop: CancellationToken) -> Self {
        let semaphore = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let room = usize::try_from(limits.request_bytes / UNIT).unwrap_or(usize::MAX);
        Self {
            present: semaphore(limits.calls.saturating_add(limits.queued)),
            running: semaphore(limits.calls),
            bytes: semaphore(room),
            memory: semaphore(room),
            health: semaphore(HEALTH),
            reflection: semaphore(REFLECTION),
            work,
            limits: limits.clone(),
            stop,
        }
    }

    /// Takes what the call needs, waiting no longer than until `answer_by`.
    ///
    /// # Errors
    ///
    /// [`Refused`] when the server is full, is stopping, or the message is too large or too slow.
    pub(super) async fn enter(
        &self,
        class: Class,
        body: Incoming,
        answer_by: Instant,
    ) -> Result<(Places, Message), Refused> {
        let kind = match class {
            // While the server stops, it still says so.
            Class::Health => &self.health,
            Class::Reflection => {
                self.still_open()?;
                &self.reflection
            }
            Class::Call { creates } => {
                self.still_open()?;
                if creates && self.work.is_too_much(self.limits.calls) {
                    return Err(busy("the server has too much unfinished work"));
                }
                &self.present
            }
        };
        let present = Arc::clone(kind)
            .try_acquire_owned()
            .map_err(|_full| busy("the server has too many calls at once"))?;
        let mut places =
            Places { _present: present, bytes: None, running: None, room: None, in_flight: None };
        if class == Class::Reflection {
            return Ok((places, Message::Endless(body)));
        }
        let mut upload = Upload::new(body, Instant::now() + self.limits.request_time);
        let size = upload.size().await.map_err(Refused::slow)?.unwrap_or(0);
        if size > self.limits.message_bytes {
            return Err(Refused::too_large(size, self.limits.message_bytes));
        }
        places.bytes = self.room(&self.bytes, size, answer_by).await?;
        let message = upload.whole().await.map_err(Refused::slow)?;
        if let Class::Call { .. } = class {
            places.running = Some(self.take(&self.running, 1, answer_by).await?);
            let weight = weight::decoded(message.bytes());
            if weight > self.limits.request_bytes {
                return Err(Refused::too_heavy(weight, self.limits.request_bytes));
            }
            let room = self.room(&self.memory, weight, answer_by).await?;
            places.room = room.map(|permit| Room { _permit: Arc::new(permit) });
            places.in_flight = Some(self.work.all.token());
        }
        Ok((places, message))
    }

    async fn room(
        &self,
        semaphore: &Arc<Semaphore>,
        bytes: u64,
        answer_by: Instant,
    ) -> Result<Option<OwnedSemaphorePermit>, Refused> {
        if bytes <= SMALL {
            return Ok(None);
        }
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        self.take(semaphore, units, answer_by).await.map(Some)
    }

    fn still_open(&self) -> Result<(), Refused> {
        if self.stop.is_cancelled() { Err(Refused::stopping()) } else { Ok(()) }
    }

    /// In the order of asking.
    async fn take(
        &self,
        semaphore: &Arc<Semaphore>,
        count: u32,
        answer_by: Instant,
    ) -> Result<OwnedSemaphorePermit, Refused> {
        let permit = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Refused::stopping()),
            // Whose turn comes now has no time left for it.
            () = tokio::time::sleep_until(answer_by.into()) => {
                return Err(busy("the server has too many calls at once: this one waited in vain"));
            }
            permit = Arc::clone(semaphore).acquire_many_owned(count) => permit,
        };
        permit.map_err(|_closed| Refused::stopping())
    }
}

impl Places {
    /// The room that the message takes.
    pub(super) fn room(&self) -> Option<&Room> {
        self.room.as_ref()
    }

    /// The call has its answer: a stop need not wait for it any more.
    pub(super) fn answered(&mut self) {
        self.in_flight = None;
    }
}

/// Another replica, or this one a little later, may take the call.
fn busy(message: &'static str) -> Refused {
    Refused { reason: Refusal::Busy, error: Error::new(ErrorKind::Exhausted, message) }
}

impl Refused {
    /// Another replica takes the call at once.
    fn stopping() -> Self {
        let error = Error::new(ErrorKind::Unavailable, "the server is stopping")
            .with_hint("another replica can take the call");
        Self { reason: Refusal::Stopping, error }
    }

    fn too_large(size: u64, most: u64) -> Self {
        let message = format!("the request has {size} bytes, and this server takes {most}");
        let error = Error::new(ErrorKind::Exhausted, message)
            .with_hint("the connector's --max-message-mib can be raised");
        Self { reason: Refusal::TooLarge, error }
    }

    fn too_heavy(weight: u64, most: u64) -> Self {
        let message = format!(
            "the request would take {} MiB of memory, and this server has {} for all of them",
            weight.div_ceil(MIB),
            most / MIB
        );
        let error = Error::new(ErrorKind::Exhausted, message)
            .with_hint("the connector's --max-requests-mib can be raised");
        Self { reason: Refusal::TooLarge, error }
    }

    fn slow(error: Error) -> Self {
        Self { reason: Refusal::Slow, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_nobody_waits_for_keeps_no_task_from_being_created_until_it_is_very_much() {
        let work = Work { all: TaskTracker::new(), unawaited: Detached::default() };
        let mut held: Vec<_> = (0..4).map(|_| (work.all.token(), None)).collect();
        assert!(!work.is_too_much(1));
        // One more that is awaited is too much; nineteen more that are not are none too many.
        held.push((work.all.token(), None));
        assert!(work.is_too_much(1));
        held.pop();
        for _ in 0..19 {
            let mut piece = work.unawaited.guard();
            piece.detach();
            held.push((work.all.token(), Some(piece)));
        }
        assert!(!work.is_too_much(1));
        let mut piece = work.unawaited.guard();
        piece.detach();
        held.push((work.all.token(), Some(piece)));
        assert!(work.is_too_much(1));
    }
}
