//! What the callers of one creation were told, and what follows for its work. Pure.

use super::Outcome;

/// What a caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing: the caller went away. It comes back with the same attempt.
    Nothing,
    /// That the work was started.
    Outcome,
    /// An error. Flyte starts the next attempt.
    Error,
}

/// What becomes of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Somebody has it, or may come back for it, or there is none.
    Keep,
    /// It belongs to nobody.
    GiveUp,
}

/// Everybody who asked for the same creation.
#[derive(Debug)]
pub(super) struct Callers {
    waiting: usize,
    has_outcome: bool,
    has_error: bool,
}

impl Callers {
    /// The one who asked first.
    pub(super) fn one() -> Self {
        Self { waiting: 1, has_outcome: false, has_error: false }
    }

    pub(super) fn joined(&mut self) {
        self.waiting += 1;
    }

    pub(super) fn left(&mut self, told: Told) {
        self.waiting = self.waiting.saturating_sub(1);
        match told {
            Told::Nothing => {}
            Told::Outcome => self.has_outcome = true,
            Told::Error => self.has_error = true,
        }
    }

    /// What follows from that outcome; none while somebody still waits. There may be work whatever the outcome, when the
    /// creation has claimed that of an earlier one.
    pub(super) fn verdict(&self, outcome: &Outcome, has_claimed: bool) -> Option<Verdict> {
        if self.waiting > 0 {
            return None;
        }
        let has_work = match outcome {
            Ok(_) => true,
            Err(error) => error.may_have_started() || has_claimed,
        };
        Some(if has_work && self.has_error && !self.has_outcome {
            Verdict::GiveUp
        } else {
            Verdict::Keep
        })
    }
}

#[cfg(test)]
mod tests {
    use connector_core::{Error, ErrorKind};

    use super::*;

    fn verdict(told: &[Told], outcome: &Outcome, has_claimed: bool) -> Option<Verdict> {
        let mut callers = Callers::one();
        for _ in told.iter().skip(1) {
            callers.joined();
        }
        for told in told {
            callers.left(*told);
        }
        callers.verdict(outcome, has_claimed)
    }

    #[test]
    fn work_is_given_up_only_when_an_error_was_told_and_nobody_has_it() {
        let started: Outcome = Ok(Vec::new());
        let refused: Outcome = Err(Error::invalid_task("x"));
        let lost: Outcome =
            Err(Error::new(ErrorKind::Unavailable, "x").with_may_have_started(true));
        for (told, outcome, has_claimed, expected) in [
            (&[Told::Outcome][..], &started, false, Verdict::Keep),
            (&[Told::Error], &started, false, Verdict::GiveUp),
            (&[Told::Nothing], &started, false, Verdict::Keep),
            (&[Told::Error, Told::Nothing], &started, false, Verdict::GiveUp),
            (&[Told::Error, Told::Outcome], &started, false, Verdict::Keep),
            (&[Told::Error], &refused, false, Verdict::Keep),
            (&[Told::Error], &refused, true, Verdict::GiveUp),
            (&[Told::Nothing], &refused, true, Verdict::Keep),
            (&[Told::Error], &lost, false, Verdict::GiveUp),
            (&[Told::Nothing], &lost, false, Verdict::Keep),
        ] {
            let found = verdict(told, outcome, has_claimed);
            assert_eq!(found, Some(expected), "{told:?} {outcome:?} {has_claimed}");
        }
    }

    #[test]
    fn nothing_is_decided_while_somebody_waits() {
        let mut callers = Callers::one();
        callers.joined();
        callers.left(Told::Error);
        assert_eq!(callers.verdict(&Ok(Vec::new()), true), None);
    }
}
