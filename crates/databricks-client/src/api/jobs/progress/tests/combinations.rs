//! Every combination of state, code, type and result reduces to fewer values: those that decide.
//!
//! The phase of each value alone is in docs/reference/states.md, which a test of the connector compares with the code. The
//! tests here show that the other values of a combination do not matter, so they need no table of outcomes.

use super::*;

type Text = Option<&'static str>;

/// A reported state in both forms.
#[derive(Debug, Clone, Copy)]
struct Reported {
    state: Text,
    code: Text,
    kind: Text,
    life_cycle: Text,
    result: Text,
}

impl Reported {
    fn run(self) -> Run {
        let details = TerminationDetails {
            code: self.code.map(TerminationCode::from),
            kind: self.kind.map(TerminationType::from),
            message: None,
        };
        let status = RunStatus {
            state: self.state.map(LifecycleStateV2::from),
            termination_details: Some(details),
            queue_details: None,
        };
        let legacy = RunState {
            life_cycle_state: self.life_cycle.map(LifeCycleState::from),
            result_state: self.result.map(ResultState::from),
            ..RunState::default()
        };
        Run { status: Some(status), state: Some(legacy), ..Run::default() }
    }

    /// Returns the progress, and checks what holds for every combination.
    fn progress(self) -> Progress {
        let run = self.run();
        let progress = run.progress();
        assert_eq!(run.has_ended(), progress.has_ended(), "{self:?}");
        assert_eq!(run.outcome().is_some(), progress.has_ended(), "{self:?}");
        progress
    }

    /// Drops the values that do not decide.
    fn reduced(self) -> Self {
        let none = Self { state: None, code: None, kind: None, life_cycle: None, result: None };
        // The current state decides if it is known, else the legacy life cycle.
        let (state, life_cycle) = if is_known(self.state, LifecycleStateV2::KNOWN) {
            (self.state, None)
        } else {
            (None, self.life_cycle)
        };
        if !(Self { state, life_cycle, ..none }).run().has_ended() {
            return Self { state, life_cycle, ..none };
        }
        // Of an ended run, a platform failure decides with the code, else with the result.
        let kind = self.kind.filter(|kind| ["INTERNAL_ERROR", "CLOUD_FAILURE"].contains(kind));
        if is_known(self.code, TerminationCode::KNOWN) {
            Self { state: Some("TERMINATED"), code: self.code, kind, ..none }
        } else if self.result.is_some() {
            Self { state: Some("TERMINATED"), result: self.result, kind, ..none }
        } else {
            // Only a skipped run without any result differs from other ends.
            let life_cycle = self.life_cycle.filter(|life_cycle| *life_cycle == "SKIPPED");
            Self { state: Some("TERMINATED"), life_cycle, kind, ..none }
        }
    }
}

fn is_known(value: Text, known: &[&str]) -> bool {
    value.is_some_and(|value| known.contains(&value))
}

/// Every known value, an unknown one, and none.
fn all(known: &'static [&'static str]) -> Vec<Text> {
    known.iter().copied().map(Some).chain([Some("UNKNOWN_FUTURE_VALUE"), None]).collect()
}

/// About 100,000 combinations.
#[test]
fn only_the_deciding_values_of_a_combination_matter() {
    for state in all(LifecycleStateV2::KNOWN) {
        for life_cycle in all(LifeCycleState::KNOWN) {
            for code in all(TerminationCode::KNOWN) {
                for kind in all(TerminationType::KNOWN) {
                    for result in all(ResultState::KNOWN) {
                        let reported = Reported { state, code, kind, life_cycle, result };
                        let reduced = reported.reduced();
                        assert_eq!(
                            reported.progress(),
                            reduced.progress(),
                            "{reported:?} {reduced:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn platform_failure_overrides_every_failure_unless_the_run_was_stopped() {
    let outcome = |code, kind| {
        Reported { state: Some("TERMINATED"), code, kind, life_cycle: None, result: None }
            .progress()
            .outcome()
    };
    let mut stopped = Vec::new();
    for code in TerminationCode::KNOWN {
        for kind in ["INTERNAL_ERROR", "CLOUD_FAILURE"] {
            match (outcome(Some(code), None), outcome(Some(code), Some(kind))) {
                (Some(Outcome::Succeeded), Some(Outcome::Succeeded)) => {}
                (Some(Outcome::PermanentFailure), Some(Outcome::PermanentFailure)) => {
                    stopped.push(*code);
                }
                (_, with_kind) => assert_eq!(with_kind, Some(Outcome::PlatformFailure), "{code}"),
            }
        }
    }
    stopped.dedup();
    stopped.sort_unstable();
    assert_eq!(stopped, ["CLUSTER_TERMINATED_BY_USER", "DISABLED", "SKIPPED", "USER_CANCELED"]);
}
