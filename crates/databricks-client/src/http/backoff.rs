//! Exponential backoff with full jitter. Pure: the caller passes the random number generator.

use std::time::Duration;

/// Delays between zero and a bound that doubles with each attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backoff {
    /// The bound of the first delay.
    pub(super) first: Duration,
    /// The bound of every delay.
    pub(super) max: Duration,
}

impl Backoff {
    /// Returns the bound of the delay after this attempt. The first attempt is 1.
    pub(super) fn bound(self, attempt: u32) -> Duration {
        let factor = 2_u32.saturating_pow(attempt.saturating_sub(1).min(31));
        self.first.saturating_mul(factor).min(self.max)
    }

    /// Returns the delay after this attempt.
    pub(super) fn delay(self, attempt: u32, random: &mut fastrand::Rng) -> Duration {
        self.bound(attempt).mul_f64(random.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
