//! The window and sample times of a range query. Pure; times are milliseconds since the epoch.

use std::time::{Duration, SystemTime};

use connector_core::{Error, MetricsRequest};

/// The maximum number of samples of one series: the limit of Prometheus for range queries.
const MAX_SAMPLES: u64 = 11_000;

/// The maximum number of samples in a response, machine usage not included. Flyte accepts messages
/// of 4 MiB (flyte-contract.md#connection), and a sample takes about 45 bytes.
const MAX_TOTAL: u64 = 40_000;

/// The maximum number of series in a response. Labels take space too.
const MAX_SERIES: u64 = 5_000;

/// The longest step, in milliseconds: a year.
const MAX_STEP: u64 = 366 * 24 * 3_600 * 1_000;

/// Samples of a series if no step is requested.
const DEFAULT_SAMPLES: u64 = 240;

/// Length of the window if no start is requested: what Flyte shows (flyte-contract.md#logs-and-metrics).
const DEFAULT_LOOKBACK: u64 = 48 * 3_600 * 1_000;

/// A validated window and step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    start: Option<u64>,
    end: Option<u64>,
    step: Option<u64>,
}

/// The part of a window in which the run existed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClippedWindow {
    /// Samples are at this time plus a multiple of the step.
    pub(super) anchor: u64,
    pub(super) from: u64,
    pub(super) until: u64,
    /// The requested step.
    pub(super) step: Option<u64>,
}

impl Window {
    /// Validates the window and step of a request.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` if the window ends before it starts, or the step is shorter than a millisecond or longer than a
    /// year.
    pub(super) fn new(request: &MetricsRequest) -> Result<Self, Error> {
        let (start, end) = (request.start.map(since_epoch), request.end.map(since_epoch));
        if let (Some(start), Some(end)) = (start, end)
            && start > end
        {
            let by = seconds(start - end);
            return Err(Error::invalid_request(format!("end_time is {by} s before start_time")));
        }
        let step = request.step.map(step_milliseconds).transpose()?;
        Ok(Self { start, end, step })
    }

    /// Clips the window to the lifetime of a run. Returns `None` if they do not overlap.
    pub(super) fn clip(self, run_start: u64, run_end: u64) -> Option<ClippedWindow> {
        let until = self.end.unwrap_or(run_end).min(run_end);
        let anchor =
            self.start.unwrap_or_else(|| run_start.max(until.saturating_sub(DEFAULT_LOOKBACK)));
        let from = anchor.max(run_start);
        (from <= until).then_some(ClippedWindow { anchor, from, until, step: self.step })
    }
}

impl ClippedWindow {
    /// Returns the sample times: every whole step, and the end, so that the last value is always included.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` if the response would be too large; the message has the numbers.
    pub(super) fn sample_times(&self, series: usize) -> Result<Vec<u64>, Error> {
        let series = series as u64;
        if series > MAX_SERIES {
            return Err(Error::invalid_request(format!(
                "these metrics have {series} series; the limit is {MAX_SERIES}"
            ))
            .with_hint("request fewer metrics at once"));
        }
        let max_samples = (MAX_TOTAL / series.max(1)).min(MAX_SAMPLES);
        let span = self.until - self.from;
        let step = self.step.unwrap_or_else(|| default_step(span, max_samples));
        // The first whole step within the lifetime.
        let first = self.anchor + (self.from - self.anchor).div_ceil(step) * step;
        let on_grid = if first > self.until { 0 } else { (self.until - first) / step + 1 };
        let last = self.anchor + (self.until - self.anchor) / step * step;
        let samples = on_grid + u64::from(last != self.until || on_grid == 0);
        if samples > max_samples {
            let fitting = (span / max_samples.saturating_sub(2).max(1)).div_ceil(1_000).max(1);
            return Err(Error::invalid_request(format!(
                "{} s in steps of {} s are {samples} samples for each of {series} series; the limit is {max_samples}",
                seconds(span),
                seconds(step),
            ))
            .with_hint(format!("a step of {fitting} s fits")));
        }
        let mut times: Vec<u64> = (0..on_grid).map(|n| first + n * step).collect();
        if times.last() != Some(&self.until) {
            times.push(self.until);
        }
        Ok(times)
    }
}

/// Returns the default step: whole seconds, with one sample left for the end.
fn default_step(span: u64, max_samples: u64) -> u64 {
    let samples = max_samples.min(DEFAULT_SAMPLES).saturating_sub(2).max(1);
    span.div_ceil(samples).div_ceil(1_000).max(1) * 1_000
}

/// Converts a step to milliseconds, and checks its range.
fn step_milliseconds(step: Duration) -> Result<u64, Error> {
    let (size, hint) = match u64::try_from(step.as_millis()) {
        Ok(0) => ("small", "the smallest step is 0.001 s"),
        Ok(step @ 1..=MAX_STEP) => return Ok(step),
        _ => ("large", "the largest step is a year"),
    };
    Err(Error::invalid_request(format!("a step of {} s is too {size}", step.as_secs_f64()))
        .with_hint(format!("{hint}; omit it to use one that fits the window")))
}

