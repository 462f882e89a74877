//! How long to wait between tries. Pure, but for the random numbers that are handed in.

use std::time::Duration;

/// Exponential delays with full jitter: each is anywhere between nothing and its bound, and the bound doubles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) most: Duration,
}

impl Backoff {
    /// The bound of the wait after this try; the first try is 1.
    pub(crate) fn bound(self, attempt: u32) -> Duration {
        let factor = 2_u32.saturating_pow(attempt.saturating_sub(1).min(31));
        self.first.saturating_mul(factor).min(self.most)
    }

    /// The wait after this try.
    pub(crate) fn delay(self, attempt: u32, random: &mut fastrand::Rng) -> Duration {
        self.bound(attempt).mul_f64(random.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_delay_never_passes_its_bound_and_no_bound_the_limit(attempt in 0_u32..10_000, seed in 0_u64..1_000) {
            let backoff = Backoff { first: Duration::from_millis(200), most: Duration::from_secs(5) };
            let delay = backoff.delay(attempt, &mut fastrand::Rng::with_seed(seed));
            proptest::prop_assert!(delay <= backoff.bound(attempt));
            proptest::prop_assert!(backoff.bound(attempt) <= backoff.most);
        }
    }

    #[test]
    fn bounds_double_until_the_limit() {
        let backoff = Backoff { first: Duration::from_millis(200), most: Duration::from_secs(1) };
        let bounds: Vec<u128> = (1..=5).map(|attempt| backoff.bound(attempt).as_millis()).collect();
        assert_eq!(bounds, [200, 400, 800, 1000, 1000]);
    }
}
