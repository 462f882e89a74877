//! Client-side rate limits: one limiter for each pair of host and credential.
//!
//! Reads and writes each have a token bucket, a FIFO queue and reserved slots, so that neither can starve the other. A
//! 429 response halves the rate of its class, which then recovers gradually. `Retry-After` pauses both classes.

mod limiter;
mod limiters;
mod token_bucket;

use std::num::NonZeroU32;

pub(crate) use limiter::{Permit, RateLimiter, Rejection};
pub(crate) use limiters::RateLimiters;

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
