//! The retry policy: whether and when to send a request again. Pure: the loop is in `client`.

use std::time::Duration;

/// The share of the remaining time that an attempt may take if another may follow.
const ATTEMPT_SHARE: f64 = 0.6;

/// The share of the remaining time that a call may wait for its rate limit. A request that is sent at the last moment
/// is cut off, and its effect is unknown.
const RATE_LIMIT_SHARE: f64 = 0.6;

/// The minimum timeout of an attempt, if that much time remains. A shorter one would fail at a slow workspace.
const MIN_ATTEMPT: Duration = Duration::from_secs(2);

/// Limits of retries. The caller's deadline is a further limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The largest number of attempts, including the first.
    pub max_attempts: u32,
    /// The longest time from the first attempt to the start of the last.
    pub max_elapsed: Duration,
    /// The bound of the first delay. It doubles with each attempt.
    pub first_delay: Duration,
    /// The bound of every delay.
    pub max_delay: Duration,
}

impl Default for RetryPolicy {
    /// Returns six attempts within 30 s, with delays of up to 200 ms, 400 ms, … 5 s.
    fn default() -> Self {
        Self {
            max_attempts: 6,
            max_elapsed: Duration::from_secs(30),
            first_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(5),
        }
    }
}

/// Exponential backoff with full jitter: delays between zero and a bound that doubles with each attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Backoff {
    /// The bound of the first delay.
    first: Duration,
    /// The bound of every delay.
    max: Duration,
}

impl Backoff {
    /// Returns the bound of the delay after this attempt. The first attempt is 1.
    fn bound(self, attempt: u32) -> Duration {
        let factor = 2_u32.saturating_pow(attempt.saturating_sub(1).min(31));
        self.first.saturating_mul(factor).min(self.max)
    }

    /// Returns the delay after this attempt.
    fn delay(self, attempt: u32, random: &mut fastrand::Rng) -> Duration {
        self.bound(attempt).mul_f64(random.f64())
    }
}

/// A failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) is_transient: bool,
    /// The delay that the service asks for.
    pub(crate) retry_after: Option<Duration>,
}

/// The progress of a call after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Attempts so far.
    pub(crate) attempts: u32,
    /// Time since the start of the call.
    pub(crate) elapsed: Duration,
    /// Time until the caller's deadline.
    pub(crate) left: Duration,
}

impl RetryPolicy {
    /// Returns the delay before the next attempt. None if the call has failed for good.
    ///
    /// A call that is not idempotent is never retried: its first attempt may have had an effect. A delay that would
    /// exceed a limit is not started.
    pub(crate) fn next_delay(
        &self,
        failure: Failure,
        is_idempotent: bool,
        progress: Progress,
        random: &mut fastrand::Rng,
    ) -> Option<Duration> {
        if !failure.is_transient || !is_idempotent || progress.attempts >= self.max_attempts {
            return None;
        }
        let backoff = Backoff { first: self.first_delay, max: self.max_delay };
        let delay = match failure.retry_after {
            // Jitter spreads the callers that received the same `Retry-After`.
            Some(retry_after) => retry_after.saturating_add(backoff.delay(1, random)),
            None => backoff.delay(progress.attempts, random),
        };
        let is_within_limits =
            progress.elapsed.saturating_add(delay) <= self.max_elapsed && delay < progress.left;
        is_within_limits.then_some(delay)
    }

    /// Returns the timeout of an attempt. Leaves time for another attempt if one may follow, so that a lost request
    /// does not use up the caller's deadline.
    pub(crate) fn attempt_timeout(
        &self,
        request_timeout: Duration,
        is_idempotent: bool,
        attempt: u32,
        left: Duration,
    ) -> Duration {
        let may_follow = is_idempotent && attempt < self.max_attempts;
        let share = if may_follow { left.mul_f64(ATTEMPT_SHARE).max(MIN_ATTEMPT) } else { left };
        share.min(left).min(request_timeout)
    }
}

