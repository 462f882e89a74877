//! A rate that was cut and grows back. Pure arithmetic, in seconds.

/// What a cut leaves of the rate.
const CUT: f64 = 0.5;

/// The least that cuts leave, as a share of the full rate.
const LEAST: f64 = 0.05;

/// What comes back each second, as a share of the full rate.
const GROWTH: f64 = 0.05;

/// A rate as a share of its full value: cut by half, and grown back in a straight line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ramp {
    full: f64,
    share: f64,
}

impl Ramp {
    /// The full rate, per second.
    pub(crate) fn new(full: f64) -> Self {
        Self { full, share: 1.0 }
    }

    /// The rate now, per second.
    pub(crate) fn rate(self) -> f64 {
        self.full * self.share
    }

    /// Half of the rate, but never less than the least.
    pub(crate) fn cut(self) -> Self {
        Self { share: (self.share * CUT).max(LEAST), ..self }
    }

    /// The rate after some seconds.
    pub(crate) fn after(self, seconds: f64) -> Self {
        Self { share: (self.share + GROWTH * seconds).min(1.0), ..self }
    }

    /// How many calls the next seconds give.
    pub(crate) fn gained(self, seconds: f64) -> f64 {
        let growing = self.seconds_of_growth();
        if seconds <= growing {
            self.while_growing(seconds)
        } else {
            self.while_growing(growing) + self.full * (seconds - growing)
        }
    }

    /// In how many seconds that many calls are gained.
    pub(crate) fn seconds_for(self, calls: f64) -> f64 {
        if calls <= 0.0 {
            return 0.0;
        }
        let growing = self.seconds_of_growth();
        let gained = self.while_growing(growing);
        if calls >= gained {
            return growing + (calls - gained) / self.full;
        }
        // calls = rate * s + slope / 2 * s²
        let (rate, slope) = (self.rate(), self.full * GROWTH);
        ((rate * rate + 2.0 * slope * calls).sqrt() - rate) / slope
    }

    fn seconds_of_growth(self) -> f64 {
        (1.0 - self.share) / GROWTH
    }

    fn while_growing(self, seconds: f64) -> f64 {
        self.full * (self.share * seconds + GROWTH * seconds * seconds / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_halves_the_rate_and_ten_seconds_bring_it_back() {
        let cut = Ramp::new(40.0).cut();
        assert!((cut.rate() - 20.0).abs() < 1e-9);
        assert!((cut.after(5.0).rate() - 30.0).abs() < 1e-9);
        assert!((cut.after(10.0).rate() - 40.0).abs() < 1e-9);
        assert!((cut.after(1_000.0).rate() - 40.0).abs() < 1e-9);
    }

    #[test]
    fn cuts_leave_a_rest() {
        let mut ramp = Ramp::new(40.0);
        for _ in 0..100 {
            ramp = ramp.cut();
        }
        assert!((ramp.rate() - 2.0).abs() < 1e-9);
    }

    proptest::proptest! {
        #[test]
        fn the_time_for_some_calls_gains_them(full in 1.0_f64..1e4, cuts in 0_usize..8, calls in 0.0_f64..1e5) {
            let ramp = (0..cuts).fold(Ramp::new(full), |ramp, _| ramp.cut());
            let gained = ramp.gained(ramp.seconds_for(calls));
            proptest::prop_assert!((gained - calls).abs() <= 1e-6 * calls.max(1.0), "{} {}", gained, calls);
        }

        #[test]
        fn a_pause_in_the_middle_changes_nothing(cuts in 0_usize..8, first in 0.0_f64..30.0, second in 0.0_f64..30.0) {
            let ramp = (0..cuts).fold(Ramp::new(10.0), |ramp, _| ramp.cut());
            let in_parts = ramp.gained(first) + ramp.after(first).gained(second);
            proptest::prop_assert!((in_parts - ramp.gained(first + second)).abs() < 1e-6);
        }
    }
}
