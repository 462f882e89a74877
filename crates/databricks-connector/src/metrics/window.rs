//! Which moments a range query asks for. Pure; all times are milliseconds since the epoch, which is what the API tells.

use std::time::{Duration, SystemTime};

use connector_core::{Error, MetricsRequest};

/// The most samples of one series; Prometheus has the same bound for a range query.
const MAX_SAMPLES: u64 = 11_000;

/// The most samples of the run's own series in one answer: a caller takes 4 MiB (FC §1.8), a sample is about 45 bytes, and
/// those of the machines come on top.
const MAX_TOTAL: u64 = 40_000;

/// The most series of one answer, for their labels count too.
const MAX_SERIES: u64 = 5_000;

/// The longest step, in milliseconds: a year.
const LONGEST_STEP: u64 = 366 * 24 * 3_600 * 1_000;

/// Samples of a series when no step is asked for.
const USUAL_SAMPLES: u64 = 240;

/// The most that is looked back without being asked: what Flyte shows (FC §1.8).
const LOOK_BACK: u64 = 48 * 3_600 * 1_000;

/// What is asked for, proven sensible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    start: Option<u64>,
    end: Option<u64>,
    step: Option<u64>,
}

/// The part of a window in which there can be something to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clipped {
    /// Samples lie at this time and at whole steps behind it.
    pub(super) anchor: u64,
    pub(super) from: u64,
    pub(super) until: u64,
    /// What was asked for.
    pub(super) step: Option<u64>,
}

impl Window {
    /// # Errors
    ///
    /// `InvalidRequest` for a window that ends before it starts, and for a step of less than a millisecond or more than a
    /// year.
    pub(super) fn new(request: &MetricsRequest) -> Result<Self, Error> {
        let (start, end) = (request.start.map(since_epoch), request.end.map(since_epoch));
        if let (Some(start), Some(end)) = (start, end)
            && start > end
        {
            let by = seconds(start - end);
            return Err(Error::invalid_request(format!("end_time lies {by} s before start_time")));
        }
        let step = request.step.map(milliseconds).transpose()?;
        Ok(Self { start, end, step })
    }

    /// What of it lies in a life; none when nothing does.
    pub(super) fn clip(self, born: u64, gone: u64) -> Option<Clipped> {
        let until = self.end.unwrap_or(gone).min(gone);
        let anchor = self.start.unwrap_or_else(|| born.max(until.saturating_sub(LOOK_BACK)));
        let from = anchor.max(born);
        (from <= until).then_some(Clipped { anchor, from, until, step: self.step })
    }
}

impl Clipped {
    /// The moments of the samples: every whole step, and the end, so that what was last is never left out.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` when that would be more than an answer can hold, with how many.
    pub(super) fn moments(&self, series: usize) -> Result<Vec<u64>, Error> {
        let series = series as u64;
        if series > MAX_SERIES {
            return Err(Error::invalid_request(format!(
                "these metrics have {series} series; one answer holds {MAX_SERIES}"
            ))
            .with_hint("ask for fewer metrics at once"));
        }
        let room = (MAX_TOTAL / series.max(1)).min(MAX_SAMPLES);
        let span = self.until - self.from;
        let step = self.step.unwrap_or_else(|| usual_step(span, room));
        // The first whole step that is not before the life.
        let first = self.anchor + (self.from - self.anchor).div_ceil(step) * step;
        let on_grid = if first > self.until { 0 } else { (self.until - first) / step + 1 };
        let last = self.anchor + (self.until - self.anchor) / step * step;
        let samples = on_grid + u64::from(last != self.until || on_grid == 0);
        if samples > room {
            let fits = (span / room.saturating_sub(2).max(1)).div_ceil(1_000).max(1);
            return Err(Error::invalid_request(format!(
                "{} s in steps of {} s are {samples} samples for each of {series} series; an answer holds {room}",
                seconds(span),
                seconds(step),
            ))
            .with_hint(format!("a step of {fits} s fits")));
        }
        let mut moments: Vec<u64> = (0..on_grid).map(|place| first + place * step).collect();
        if moments.last() != Some(&self.until) {
            moments.push(self.until);
        }
        Ok(moments)
    }
}

/// A whole number of seconds that leaves room for the end.
fn usual_step(span: u64, room: u64) -> u64 {
    let samples = room.min(USUAL_SAMPLES).saturating_sub(2).max(1);
    span.div_ceil(samples).div_ceil(1_000).max(1) * 1_000
}

/// A step, proven sensible.
fn milliseconds(step: Duration) -> Result<u64, Error> {
    let (size, hint) = match u64::try_from(step.as_millis()) {
        Ok(0) => ("small", "the smallest step is 0.001 s"),
        Ok(step @ 1..=LONGEST_STEP) => return Ok(step),
        _ => ("large", "the largest step is a year"),
    };
    Err(Error::invalid_request(format!("a step of {} s is too {size}", step.as_secs_f64()))
        .with_hint(format!("{hint}; leave it out for one that fits the window")))
}

