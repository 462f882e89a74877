//! Log lines that a stranger can cause come at most once a second.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_secs(1);

/// Says whether it is time for another line.
#[derive(Debug, Default)]
pub(super) struct Sparing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    untold: u64,
}

impl Sparing {
    /// How many lines were left out since the last one, or none when this one is to be left out too.
    pub(super) fn turn(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).turn(Instant::now())
    }
}

impl State {
    fn turn(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < PAUSE) {
            self.untold += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_were_left_out() {
        let mut state = State::default();
        let start = Instant::now();
        let turns = [0, 10, 999, 1000, 1001, 2000, 5000]
            .map(|millis| state.turn(start + Duration::from_millis(millis)));
        assert_eq!(turns, [Some(0), None, None, Some(2), None, Some(1), Some(0)]);
    }
}
