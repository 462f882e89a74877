//! A token bucket with an adaptive rate. Pure: the caller passes the time.

use std::time::Duration;

use tokio::time::Instant;

use super::Rate;

/// The factor by which [`TokenBucket::cut`] reduces the rate.
const CUT: f64 = 0.5;

/// The lower bound of the rate, as a share of the configured rate.
const MIN_SHARE: f64 = 0.05;

/// How much the rate recovers per second, as a share of the configured rate.
const RECOVERY: f64 = 0.05;

/// Tolerance for rounding errors, in tokens.
const EPSILON: f64 = 1e-6;

/// Starts full.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenBucket {
    /// The configured rate, in tokens per second.
    full_rate: f64,
    /// The current rate, as a share of `full_rate`.
    share: f64,
    burst: f64,
    tokens: f64,
    /// When the bucket was last refilled. In the future while the bucket is on hold.
    refilled_at: Instant,
}

impl TokenBucket {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        let burst = f64::from(rate.burst.get());
        let full_rate = f64::from(rate.per_second.get());
        Self { full_rate, share: 1.0, burst, tokens: burst, refilled_at: now }
    }

    /// Takes a token. Returns false if none is available.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        *self = self.refilled(now);
        let is_available = self.wait(1, now).is_zero();
        if is_available {
            self.tokens = (self.tokens - 1.0).max(0.0);
        }
        is_available
    }

    /// Returns the time until this number of tokens is available.
    pub(super) fn wait(&self, tokens: usize, now: Instant) -> Duration {
        let bucket = self.refilled(now);
        let hold = bucket.refilled_at.saturating_duration_since(now);
        let missing = f64::from(u32::try_from(tokens).unwrap_or(u32::MAX)) - bucket.tokens;
        if missing <= EPSILON {
            return hold;
        }
        let refill = Duration::try_from_secs_f64(bucket.seconds_until(missing));
        // Rounded up, so that the token is available after the wait.
        hold.saturating_add(refill.unwrap_or(Duration::MAX)).saturating_add(Duration::from_nanos(1))
    }

    /// Halves the rate and empties the bucket.
    pub(super) fn cut(&mut self, now: Instant) {
        *self = self.refilled(now);
        self.share = (self.share * CUT).max(MIN_SHARE);
        self.tokens = 0.0;
    }

    /// Stops giving and gaining tokens until this time. A shorter hold does not shorten a longer one.
    pub(super) fn hold(&mut self, until: Instant, now: Instant) {
        *self = self.refilled(now);
        self.refilled_at = self.refilled_at.max(until);
    }

    /// Returns the current rate, in tokens per second.
    pub(super) fn rate(&self, now: Instant) -> f64 {
        let bucket = self.refilled(now);
        bucket.full_rate * bucket.share
    }

    pub(super) fn is_full(&self, now: Instant) -> bool {
        let bucket = self.refilled(now);
        bucket.refilled_at <= now && bucket.tokens + EPSILON >= bucket.burst
    }

    fn refilled(&self, now: Instant) -> Self {
        let seconds = now.saturating_duration_since(self.refilled_at).as_secs_f64();
        Self {
            tokens: (self.tokens + self.gain(seconds)).min(self.burst),
            share: (self.share + RECOVERY * seconds).min(1.0),
            refilled_at: self.refilled_at.max(now),
            ..*self
        }
    }

    /// Returns the tokens gained in this time: a rate that rises linearly, then stays at `full_rate`.
    fn gain(&self, seconds: f64) -> f64 {
        let rising = seconds.min((1.0 - self.share) / RECOVERY);
        let share_seconds = self.share * rising + RECOVERY * rising * rising / 2.0;
        self.full_rate * (share_seconds + seconds - rising)
    }

    /// Returns the time in which this number of tokens is gained. The inverse of [`gain`](Self::gain).
    fn seconds_until(&self, tokens: f64) -> f64 {
        let rising = (1.0 - self.share) / RECOVERY;
        let beyond = tokens - self.gain(rising);
        if beyond >= 0.0 {
            return rising + beyond / self.full_rate;
        }
        // Solves tokens = rate * s + slope / 2 * s^2 for s.
        let (rate, slope) = (self.full_rate * self.share, self.full_rate * RECOVERY);
        ((rate * rate + 2.0 * slope * tokens).sqrt() - rate) / slope
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn bucket(per_second: u32, burst: u32, now: Instant) -> TokenBucket {
        let [per_second, burst] = [per_second, burst].map(|n| NonZeroU32::new(n).unwrap());
        TokenBucket::new(Rate { per_second, burst }, now)
    }

    #[test]
    fn burst_is_available_immediately_and_then_the_rate_applies() {
        let now = Instant::now();
        let mut bucket = bucket(10, 3, now);
        let taken: Vec<bool> = (0..4).map(|_| bucket.take(now)).collect();
        assert_eq!(taken, [true, true, true, false]);
        assert!(!bucket.take(now + Duration::from_millis(99)));
        assert!(bucket.take(now + Duration::from_millis(100)));
    }

    #[test]
    fn token_is_available_after_the_returned_wait() {
        let now = Instant::now();
        let mut bucket = bucket(10, 1, now);
        assert!(bucket.take(now));
        let wait = bucket.wait(5, now);
        assert_eq!(wait.as_millis(), 500);
        let later = now + wait;
        assert!(bucket.take(later) && bucket.wait(1, later).as_millis() == 100);
    }

    #[test]
    fn bucket_on_hold_gives_and_gains_nothing() {
        let now = Instant::now();
        let mut bucket = bucket(10, 10, now);
        bucket.cut(now);
        bucket.hold(now + Duration::from_secs(30), now);
        assert!(!bucket.take(now + Duration::from_secs(29)));
        assert!(!bucket.take(now + Duration::from_secs(30)));
        assert!(bucket.take(now + Duration::from_secs(31)));
        bucket.hold(now + Duration::from_mins(1), now + Duration::from_secs(31));
        bucket.hold(now + Duration::from_secs(32), now + Duration::from_secs(31));
        assert_eq!(bucket.wait(1, now + Duration::from_secs(31)).as_secs(), 29);
    }

    #[test]
    fn cut_halves_the_rate_which_recovers_in_ten_seconds() {
        let now = Instant::now();
        let mut bucket = bucket(40, 1, now);
        bucket.cut(now);
        for (seconds, rate) in [(0, 20.0), (5, 30.0), (10, 40.0), (1_000, 40.0)] {
            let actual = bucket.rate(now + Duration::from_secs(seconds));
            assert!((actual - rate).abs() < 1e-9, "{seconds} s: {actual}");
        }
    }

    #[test]
    fn repeated_cuts_leave_a_minimum_rate() {
        let now = Instant::now();
        let mut bucket = bucket(40, 1, now);
        (0..100).for_each(|_| bucket.cut(now));
        assert!((bucket.rate(now) - 2.0).abs() < 1e-9);
    }

    fn cut_bucket(per_second: u32, cuts: usize) -> TokenBucket {
        let now = Instant::now();
        let mut bucket = bucket(per_second, 1, now);
        (0..cuts).for_each(|_| bucket.cut(now));
        bucket
    }

    proptest::proptest! {
        #[test]
        fn gain_is_the_inverse_of_seconds_until(per_second in 1_u32..10_000, cuts in 0_usize..8, tokens in 0.0_f64..1e5) {
            let bucket = cut_bucket(per_second, cuts);
            let gained = bucket.gain(bucket.seconds_until(tokens));
            proptest::prop_assert!((gained - tokens).abs() <= 1e-6 * tokens.max(1.0), "{} {}", gained, tokens);
        }

        #[test]
        fn gain_does_not_depend_on_the_number_of_refills(cuts in 0_usize..8, first in 0.0_f64..30.0, second in 0.0_f64..30.0) {
            let bucket = cut_bucket(10, cuts);
            let later = TokenBucket { share: (bucket.share + RECOVERY * first).min(1.0), ..bucket };
            let in_parts = bucket.gain(first) + later.gain(second);
            proptest::prop_assert!((in_parts - bucket.gain(first + second)).abs() < 1e-6);
        }

        #[test]
        fn average_rate_never_exceeds_the_configured_rate(
            per_second in 1_u32..200, burst in 1_u32..50,
            steps in proptest::collection::vec((0_u64..500, 0_u8..20), 1..400),
        ) {
            let start = Instant::now();
            let (mut bucket, mut now, mut taken) = (bucket(per_second, burst, start), start, 0_u32);
            for (millis, event) in steps {
                now += Duration::from_millis(millis);
                if event == 0 {
                    bucket.cut(now);
                }
                while bucket.take(now) {
                    taken += 1;
                }
                proptest::prop_assert!(!bucket.wait(1, now).is_zero());
            }
            let most = f64::from(burst) + f64::from(per_second) * (now - start).as_secs_f64();
            proptest::prop_assert!(f64::from(taken) <= most + 0.01, "{} {}", taken, most);
        }
    }
}