/// Milliseconds since the epoch; what lies before it is its beginning.
pub(super) fn since_epoch(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The time of that many milliseconds since the epoch.
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

    fn asked(start: Option<u64>, end: Option<u64>, step: Option<f64>) -> MetricsRequest {
        MetricsRequest::default()
            .with_range(start.map(|start| time(start * 1_000)), end.map(|end| time(end * 1_000)))
            .with_step(step.map(Duration::from_secs_f64))
    }

    /// The moments of what is asked of a life from 100 s to 160 s, in seconds.
    fn moments(start: Option<u64>, end: Option<u64>, step: Option<f64>) -> Option<Vec<u64>> {
        let window = Window::new(&asked(start, end, step)).unwrap();
        let clipped = window.clip(100_000, 160_000)?;
        Some(clipped.moments(1).unwrap().into_iter().map(|at| at / 1_000).collect())
    }

    #[test]
    fn samples_lie_at_whole_steps_of_the_asked_start_and_at_the_end() {
        assert_eq!(moments(Some(95), None, Some(20.0)), Some(vec![115, 135, 155, 160]));
        assert_eq!(moments(Some(100), Some(140), Some(20.0)), Some(vec![100, 120, 140]));
        assert_eq!(moments(None, None, Some(25.0)), Some(vec![100, 125, 150, 160]));
        assert_eq!(moments(Some(0), Some(110), Some(3_600.0)), Some(vec![110]));
    }

    #[test]
    fn nothing_lies_before_the_life_nor_behind_it() {
        assert_eq!(moments(Some(0), Some(99), Some(1.0)), None);
        assert_eq!(moments(Some(161), None, Some(1.0)), None);
        assert_eq!(moments(Some(0), Some(100), Some(30.0)), Some(vec![100]));
        assert_eq!(moments(Some(160), Some(10_000), Some(30.0)), Some(vec![160]));
    }

    #[test]
    fn without_a_step_there_are_some_hundred_samples_at_whole_seconds() {
        assert_eq!(moments(None, None, None).unwrap().len(), 61);
        let month = Window::new(&asked(Some(0), None, None)).unwrap().clip(0, 30 * 86_400_000);
        let moments = month.unwrap().moments(1).unwrap();
        assert!((200..=240).contains(&moments.len()), "{}", moments.len());
        assert!(month.unwrap().moments(5_000).unwrap().len() <= 10);
    }

    #[test]
    fn without_a_start_two_days_are_told_at_most() {
        let clipped = Window::new(&asked(None, None, None)).unwrap().clip(0, 30 * 86_400_000);
        assert_eq!(clipped.unwrap().from, 28 * 86_400_000);
    }

    #[test]
    fn an_absurd_window_or_step_is_refused_with_the_figure() {
        let refused = |start, end, step| {
            Window::new(&asked(Some(start), Some(end), Some(step))).unwrap_err().to_string()
        };
        assert_eq!(refused(10, 5, 1.0), "end_time lies 5 s before start_time");
        assert_eq!(refused(5, 10, 0.0), "a step of 0 s is too small");
        assert_eq!(refused(5, 10, 0.0001), "a step of 0.0001 s is too small");
        assert_eq!(refused(5, 10, 1e9), "a step of 1000000000 s is too large");
        let step = Some(Duration::MAX);
        let error = Window::new(&MetricsRequest::default().with_step(step)).unwrap_err();
        assert!(error.to_string().ends_with("too large"), "{error}");
        let day = Window::new(&asked(None, None, Some(1.0))).unwrap().clip(0, 86_400_000).unwrap();
        let error = day.moments(1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "86400 s in steps of 1 s are 86401 samples for each of 1 series; an answer holds 11000"
        );
        assert_eq!(error.hint(), Some("a step of 8 s fits"));
        assert!(day.moments(6_000).unwrap_err().to_string().contains("6000 series"));
    }

    #[test]
    fn the_step_that_is_said_to_fit_fits() {
        for (span, series) in [(86_400, 1), (86_400, 4_999), (172_800, 7), (12_000, 1), (40, 5_000)]
        {
            let asked_for = |step| Window::new(&asked(None, None, Some(step))).unwrap();
            let refused =
                asked_for(0.5).clip(0, span * 1_000).unwrap().moments(series).unwrap_err();
            let hint = refused.hint().unwrap().to_owned();
            let fits: f64 = hint.split(' ').nth(3).unwrap().parse().unwrap();
            let moments = asked_for(fits).clip(0, span * 1_000).unwrap().moments(series);
            assert!(moments.is_ok(), "{span} s, {series} series: {hint}");
        }
    }

    proptest::proptest! {
        #[test]
        fn moments_are_in_order_within_the_life_and_never_too_many(
            start in proptest::option::of(0_u64..10_000_000), end in proptest::option::of(0_u64..10_000_000),
            step in proptest::option::of(0_u64..1_000_000), born in 0_u64..10_000_000, gone in 0_u64..10_000_000,
            series in 0_usize..6_000,
        ) {
            let request = MetricsRequest::default()
                .with_range(start.map(time), end.map(time))
                .with_step(step.map(Duration::from_millis));
            if let Some(clipped) = Window::new(&request).ok().and_then(|window| window.clip(born, gone))
                && let Ok(moments) = clipped.moments(series)
            {
                proptest::prop_assert!(moments.is_sorted_by(|a, b| a < b));
                proptest::prop_assert!(moments.iter().all(|at| (born..=gone).contains(at)));
                proptest::prop_assert!(!moments.is_empty());
                proptest::prop_assert!(moments.len() * series.max(1) <= 40_000);
            }
        }
    }
}
