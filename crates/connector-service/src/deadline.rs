//! How long a call may take: the `grpc-timeout` header, less what it takes to answer.

use std::time::{Duration, Instant};

use http::HeaderMap;

/// The header with the caller's patience.
const HEADER: &str = "grpc-timeout";
/// No caller waits longer than this; a larger value is taken for it.
const LONGEST: Duration = Duration::from_hours(24);

/// When a call must be done. tonic answers an expired call with CANCELLED and drops its handler, so the server
/// answers before, and the connector is told a time that is earlier still (DESIGN §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    /// When the connector should be done.
    pub(crate) connector: Instant,
    /// When the server answers in its stead.
    pub(crate) answer: Instant,
}

impl Deadline {
    /// The deadline of a call that came at `now`.
    pub(crate) fn of(headers: &HeaderMap, now: Instant, default_timeout: Duration) -> Self {
        let header = headers.get(HEADER).and_then(|value| value.to_str().ok());
        Self::after(header.and_then(parse).unwrap_or(default_timeout), now)
    }

    fn after(timeout: Duration, now: Instant) -> Self {
        let timeout = timeout.min(LONGEST);
        let margin = margin(timeout);
        Self {
            connector: now + timeout.saturating_sub(margin),
            answer: now + timeout.saturating_sub(margin / 2),
        }
    }
}

/// A tenth of the time, at least 200 ms and at most 1 s, but never more than half of what there is.
fn margin(timeout: Duration) -> Duration {
    (timeout / 10).clamp(Duration::from_millis(200), Duration::from_secs(1)).min(timeout / 2)
}

/// The header's value: one to eight digits and a unit. None for anything else.
fn parse(value: &str) -> Option<Duration> {
    let unit = value.chars().last()?;
    let digits = value.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_hours(count),
        'M' => Duration::from_mins(count),
        'S' => Duration::from_secs(count),
        'm' => Duration::from_millis(count),
        'u' => Duration::from_micros(count),
        'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_of_grpc_timeout_is_read() {
        for (value, expected) in [
            ("1H", Duration::from_hours(1)),
            ("2M", Duration::from_mins(2)),
            ("10S", Duration::from_secs(10)),
            ("9999m", Duration::from_millis(9999)),
            ("250000u", Duration::from_millis(250)),
            ("99999999n", Duration::from_nanos(99_999_999)),
            ("0S", Duration::ZERO),
            ("99999999H", Duration::from_hours(99_999_999)),
        ] {
            assert_eq!(parse(value), Some(expected), "{value}");
        }
    }

    #[test]
    fn garbage_is_ignored() {
        for value in
            ["", "S", "10", "10s", "-1S", "+1S", "1.5S", "123456789S", "1 S", "10µ", "ten", "10SS"]
        {
            assert_eq!(parse(value), None, "{value}");
        }
        let now = Instant::now();
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, "soon".parse().unwrap());
        let default = Duration::from_mins(1);
        assert_eq!(Deadline::of(&headers, now, default), Deadline::after(default, now));
        assert_eq!(Deadline::of(&HeaderMap::new(), now, default), Deadline::after(default, now));
    }

    #[test]
    fn the_margin_is_a_tenth_within_bounds() {
        for (timeout, expected) in
            [(100, 50), (300, 150), (1_000, 200), (5_000, 500), (10_000, 1_000), (60_000, 1_000)]
        {
            assert_eq!(
                margin(Duration::from_millis(timeout)),
                Duration::from_millis(expected),
                "{timeout} ms"
            );
        }
    }

    #[test]
    fn the_connector_is_done_before_the_server_answers_and_the_server_before_the_caller_leaves() {
        let now = Instant::now();
        for millis in [1, 100, 1_000, 10_000, 3_600_000] {
            let timeout = Duration::from_millis(millis);
            let deadline = Deadline::after(timeout, now);
            assert!(
                deadline.connector < deadline.answer && deadline.answer < now + timeout,
                "{millis} ms"
            );
        }
        // Beyond what an Instant may hold.
        Deadline::after(parse("99999999H").unwrap(), now);
    }
}
