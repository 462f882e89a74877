//! The rate limiter of one host and one credential.
//!
//! A request needs a token of its class, a slot of its class and a slot of the limiter. Waiters of
//! a class are served in order of arrival: only the first waits for a token and slots.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{RateLimitPolicy, token_bucket::TokenBucket};
use crate::{RateLimitSnapshot, RequestClass, RequestClassSnapshot};

/// The largest number of waiters of one class.
const MAX_WAITING: usize = 5_000;

/// The longest pause that a `Retry-After` can cause. Afterwards a few requests test whether it still applies: a broken
/// clock or proxy must not stop all calls for hours.
const MAX_HOLD: Duration = Duration::from_mins(1);

/// Limits the requests of one credential to one host.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    /// The name of the credential, for snapshots.
    credential: String,
    max_in_flight: u32,
    slots: Arc<Semaphore>,
    reads: ClassLimiter,
    writes: ClassLimiter,
}

#[derive(Debug)]
struct ClassLimiter {
    /// Held by the first waiter. Fair, so the others queue in order of arrival.
    first: tokio::sync::Mutex<()>,
    /// Fewer than all slots, so that some are reserved for the other class.
    slots: Arc<Semaphore>,
    state: Mutex<ClassState>,
}

#[derive(Debug)]
struct ClassState {
    bucket: TokenBucket,
    /// When the rate was last cut.
    cut_at: Option<Instant>,
    counts: RequestClassSnapshot,
}

/// The right to send one request. Frees its slots when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limiter: Arc<RateLimiter>,
    class: RequestClass,
    started_at: Instant,
    waited: Duration,
    _slots: Slots,
}

/// A slot of the class and a slot of the limiter. Never `None`, since the semaphores are not
/// closed.
type Slots = [Option<OwnedSemaphorePermit>; 2];

/// Why a caller got no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The deadline passed after this wait.
    TimedOut(Duration),
    /// The caller did not wait, because the deadline would have passed.
    WouldTimeOut {
        /// The minimum wait at the current rate.
        wait: Duration,
        /// The number of waiters.
        waiting: usize,
    },
}

impl RateLimiter {
    pub(crate) fn new(credential: &str, policy: RateLimitPolicy, now: Instant) -> Arc<Self> {
        let max_in_flight = policy.max_in_flight.get();
        let reserved = if max_in_flight > 1 { (max_in_flight / 4).max(1) } else { 0 };
        let slots = |number: u32| Arc::new(Semaphore::new(number as usize));
        let class = |rate| ClassLimiter {
            first: tokio::sync::Mutex::default(),
            slots: slots(max_in_flight - reserved),
            state: Mutex::new(ClassState {
                bucket: TokenBucket::new(rate, now),
                cut_at: None,
                counts: RequestClassSnapshot::default(),
            }),
        };
        Arc::new(Self {
            credential: credential.to_owned(),
            max_in_flight,
            slots: slots(max_in_flight),
            reads: class(policy.reads),
            writes: class(policy.writes),
        })
    }

    /// Waits for a permit until the deadline. Rejects immediately if the wait would exceed it.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        class: RequestClass,
        deadline: Instant,
    ) -> Result<Permit, Rejection> {
        let called_at = Instant::now();
        let counted = self.class(class).enqueue(deadline, called_at)?;
        let mut slots = std::pin::pin!(self.wait_for_slots(class));
        let (outcome, waited) =
            match std::future::poll_fn(|cx| Poll::Ready(slots.as_mut().poll(cx))).await {
                Poll::Ready(slots) => (Ok(slots), Duration::ZERO),
                Poll::Pending => {
                    (tokio::time::timeout_at(deadline, slots).await, called_at.elapsed())
                }
            };
        drop(counted);
        let mut state = self.class(class).state();
        let Ok(slots) = outcome else {
            state.counts.rejected += 1;
            return Err(Rejection::TimedOut(waited));
        };
        state.counts.in_flight += 1;
        state.counts.waits += u64::from(!waited.is_zero());
        let (limiter, started_at) = (Arc::clone(self), Instant::now());
        Ok(Permit { limiter, class, started_at, waited, _slots: slots })
    }

    /// Takes a token and the slots.
    async fn wait_for_slots(&self, class: RequestClass) -> Slots {
        let class = self.class(class);
        let _first = class.first.lock().await;
        loop {
            let wait = class.state().bucket.wait(1, Instant::now());
            if wait.is_zero() {
                let acquire = |slots: &Arc<Semaphore>| Arc::clone(slots).acquire_owned();
                let slots = [acquire(&class.slots).await.ok(), acquire(&self.slots).await.ok()];
                // A 429 response may have emptied the bucket meanwhile.
                if class.state().bucket.take(Instant::now()) {
                    return slots;
                }
            } else {
                tokio::time::sleep(wait).await;
            }
        }
    }

    pub(crate) fn snapshot(&self, now: Instant) -> RateLimitSnapshot {
        RateLimitSnapshot {
            credential: self.credential.clone(),
            max_in_flight: self.max_in_flight,
            reads: self.reads.snapshot(now),
            writes: self.writes.snapshot(now),
        }
    }

    /// True if a new limiter would behave the same: nothing waits or is in flight, and both buckets are full.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        [&self.reads, &self.writes].into_iter().all(|class| {
            let state = class.state();
            state.counts.in_flight == 0 && state.counts.waiting == 0 && state.bucket.is_full(now)
        })
    }

    fn class(&self, class: RequestClass) -> &ClassLimiter {
        match class {
            RequestClass::Read => &self.reads,
            RequestClass::Write => &self.writes,
        }
    }
}

impl ClassLimiter {
    /// Counts a waiter, unless it would wait past its deadline.
    fn enqueue(&self, deadline: Instant, now: Instant) -> Result<Waiter<'_>, Rejection> {
        let mut state = self.state();
        let waiting = state.counts.waiting;
        let wait = state.bucket.wait(waiting + 1, now);
        if wait >= deadline.saturating_duration_since(now) || waiting >= MAX_WAITING {
            state.counts.rejected += 1;
            return Err(Rejection::WouldTimeOut { wait, waiting });
        }
        state.counts.waiting += 1;
        Ok(Waiter(self))
    }

    fn snapshot(&self, now: Instant) -> RequestClassSnapshot {
        let state = self.state();
        RequestClassSnapshot { rate_per_second: state.bucket.rate(now), ..state.counts }
    }

    fn state(&self) -> MutexGuard<'_, ClassState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One waiter in the count of its class.
struct Waiter<'a>(&'a ClassLimiter);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.state().counts.waiting -= 1;
    }
}

impl Permit {
    /// Returns how long the caller waited; zero if a permit was available immediately.
    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }

    /// Reacts to a 429 response. Cuts the rate of the class, unless the request started before the last cut: responses
    /// to one burst count once. `retry_after` pauses both classes.
    pub(crate) fn rate_limited(&self, retry_after: Option<Duration>) {
        let now = Instant::now();
        let mut state = self.limiter.class(self.class).state();
        if state.cut_at.is_none_or(|cut_at| self.started_at > cut_at) {
            state.bucket.cut(now);
            state.cut_at = Some(now);
        }
        drop(state);
        if let Some(pause) = retry_after {
            for class in [&self.limiter.reads, &self.limiter.writes] {
                class.state().bucket.hold(now + pause.min(MAX_HOLD), now);
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.class(self.class).state().counts.in_flight -= 1;
    }
}

#[cfg(test)]
mod tests;