/// Converts a time to milliseconds since the epoch. Earlier times become 0.
pub(super) fn since_epoch(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Converts milliseconds since the epoch to a time.
pub(super) fn time(milliseconds: u64) -> SystemTime {
    let since = Duration::from_millis(milliseconds);
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn seconds(milliseconds: u64) -> f64 {
    Duration::from_millis(milliseconds).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(start: Option<u64>, end: Option<u64>, step: Option<f64>) -> MetricsRequest {
        MetricsRequest::default()
            .with_range(start.map(|start| time(start * 1_000)), end.map(|end| time(end * 1_000)))
            .with_step(step.map(Duration::from_secs_f64))
    }

    /// Returns the sample times for a run that lived from 100 s to 160 s, in seconds.
    fn sample_times(start: Option<u64>, end: Option<u64>, step: Option<f64>) -> Option<Vec<u64>> {
        let window = Window::new(&request(start, end, step)).unwrap();
        let clipped = window.clip(100_000, 160_000)?;
        Some(clipped.sample_times(1).unwrap().into_iter().map(|at| at / 1_000).collect())
    }

    #[test]
    fn samples_are_at_whole_steps_from_the_requested_start_and_at_the_end() {
        assert_eq!(sample_times(Some(95), None, Some(20.0)), Some(vec![115, 135, 155, 160]));
        assert_eq!(sample_times(Some(100), Some(140), Some(20.0)), Some(vec![100, 120, 140]));
        assert_eq!(sample_times(None, None, Some(25.0)), Some(vec![100, 125, 150, 160]));
        assert_eq!(sample_times(Some(0), Some(110), Some(3_600.0)), Some(vec![110]));
    }

    #[test]
    fn no_sample_is_outside_the_lifetime_of_the_run() {
        assert_eq!(sample_times(Some(0), Some(99), Some(1.0)), None);
        assert_eq!(sample_times(Some(161), None, Some(1.0)), None);
        assert_eq!(sample_times(Some(0), Some(100), Some(30.0)), Some(vec![100]));
        assert_eq!(sample_times(Some(160), Some(10_000), Some(30.0)), Some(vec![160]));
    }

    #[test]
    fn default_step_gives_at_most_240_samples_at_whole_seconds() {
        assert_eq!(sample_times(None, None, None).unwrap().len(), 61);
        let month = Window::new(&request(Some(0), None, None)).unwrap().clip(0, 30 * 86_400_000);
        let times = month.unwrap().sample_times(1).unwrap();
        assert!((200..=240).contains(&times.len()), "{}", times.len());
        assert!(month.unwrap().sample_times(5_000).unwrap().len() <= 10);
    }

    #[test]
    fn default_window_is_two_days() {
        let clipped = Window::new(&request(None, None, None)).unwrap().clip(0, 30 * 86_400_000);
        assert_eq!(clipped.unwrap().from, 28 * 86_400_000);
    }

    #[test]
    fn invalid_window_or_step_is_rejected_with_its_value() {
        let rejection = |start, end, step| {
            Window::new(&request(Some(start), Some(end), Some(step))).unwrap_err().to_string()
        };
        assert_eq!(rejection(10, 5, 1.0), "end_time is 5 s before start_time");
        assert_eq!(rejection(5, 10, 0.0), "a step of 0 s is too small");
        assert_eq!(rejection(5, 10, 0.0001), "a step of 0.0001 s is too small");
        assert_eq!(rejection(5, 10, 1e9), "a step of 1000000000 s is too large");
        let step = Some(Duration::MAX);
        let error = Window::new(&MetricsRequest::default().with_step(step)).unwrap_err();
        assert!(error.to_string().ends_with("too large"), "{error}");
        let day =
            Window::new(&request(None, None, Some(1.0))).unwrap().clip(0, 86_400_000).unwrap();
        let error = day.sample_times(1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "86400 s in steps of 1 s are 86401 samples for each of 1 series; the limit is 11000"
        );
        assert_eq!(error.hint(), Some("a step of 8 s fits"));
        assert!(day.sample_times(6_000).unwrap_err().to_string().contains("6000 series"));
    }

    #[test]
    fn hinted_step_fits() {
        for (span, series) in [(86_400, 1), (86_400, 4_999), (172_800, 7), (12_000, 1), (40, 5_000)]
        {
            let window = |step| Window::new(&request(None, None, Some(step))).unwrap();
            let error =
                window(0.5).clip(0, span * 1_000).unwrap().sample_times(series).unwrap_err();
            let hint = error.hint().unwrap().to_owned();
            let step: f64 = hint.split(' ').nth(3).unwrap().parse().unwrap();
            let times = window(step).clip(0, span * 1_000).unwrap().sample_times(series);
            assert!(times.is_ok(), "{span} s, {series} series: {hint}");
        }
    }

    proptest::proptest! {
        #[test]
        fn sample_times_are_sorted_within_the_lifetime_and_bounded(
            start in proptest::option::of(0_u64..10_000_000), end in proptest::option::of(0_u64..10_000_000),
            step in proptest::option::of(0_u64..1_000_000), run_start in 0_u64..10_000_000, run_end in 0_u64..10_000_000,
            series in 0_usize..6_000,
        ) {
            let request = MetricsRequest::default()
                .with_range(start.map(time), end.map(time))
                .with_step(step.map(Duration::from_millis));
            if let Some(clipped) = Window::new(&request).ok().and_then(|window| window.clip(run_start, run_end))
                && let Ok(times) = clipped.sample_times(series)
            {
                proptest::prop_assert!(times.is_sorted_by(|a, b| a < b));
                proptest::prop_assert!(times.iter().all(|at| (run_start..=run_end).contains(at)));
                proptest::prop_assert!(!times.is_empty());
                proptest::prop_assert!(times.len() * series.max(1) <= 40_000);
            }
        }
    }
}
