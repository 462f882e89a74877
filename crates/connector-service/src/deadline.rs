//! Deadlines of calls: the `grpc-timeout` header minus a margin for the response.

use std::time::{Duration, Instant};

use http::HeaderMap;

const HEADER: &str = "grpc-timeout";
/// The upper limit of the deadline, by method: a waiting call occupies a worker of Flyte's executor
/// (flyte-contract.md#gettask). The limit of other calls is [`MAX_TIMEOUT`].
const MAX_TIMES: [(&str, Duration); 3] = [
    ("CreateTask", Duration::from_mins(1)),
    ("GetTask", Duration::from_secs(30)),
    ("DeleteTask", Duration::from_mins(1)),
];
const MAX_TIMEOUT: Duration = Duration::from_hours(24);

/// The deadlines of a call. tonic responds to an expired call with CANCELLED and drops its handler, so the server responds
/// earlier, and the connector's deadline is earlier still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    /// Deadline of the connector.
    pub(crate) connector: Instant,
    /// Time at which the server responds with an error instead.
    pub(crate) response: Instant,
}

impl Deadline {
    /// Returns the deadlines of a call of this method that arrived at `now`.
    pub(crate) fn of(
        method: &str,
        headers: &HeaderMap,
        now: Instant,
        default_timeout: Duration,
    ) -> Self {
        let header = headers.get(HEADER).and_then(|value| value.to_str().ok());
        let timeout = header.and_then(parse).unwrap_or(default_timeout);
        Self::after(timeout.min(max_time(method)), now)
    }

    fn after(timeout: Duration, now: Instant) -> Self {
        let margin = margin(timeout);
        Self {
            connector: now + timeout.saturating_sub(margin),
            response: now + timeout.saturating_sub(margin / 2),
        }
    }
}

fn max_time(method: &str) -> Duration {
    let found = MAX_TIMES.iter().find(|(name, _)| *name == method);
    found.map_or(MAX_TIMEOUT, |(_, time)| *time)
}

/// Returns a tenth of the timeout within 200 ms and 1 s, but at most half of it.
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
    use http::HeaderName;

    use super::*;

    #[test]
    fn every_unit_of_grpc_timeout_is_parsed() {
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
    fn invalid_value_is_ignored() {
        for value in
            ["", "S", "10", "10s", "-1S", "+1S", "1.5S", "123456789S", "1 S", "10µ", "ten", "10SS"]
        {
            assert_eq!(parse(value), None, "{value}");
        }
        let now = Instant::now();
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, "soon".parse().unwrap());
        let default = Duration::from_mins(1);
        for headers in [headers, HeaderMap::new()] {
            let deadline = Deadline::of("GetTaskLogs", &headers, now, default);
            assert_eq!(deadline, Deadline::after(default, now));
        }
    }

    #[test]
    fn calls_of_the_executor_are_bounded_whatever_the_caller_allows() {
        let now = Instant::now();
        let headers =
            HeaderMap::from_iter([(HeaderName::from_static(HEADER), "600S".parse().unwrap())]);
        for (method, seconds) in
            [("CreateTask", 60), ("GetTask", 30), ("DeleteTask", 60), ("GetTaskLogs", 600)]
        {
            let expected = Deadline::after(Duration::from_secs(seconds), now);
            assert_eq!(Deadline::of(method, &headers, now, Duration::ZERO), expected, "{method}");
            let default = Duration::from_mins(10);
            assert_eq!(Deadline::of(method, &HeaderMap::new(), now, default), expected, "{method}");
        }
    }

    #[test]
    fn margin_is_a_tenth_within_bounds() {
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
    fn connector_deadline_precedes_the_server_response_and_the_timeout() {
        let now = Instant::now();
        for millis in [1, 100, 1_000, 10_000, 3_600_000] {
            let timeout = Duration::from_millis(millis);
            let deadline = Deadline::after(timeout, now);
            assert!(
                deadline.connector < deadline.response && deadline.response < now + timeout,
                "{millis} ms"
            );
        }
        // Does not overflow an Instant.
        let headers =
            HeaderMap::from_iter([(HeaderName::from_static(HEADER), "99999999H".parse().unwrap())]);
        Deadline::of("GetTaskLogs", &headers, now, Duration::ZERO);
    }
}
