//! A token bucket whose rate can be cut and whose filling can be held. Pure: the clock is handed in.

use std::time::Duration;

use tokio::time::Instant;

use super::{Rate, ramp::Ramp};

/// What rounding may lack of a whole token.
const NEARLY: f64 = 1e-6;

/// Tokens for calls. It starts full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    burst: f64,
    ramp: Ramp,
    tokens: f64,
    /// Until when the tokens are counted. In the future while the bucket is held: then none is given.
    counted: Instant,
}

impl Bucket {
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        let burst = f64::from(rate.burst.get());
        let ramp = Ramp::new(f64::from(rate.per_second.get()));
        Self { burst, ramp, tokens: burst, counted: now }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.count(now);
        let may = self.counted <= now && self.tokens + NEARLY >= 1.0;
        if may {
            self.tokens = (self.tokens - 1.0).max(0.0);
        }
        may
    }

    /// Whether there is a token to take.
    pub(crate) fn has_token(&self, now: Instant) -> bool {
        self.wait_for(1, now).is_zero()
    }

    /// How long until there is a token for the last of so many callers.
    pub(crate) fn wait_for(&self, callers: usize, now: Instant) -> Duration {
        let mut counted = *self;
        counted.count(now);
        let lacking = f64::from(u32::try_from(callers).unwrap_or(u32::MAX)) - counted.tokens;
        let held = counted.counted.saturating_duration_since(now);
        if lacking <= NEARLY {
            return held;
        }
        // Rounded up, so that a token is there when the wait is over.
        let seconds = self.ramp_at(now).seconds_for(lacking);
        let filling = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        held.saturating_add(filling).saturating_add(Duration::from_nanos(1))
    }

    /// The workspace says that it was too much: half the rate, and no token left.
    pub(crate) fn cut(&mut self, now: Instant) {
        self.count(now);
        self.ramp = self.ramp.cut();
        self.tokens = 0.0;
    }

    /// Gives no token before that time, and gains none.
    pub(crate) fn hold(&mut self, until: Instant, now: Instant) {
        self.count(now);
        self.counted = self.counted.max(until);
    }

    /// Calls a second, by the rate of now.
    pub(crate) fn rate(&self, now: Instant) -> f64 {
        self.ramp_at(now).rate()
    }

    /// Whether it is as it was at the start.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        let mut counted = *self;
        counted.count(now);
        counted.counted <= now && counted.tokens + NEARLY >= self.burst
    }

    fn ramp_at(&self, now: Instant) -> Ramp {
        self.ramp.after(now.saturating_duration_since(self.counted).as_secs_f64())
    }

    fn count(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.counted).as_secs_f64();
        if seconds > 0.0 {
            self.tokens = (self.tokens + self.ramp.gained(seconds)).min(self.burst);
            self.ramp = self.ramp.after(seconds);
            self.counted = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn bucket(per_second: u32, burst: u32, now: Instant) -> Bucket {
        let [per_second, burst] = [per_second, burst].map(|n| NonZeroU32::new(n).unwrap());
        Bucket::new(Rate { per_second, burst }, now)
    }

    #[test]
    fn a_burst_is_given_at_once_and_then_the_rate_rules() {
        let now = Instant::now();
        let mut bucket = bucket(10, 3, now);
        let taken: Vec<bool> = (0..4).map(|_| bucket.take(now)).collect();
        assert_eq!(taken, [true, true, true, false]);
        assert!(!bucket.take(now + Duration::from_millis(99)));
        assert!(bucket.take(now + Duration::from_millis(100)));
    }

    #[test]
    fn the_wait_told_is_the_wait_needed() {
        let now = Instant::now();
        let mut bucket = bucket(10, 1, now);
        assert!(bucket.take(now));
        let wait = bucket.wait_for(5, now);
        assert_eq!(wait.as_millis(), 500);
        let later = now + wait;
        assert!(bucket.take(later) && bucket.wait_for(1, later).as_millis() == 100);
    }

    #[test]
    fn a_held_bucket_gives_nothing_and_gains_nothing() {
        let now = Instant::now();
        let mut bucket = bucket(10, 10, now);
        bucket.cut(now);
        bucket.hold(now + Duration::from_secs(30), now);
        assert!(!bucket.take(now + Duration::from_secs(29)));
        assert!(!bucket.take(now + Duration::from_secs(30)));
        assert!(bucket.take(now + Duration::from_secs(31)));
        // A shorter hold does not end a longer one.
        bucket.hold(now + Duration::from_mins(1), now + Duration::from_secs(31));
        bucket.hold(now + Duration::from_secs(32), now + Duration::from_secs(31));
        assert_eq!(bucket.wait_for(1, now + Duration::from_secs(31)).as_secs(), 29);
    }

    proptest::proptest! {
        #[test]
        fn the_long_run_is_never_above_the_rate(
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
                proptest::prop_assert!(!bucket.wait_for(1, now).is_zero());
            }
            let most = f64::from(burst) + f64::from(per_second) * (now - start).as_secs_f64();
            proptest::prop_assert!(f64::from(taken) <= most + 0.01, "{} {}", taken, most);
        }
    }
}
