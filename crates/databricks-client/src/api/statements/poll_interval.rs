//! When to poll the state of a statement. Pure.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);

const MAX: Duration = Duration::from_secs(2);

/// The time that one more poll needs.
const POLL_TIME: Duration = Duration::from_millis(200);

/// Returns the interval before the next poll. None if there is no time for it.
pub(super) fn next(polls: u32, left: Duration) -> Option<Duration> {
    let interval = FIRST.saturating_mul(2_u32.saturating_pow(polls)).min(MAX);
    (left >= interval + POLL_TIME).then_some(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_grow_to_two_seconds_and_end_before_the_deadline() {
        let millis = |polls, left| next(polls, Duration::from_millis(left)).map(|i| i.as_millis());
        let intervals: Vec<_> = (0..7).filter_map(|polls| millis(polls, 60_000)).collect();
        assert_eq!(intervals, [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(millis(u32::MAX, 60_000), Some(2_000));
        assert_eq!(millis(5, 2_200), Some(2_000));
        assert_eq!(millis(5, 2_199), None);
    }
}