/// Returns how long a call may wait for its rate limit.
pub(crate) fn rate_limit_timeout(left: Duration) -> Duration {
    left.mul_f64(RATE_LIMIT_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSIENT: Failure = Failure { is_transient: true, retry_after: None };

    const LONG: u64 = 3_600;

    fn progress(attempts: u32, elapsed: u64, left: u64) -> Progress {
        let (elapsed, left) = (Duration::from_secs(elapsed), Duration::from_secs(left));
        Progress { attempts, elapsed, left }
    }

    fn next(failure: Failure, is_idempotent: bool, progress: Progress) -> Option<Duration> {
        let random = &mut fastrand::Rng::with_seed(7);
        RetryPolicy::default().next_delay(failure, is_idempotent, progress, random)
    }

    #[test]
    fn only_transient_failures_of_idempotent_calls_are_retried() {
        assert!(next(TRANSIENT, true, progress(1, 0, LONG)).is_some());
        assert_eq!(next(TRANSIENT, false, progress(1, 0, LONG)), None);
        let permanent = Failure { is_transient: false, retry_after: None };
        assert_eq!(next(permanent, true, progress(1, 0, LONG)), None);
    }

    #[test]
    fn attempts_are_limited_in_number_and_time() {
        assert!(next(TRANSIENT, true, progress(5, 0, LONG)).is_some());
        assert_eq!(next(TRANSIENT, true, progress(6, 0, LONG)), None);
        assert_eq!(next(TRANSIENT, true, progress(1, 31, LONG)), None);
    }

    #[test]
    fn retry_after_of_the_service_is_respected() {
        let failure = Failure { is_transient: true, retry_after: Some(Duration::from_secs(3)) };
        let delay = next(failure, true, progress(1, 0, LONG)).unwrap();
        assert!((3.0..=3.2).contains(&delay.as_secs_f64()), "{delay:?}");
    }

    #[test]
    fn delay_past_the_callers_deadline_is_not_started() {
        let failure = Failure { is_transient: true, retry_after: Some(Duration::from_secs(3)) };
        assert_eq!(next(failure, true, progress(1, 0, 3)), None);
        assert!(next(failure, true, progress(1, 0, 4)).is_some());
    }

    #[test]
    fn attempt_leaves_time_for_the_next() {
        let policy = RetryPolicy::default();
        let timeout = |is_idempotent, attempt, left| {
            let left = Duration::from_millis(left);
            policy.attempt_timeout(Duration::from_mins(1), is_idempotent, attempt, left)
        };
        assert_eq!(timeout(true, 1, 9_000), Duration::from_millis(5_400));
        assert_eq!(timeout(true, 2, 3_000), Duration::from_secs(2));
        assert_eq!(timeout(true, 2, 1_500), Duration::from_millis(1_500));
        // No attempt follows the last one, nor one that is not idempotent.
        assert_eq!(timeout(true, 6, 9_000), Duration::from_secs(9));
        assert_eq!(timeout(false, 1, 9_000), Duration::from_secs(9));
        assert_eq!(timeout(false, 1, 600_000), Duration::from_mins(1));
    }

    proptest::proptest! {
        #[test]
        fn no_delay_exceeds_a_limit(
            attempts in 1_u32..20, elapsed in 0_u64..60, left in 0_u64..60,
            retry_after in proptest::option::of(0_u64..600), seed in 0_u64..100,
        ) {
            let policy = RetryPolicy::default();
            let retry_after = retry_after.map(Duration::from_secs);
            let failure = Failure { is_transient: true, retry_after };
            let progress = progress(attempts, elapsed, left);
            let random = &mut fastrand::Rng::with_seed(seed);
            if let Some(delay) = policy.next_delay(failure, true, progress, random) {
                proptest::prop_assert!(attempts < policy.max_attempts);
                proptest::prop_assert!(progress.elapsed + delay <= policy.max_elapsed);
                proptest::prop_assert!(delay < Duration::from_secs(left));
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn delay_is_within_its_bound_and_the_bound_within_the_maximum(attempt in 0_u32..10_000, seed in 0_u64..1_000) {
            let backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(5) };
            let delay = backoff.delay(attempt, &mut fastrand::Rng::with_seed(seed));
            proptest::prop_assert!(delay <= backoff.bound(attempt));
            proptest::prop_assert!(backoff.bound(attempt) <= backoff.max);
        }
    }

    #[test]
    fn bounds_double_up_to_the_maximum() {
        let backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(1) };
        let bounds: Vec<u128> = (1..=5).map(|attempt| backoff.bound(attempt).as_millis()).collect();
        assert_eq!(bounds, [200, 400, 800, 1000, 1000]);
    }
}
