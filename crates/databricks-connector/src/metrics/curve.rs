//! A value over time, as far as two or three figures tell it. Pure; times are milliseconds since the epoch.

use std::{collections::BTreeMap, time::Duration};

use connector_core::{Sample, Series};

use super::window;

/// How a value goes on.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Curve {
    /// Seconds that pass from `from` on. At `to`, if that is known, they were `total` milliseconds, and stay.
    Passing { from: u64, end: Option<(u64, u64)> },
    /// A value from each of these times on, in their order.
    Steps(Vec<(u64, f64)>),
}

impl Curve {
    /// The value then; none before its beginning.
    fn at(&self, at: u64) -> Option<f64> {
        match self {
            Self::Passing { from, end } => {
                let passed = at.checked_sub(*from)?;
                let milliseconds = match *end {
                    Some((to, total)) if at >= to => total,
                    Some((_, total)) => passed.min(total),
                    None => passed,
                };
                Some(Duration::from_millis(milliseconds).as_secs_f64())
            }
            Self::Steps(steps) => {
                let later = steps.partition_point(|(since, _)| *since <= at);
                Some(steps.get(later.checked_sub(1)?)?.1)
            }
        }
    }
}

/// A series before it is sampled.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) curve: Curve,
}

impl Told {
    pub(super) fn new(labels: &[(&str, &str)], curve: Curve) -> Self {
        let labels =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { labels, curve }
    }

    /// The samples at these moments; none when it begins after all of them.
    pub(super) fn sampled(self, moments: &[u64]) -> Option<Series> {
        let samples: Vec<Sample> = moments
            .iter()
            .filter_map(|at| Some(Sample { at: window::time(*at), value: self.curve.at(*at)? }))
            .collect();
        (!samples.is_empty()).then_some(Series { labels: self.labels, samples })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_until_the_end_and_is_what_was_measured_from_there_on() {
        let curve = Curve::Passing { from: 1_000, end: Some((5_000, 3_500)) };
        let values = [999, 1_000, 3_000, 4_900, 5_000, 9_000].map(|at| curve.at(at));
        assert_eq!(values, [None, Some(0.0), Some(2.0), Some(3.5), Some(3.5), Some(3.5)]);
        assert_eq!(Curve::Passing { from: 0, end: None }.at(7_250), Some(7.25));
    }

    #[test]
    fn a_step_holds_until_the_next_one() {
        let curve = Curve::Steps(vec![(10, 1.0), (20, 4.0), (20, 2.0)]);
        assert_eq!(
            [9, 10, 19, 20, 99].map(|at| curve.at(at)),
            [None, Some(1.0), Some(1.0), Some(2.0), Some(2.0)]
        );
        assert_eq!(Curve::Steps(Vec::new()).at(1), None);
    }
}
