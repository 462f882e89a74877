//! When the state of a statement is asked for. Pure.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);

const MOST: Duration = Duration::from_secs(2);

/// Less time than this is not enough for one more question and its answer.
const LEAST_LEFT: Duration = Duration::from_millis(200);

/// How long to wait after so many questions; none when there is no time for another one.
pub(super) fn pause(polls: u32, left: Duration) -> Option<Duration> {
    let pause = FIRST.saturating_mul(2_u32.saturating_pow(polls)).min(MOST);
    (left >= pause + LEAST_LEFT).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_two_seconds_and_none_passes_the_deadline() {
        let millis =
            |polls, left| pause(polls, Duration::from_millis(left)).map(|pause| pause.as_millis());
        let pauses: Vec<_> = (0..7).filter_map(|polls| millis(polls, 60_000)).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(millis(u32::MAX, 60_000), Some(2_000));
        assert_eq!(millis(5, 2_200), Some(2_000));
        assert_eq!(millis(5, 2_199), None);
    }
}
