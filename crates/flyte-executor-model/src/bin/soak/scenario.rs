//! The scenario of each task, derived from the seed.

use databricks_emulator::{Outcome, Script, Termination};
use fastrand::Rng;
use std::time::Duration;

/// The outcome of one run, and the files that its function writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunOutcome {
    /// Succeeds with outputs.
    Success,
    /// Succeeds for Databricks, but writes a recoverable error file.
    Recoverable,
    /// Succeeds for Databricks, but writes a non-recoverable error file.
    NonRecoverable,
    /// Fails in user code.
    CodeFailed,
    /// Fails because of the cloud provider.
    CloudFailed,
    /// Succeeds for Databricks, but writes neither outputs nor an error file.
    NoFiles,
}

impl RunOutcome {
    fn random(rng: &mut Rng) -> Self {
        match rng.u8(0..100) {
            0..80 => Self::Success,
            80..84 => Self::Recoverable,
            84..86 => Self::NonRecoverable,
            86..91 => Self::CodeFailed,
            91..98 => Self::CloudFailed,
            _ => Self::NoFiles,
        }
    }

    /// Returns the script of the run. `None`: the default script.
    pub(crate) fn script(self) -> Option<Script> {
        Some(match self {
            Self::Success | Self::Recoverable | Self::NonRecoverable | Self::NoFiles => {
                return None;
            }
            Self::CodeFailed => Script::failed("ValueError: no such table", "Traceback …"),
            Self::CloudFailed => Script::from_outcome(Outcome::Termination(Termination {
                life_cycle_state: Some("INTERNAL_ERROR".to_owned()),
                code: Some("CLOUD_FAILURE".to_owned()),
                kind: Some("CLOUD_FAILURE".to_owned()),
                message: Some("the spot instance was lost".to_owned()),
                ..Termination::default()
            })),
        })
    }
}

/// The executor of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ExecutorKind {
    /// The stock `defaultConnector`: 10 s deadline, no retries.
    Stock,
    /// The recommended service config: wait-for-ready, retries, 600 s deadline.
    Recommended,
    /// An entry of `connectors`: no deadline, no retries.
    NoDeadline,
}

impl ExecutorKind {
    pub(crate) const ALL: [Self; 3] = [Self::Stock, Self::Recommended, Self::NoDeadline];
}

/// The scenario of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskScenario {
    pub(crate) executor_kind: ExecutorKind,
    pub(crate) retries: u32,
    /// The outcome of each attempt.
    pub(crate) outcomes: Vec<RunOutcome>,
    /// When the user aborts it.
    pub(crate) abort_after: Option<Duration>,
    /// The number of creates whose result the executor fails to persist.
    pub(crate) unstored: u32,
    /// When its executor restarts.
    pub(crate) restart_after: Option<Duration>,
}

impl TaskScenario {
    /// Returns the scenario of a task.
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        // Adjacent seeds must not share tasks.
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
        let retries = rng.u32(0..=3);
        let executor_kind = match rng.u8(0..3) {
            0 => ExecutorKind::Stock,
            1 => ExecutorKind::Recommended,
            _ => ExecutorKind::NoDeadline,
        };
        let outcomes = (0..=retries).map(|_| RunOutcome::random(&mut rng)).collect();
        let abort_after = (rng.u8(0..100) < 4).then(|| Duration::from_millis(rng.u64(0..2000)));
        let unstored = if abort_after.is_none() && rng.u8(0..100) < 3 { rng.u32(1..=2) } else { 0 };
        // Early restarts interrupt creates, later ones polls.
        let latest = if rng.bool() { 20 } else { 1500 };
        let restart_after = (rng.u8(0..100) < 6).then(|| Duration::from_millis(rng.u64(0..latest)));
        Self { executor_kind, retries, outcomes, abort_after, unstored, restart_after }
    }

    pub(crate) fn outcome(&self, attempt: u32) -> RunOutcome {
        let index = usize::try_from(attempt).unwrap_or(usize::MAX);
        self.outcomes.get(index).copied().unwrap_or(RunOutcome::Success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenario_depends_on_seed_and_number_only() {
        let scenarios =
            |seed| (0..500).map(|number| TaskScenario::new(seed, number)).collect::<Vec<_>>();
        assert_eq!(scenarios(7), scenarios(7));
        assert_ne!(scenarios(7), scenarios(8));
    }

    #[test]
    fn thousand_tasks_have_every_outcome_and_executor_kind() {
        let scenarios: Vec<TaskScenario> =
            (0..1000).map(|number| TaskScenario::new(1, number)).collect();
        for outcome in [
            RunOutcome::Success,
            RunOutcome::Recoverable,
            RunOutcome::NonRecoverable,
            RunOutcome::CodeFailed,
            RunOutcome::CloudFailed,
            RunOutcome::NoFiles,
        ] {
            assert!(scenarios.iter().any(|scenario| scenario.outcome(0) == outcome), "{outcome:?}");
        }
        for executor_kind in ExecutorKind::ALL {
            assert!(
                scenarios.iter().filter(|scenario| scenario.executor_kind == executor_kind).count()
                    > 250
            );
        }
        assert!(scenarios.iter().any(|scenario| scenario.abort_after.is_some()));
        assert!(scenarios.iter().any(|scenario| scenario.unstored > 0));
        assert!(scenarios.iter().any(|scenario| scenario.restart_after.is_some()));
        assert!(
            scenarios
                .iter()
                .all(|scenario| scenario.outcomes.len() == scenario.retries as usize + 1)
        );
    }
}
