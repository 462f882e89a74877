//! Counts passed and failed checks.

use std::fmt;
use std::ops::AddAssign;

/// Numbers of passed and failed checks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: usize,
    pub(super) failed: usize,
}

impl Tally {
    /// Counts an output line of a Python program, in the format of `checks.py`.
    pub(super) fn count_line(&mut self, line: &str) {
        if line.starts_with("pass ") {
            self.passed += 1;
        } else if line.starts_with("FAIL ") {
            self.failed += 1;
        }
    }

    /// Prints and counts one check.
    pub(super) fn record(&mut self, claim: &str, failure: Option<&str>) {
        let line = match failure {
            None => format!("pass {claim}"),
            Some(failure) => format!("FAIL {claim}: {failure}"),
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
    fn only_pass_and_fail_lines_are_counted() {
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
