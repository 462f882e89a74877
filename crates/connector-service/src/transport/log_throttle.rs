//! Rate-limits log lines triggered by unauthenticated peers to one per second.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const INTERVAL: Duration = Duration::from_secs(1);

/// Limits one kind of log line.
#[derive(Debug, Default)]
pub(super) struct LogThrottle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    suppressed: u64,
}

impl LogThrottle {
    /// Returns the number of lines suppressed since the last one. None if this line must be suppressed too.
    pub(super) fn permit(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).permit_at(Instant::now())
    }
}

impl State {
    fn permit_at(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_second_reports_the_suppressed_ones() {
        let mut state = State::default();
        let start = Instant::now();
        let permits = [0, 10, 999, 1000, 1001, 2000, 5000]
            .map(|millis| state.permit_at(start + Duration::from_millis(millis)));
        assert_eq!(permits, [Some(0), None, None, Some(2), None, Some(1), Some(0)]);
    }
}
