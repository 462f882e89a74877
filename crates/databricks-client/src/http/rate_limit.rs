//! Client-side rate limits: one limiter for each pair of host and credential.
//!
//! Reads and writes each have a token bucket, a FIFO queue and reserved slots, so that neither can starve the other. A
//! 429 response halves the rate of its class, which then recovers gradually. `Retry-After` pauses both classes.

mod limiter;
mod token_bucket;

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use crate::RateLimitSnapshot;

pub(crate) use limiter::{Permit, RateLimiter, Rejection};

/// A sustained rate and a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second.
    pub per_second: NonZeroU32,
    /// Requests that may start at the same moment after an idle period.
    pub burst: NonZeroU32,
}

impl Rate {
    /// Returns this rate with a burst of two seconds' worth of requests.
    pub const fn per_second(per_second: NonZeroU32) -> Self {
        Self { per_second, burst: per_second.saturating_add(per_second.get()) }
    }
}

/// The limits that apply to each pair of host and credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitPolicy {
    /// Requests in flight. A quarter is reserved for reads, and a quarter for writes.
    pub max_in_flight: NonZeroU32,
    /// The rate of reads.
    pub reads: Rate,
    /// The rate of writes.
    pub writes: Rate,
}

impl Default for RateLimitPolicy {
    /// Returns 64 requests in flight, 50 reads and 20 writes per second. The documented limits of a workspace are 100
    /// reads and 35 submissions per second over all its callers (databricks-api.md#limits).
    fn default() -> Self {
        let number = |n: u32| NonZeroU32::MIN.saturating_add(n - 1);
        Self {
            max_in_flight: number(64),
            reads: Rate::per_second(number(50)),
            writes: Rate::per_second(number(20)),
        }
    }
}

/// The largest number of limiters per host.
const MAX_LIMITERS: usize = 100;

/// One rate limiter for each credential of a host.
#[derive(Debug)]
pub(crate) struct RateLimiters {
    policy: RateLimitPolicy,
    by_identity: Mutex<HashMap<u64, Arc<RateLimiter>>>,
}

impl RateLimiters {
    pub(crate) fn new(policy: RateLimitPolicy) -> Self {
        Self { policy, by_identity: Mutex::default() }
    }

    /// Returns the limiter of a credential, given the hash of its secret. If too many credentials are in use, some
    /// share one.
    pub(crate) fn get(&self, identity: u64, credential: &str, now: Instant) -> Arc<RateLimiter> {
        let mut limiters = self.lock();
        if let Some(limiter) = limiters.get(&identity) {
            return Arc::clone(limiter);
        }
        if limiters.len() >= MAX_LIMITERS {
            // Keeps those that a client holds.
            limiters.retain(|_, limiter| Arc::strong_count(limiter) > 1 || !limiter.is_idle(now));
        }
        if limiters.len() >= MAX_LIMITERS
            && let Some(shared) = limiters.values().next()
        {
            return Arc::clone(shared);
        }
        let limiter = RateLimiter::new(credential, self.policy, now);
        limiters.insert(identity, Arc::clone(&limiter));
        limiter
    }

    /// Returns a snapshot of each limiter, ordered by the name of its credential.
    pub(crate) fn snapshots(&self, now: Instant) -> Vec<RateLimitSnapshot> {
        let mut all: Vec<_> = self.lock().values().map(|limiter| limiter.snapshot(now)).collect();
        all.sort_by(|one, other| one.credential.cmp(&other.credential));
        all
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<RateLimiter>>> {
        self.by_identity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::RequestClass;

    fn get(limiters: &RateLimiters, n: usize) -> Arc<RateLimiter> {
        limiters.get(n as u64, "the task's secret", Instant::now())
    }

    #[test]
    fn same_identity_shares_a_limiter() {
        let limiters = RateLimiters::new(RateLimitPolicy::default());
        let one = get(&limiters, 1);
        assert!(Arc::ptr_eq(&one, &limiters.get(1, "other", Instant::now())));
        assert!(!Arc::ptr_eq(&one, &get(&limiters, 2)));
    }

    #[tokio::test(start_paused = true)]
    async fn number_of_limiters_is_bounded_and_those_in_use_stay() {
        let limiters = RateLimiters::new(RateLimitPolicy::default());
        let held = get(&limiters, 0);
        let used = get(&limiters, 1);
        let deadline = Instant::now() + Duration::from_secs(1);
        drop(used.acquire(RequestClass::Write, deadline).await.unwrap());
        drop(used);
        for n in 2..10 * MAX_LIMITERS {
            get(&limiters, n);
            assert!(limiters.lock().len() <= MAX_LIMITERS);
        }
        assert!(Arc::ptr_eq(&held, &get(&limiters, 0)));
        // Its bucket is not full, so it stays: a new one would allow the burst again.
        assert!(!get(&limiters, 1).is_idle(Instant::now()));
    }

    #[test]
    fn credentials_above_the_bound_share_a_limiter() {
        let limiters = RateLimiters::new(RateLimitPolicy::default());
        let held: Vec<_> = (0..MAX_LIMITERS).map(|n| get(&limiters, n)).collect();
        let shared = get(&limiters, MAX_LIMITERS);
        assert!(held.iter().any(|limiter| Arc::ptr_eq(limiter, &shared)));
    }
}
