//! Series as functions of time, before sampling. Pure; times are milliseconds since the epoch.

use std::{collections::BTreeMap, time::Duration};

use connector_core::{Sample, Series};

use super::window;

/// A value as a function of time.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Curve {
    /// Seconds elapsed since `from`. From `end.0` on, if known, the value stays at the measured `end.1` milliseconds.
    Elapsed { from: u64, end: Option<(u64, u64)> },
    /// A step function: each value holds from its time on. Sorted by time.
    Steps(Vec<(u64, f64)>),
}

impl Curve {
    /// Returns the value at a time. Returns `None` before the curve begins.
    fn at(&self, at: u64) -> Option<f64> {
        match self {
            Self::Elapsed { from, end } => {
                let elapsed = at.checked_sub(*from)?;
                let milliseconds = match *end {
                    Some((to, total)) if at >= to => total,
                    Some((_, total)) => elapsed.min(total),
                    None => elapsed,
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

/// A labelled curve.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct UnsampledSeries {
    labels: BTreeMap<String, String>,
    curve: Curve,
}

impl UnsampledSeries {
    pub(super) fn new(labels: &[(&str, &str)], curve: Curve) -> Self {
        let labels =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { labels, curve }
    }

    /// Samples the curve at these times. Returns `None` if it begins after all of them.
    pub(super) fn sample(self, times: &[u64]) -> Option<Series> {
        let samples: Vec<Sample> = times
            .iter()
            .filter_map(|at| Some(Sample { at: window::time(*at), value: self.curve.at(*at)? }))
            .collect();
        (!samples.is_empty()).then_some(Series { labels: self.labels, samples })
    }
}

/// CPU and memory usage of machines.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct MachineUsage {
    /// Busy cores.
    pub(super) cpu: Vec<Series>,
    /// Bytes in use.
    pub(super) memory: Vec<Series>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elapsed_time_grows_until_the_end_and_stays_at_the_measured_total() {
        let curve = Curve::Elapsed { from: 1_000, end: Some((5_000, 3_500)) };
        let values = [999, 1_000, 3_000, 4_900, 5_000, 9_000].map(|at| curve.at(at));
        assert_eq!(values, [None, Some(0.0), Some(2.0), Some(3.5), Some(3.5), Some(3.5)]);
        assert_eq!(Curve::Elapsed { from: 0, end: None }.at(7_250), Some(7.25));
    }

    #[test]
    fn step_holds_until_the_next_one() {
        let curve = Curve::Steps(vec![(10, 1.0), (20, 4.0), (20, 2.0)]);
        assert_eq!(
            [9, 10, 19, 20, 99].map(|at| curve.at(at)),
            [None, Some(1.0), Some(1.0), Some(2.0), Some(2.0)]
        );
        assert_eq!(Curve::Steps(Vec::new()).at(1), None);
    }
}
