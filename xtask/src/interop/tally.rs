//! How many claims held.

use std::fmt;
use std::ops::AddAssign;

/// Claims that held and claims that did not.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: usize,
    pub(super) failed: usize,
}

impl Tally {
    /// Counts a line of one of our Python programs, as `checks.py` writes it.
    pub(super) fn count_line(&mut self, line: &str) {
        if line.starts_with("pass ") {
            self.passed += 1;
        } else if line.starts_with("FAIL ") {
            self.failed += 1;
        }
    }

    /// Prints and counts one claim.
    pub(super) fn claim(&mut self, claim: &str, fault: Option<&str>) {
        let line = match fault {
            None => format!("pass {claim}"),
            Some(fault) => format!("FAIL {claim}: {fault}"),
        };
        println!("{line}");
        self.count_line(&line);
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_counted_and_notes_are_not() {
        let mut tally = Tally::default();
        for line in [
            "pass a",
            "     PyPI flyteidl2 2.0.51",
            "FAIL b: found 1",
            "     pass is not at the start",
            "pass c",
        ] {
            tally.count_line(line);
        }
        tally += Tally { passed: 1, failed: 1 };
        assert_eq!(tally.to_string(), "3 passed, 2 failed");
    }
}
