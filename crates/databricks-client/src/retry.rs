//! Whether to try again, and when. Pure: the loop that waits is the transport's.

use std::time::Duration;

use crate::backoff::Backoff;

/// How much of the time that is left a try may take, when another may follow.
const SHARE_OF_A_TRY: f64 = 0.6;

/// How much of the time that is left a call may wait for its turn: one that is sent at the last moment is cut off, and
/// nobody knows what came of it.
const SHARE_OF_A_WAIT: f64 = 0.6;

/// A try is given that much, if it is there: a shorter one would fail at a workspace that is merely slow.
const LEAST_TRY: Duration = Duration::from_secs(2);

/// Bounds of trying again. The caller's deadline is one more, whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries at most, the first one included.
    pub max_attempts: u32,
    /// From the first try to the last at most.
    pub max_elapsed: Duration,
    /// The bound of the first wait; it doubles with each try.
    pub first_delay: Duration,
    /// The bound of every wait.
    pub max_delay: Duration,
}

impl Default for RetryPolicy {
    /// Six tries within 30 s, with waits of up to 200 ms, 400 ms and so on up to 5 s.
    fn default() -> Self {
        Self {
            max_attempts: 6,
            max_elapsed: Duration::from_secs(30),
            first_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(5),
        }
    }
}

/// What came of a try that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Whether it passes by itself.
    pub(crate) is_transient: bool,
    /// How long the service asks to wait.
    pub(crate) retry_after: Option<Duration>,
}

/// Where the call stands after a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent {
    /// Tries so far.
    pub(crate) attempts: u32,
    /// Since the first one began.
    pub(crate) elapsed: Duration,
    /// Until the caller's deadline.
    pub(crate) left: Duration,
}

impl RetryPolicy {
    /// How long to wait before the next try; none when there is to be none.
    ///
    /// A call that is not safe to repeat is never tried again: its first try may have had its effect. A wait that would
    /// pass a bound is not begun.
    pub(crate) fn next(
        &self,
        failure: Failure,
        is_safe: bool,
        spent: Spent,
        random: &mut fastrand::Rng,
    ) -> Option<Duration> {
        if !failure.is_transient || !is_safe || spent.attempts >= self.max_attempts {
            return None;
        }
        let backoff = Backoff { first: self.first_delay, most: self.max_delay };
        // The service knows better than we do, but its callers should not all come back at the same moment.
        let delay = match failure.retry_after {
            Some(asked) => asked.saturating_add(backoff.delay(1, random)),
            None => backoff.delay(spent.attempts, random),
        };
        let fits = spent.elapsed.saturating_add(delay) <= self.max_elapsed && delay < spent.left;
        fits.then_some(delay)
    }

    /// How long a try may take of the time that is left. As long as another try may follow, it leaves some of the time
    /// for that one: without this a request that is lost on its way would use up all of the caller's patience.
    pub(crate) fn timeout(
        &self,
        request_timeout: Duration,
        is_safe: bool,
        attempt: u32,
        left: Duration,
    ) -> Duration {
        let may_follow = is_safe && attempt < self.max_attempts;
        let share = if may_follow { left.mul_f64(SHARE_OF_A_TRY).max(LEAST_TRY) } else { left };
        share.min(left).min(request_timeout)
    }
}

/// How long a call may wait for its turn in the budget, of the time that is left.
pub(crate) fn wait(left: Duration) -> Duration {
    left.mul_f64(SHARE_OF_A_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSIENT: Failure = Failure { is_transient: true, retry_after: None };

    const LONG: u64 = 3_600;

    fn spent(attempts: u32, elapsed: u64, left: u64) -> Spent {
        Spent { attempts, elapsed: Duration::from_secs(elapsed), left: Duration::from_secs(left) }
    }

    fn next(failure: Failure, is_safe: bool, spent: Spent) -> Option<Duration> {
        RetryPolicy::default().next(failure, is_safe, spent, &mut fastrand::Rng::with_seed(7))
    }

    #[test]
    fn only_what_passes_and_is_safe_is_tried_again() {
        assert!(next(TRANSIENT, true, spent(1, 0, LONG)).is_some());
        assert_eq!(next(TRANSIENT, false, spent(1, 0, LONG)), None);
        assert_eq!(
            next(Failure { is_transient: false, retry_after: None }, true, spent(1, 0, LONG)),
            None
        );
    }

    #[test]
    fn tries_are_bounded_in_number_and_in_time() {
        assert!(next(TRANSIENT, true, spent(5, 0, LONG)).is_some());
        assert_eq!(next(TRANSIENT, true, spent(6, 0, LONG)), None);
        assert_eq!(next(TRANSIENT, true, spent(1, 31, LONG)), None);
    }

    #[test]
    fn the_service_is_given_the_time_it_asks_for() {
        let asked = Failure { is_transient: true, retry_after: Some(Duration::from_secs(3)) };
        let delay = next(asked, true, spent(1, 0, LONG)).unwrap();
        assert!((3.0..=3.2).contains(&delay.as_secs_f64()), "{delay:?}");
    }

    #[test]
    fn a_wait_that_would_pass_the_callers_deadline_is_not_begun() {
        let asked = Failure { is_transient: true, retry_after: Some(Duration::from_secs(3)) };
        assert_eq!(next(asked, true, spent(1, 0, 3)), None);
        assert!(next(asked, true, spent(1, 0, 4)).is_some());
    }

    #[test]
    fn a_try_leaves_time_for_the_next_one() {
        let policy = RetryPolicy::default();
        let timeout = |is_safe, attempt, left| {
            policy.timeout(Duration::from_mins(1), is_safe, attempt, Duration::from_millis(left))
        };
        assert_eq!(timeout(true, 1, 9_000), Duration::from_millis(5_400));
        assert_eq!(timeout(true, 2, 3_000), Duration::from_secs(2));
        assert_eq!(timeout(true, 2, 1_500), Duration::from_millis(1_500));
        // Nothing follows on the last try, nor on what is sent once.
        assert_eq!(timeout(true, 6, 9_000), Duration::from_secs(9));
        assert_eq!(timeout(false, 1, 9_000), Duration::from_secs(9));
        assert_eq!(timeout(false, 1, 600_000), Duration::from_mins(1));
    }

    proptest::proptest! {
        #[test]
        fn no_wait_ever_passes_a_bound(
            attempts in 1_u32..20, elapsed in 0_u64..60, left in 0_u64..60, asked in proptest::option::of(0_u64..600), seed in 0_u64..100,
        ) {
            let policy = RetryPolicy::default();
            let failure = Failure { is_transient: true, retry_after: asked.map(Duration::from_secs) };
            let spent = spent(attempts, elapsed, left);
            if let Some(delay) = policy.next(failure, true, spent, &mut fastrand::Rng::with_seed(seed)) {
                proptest::prop_assert!(attempts < policy.max_attempts);
                proptest::prop_assert!(spent.elapsed + delay <= policy.max_elapsed);
                proptest::prop_assert!(delay < Duration::from_secs(left));
            }
        }
    }
}
