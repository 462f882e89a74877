//! What befalls each task, from the seed alone.

use databricks_emulator::{Outcome, Script, Termination};
use fastrand::Rng;
use std::time::Duration;

/// How the run of one attempt ends, and what its function leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fortune {
    /// It succeeds, with outputs.
    Success,
    /// Databricks says that it succeeded; an error file says that another attempt may help.
    Recoverable,
    /// The same, but no other attempt may help.
    NonRecoverable,
    /// The user's code fails.
    CodeFailed,
    /// The cloud fails.
    CloudFailed,
    /// Databricks says that it succeeded; there are neither outputs nor an error.
    Silent,
}

impl Fortune {
    fn of(rng: &mut Rng) -> Self {
        match rng.u8(0..100) {
            0..80 => Self::Success,
            80..84 => Self::Recoverable,
            84..86 => Self::NonRecoverable,
            86..91 => Self::CodeFailed,
            91..98 => Self::CloudFailed,
            _ => Self::Silent,
        }
    }

    /// What the run does; `None` is what runs do by themselves.
    pub(crate) fn script(self) -> Option<Script> {
        Some(match self {
            Self::Success | Self::Recoverable | Self::NonRecoverable | Self::Silent => return None,
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

/// Which executor a task belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Flavour {
    /// The stock `defaultConnector`: 10 s, no retries.
    Stock,
    /// The service config that the project recommends: waiting for ready, retries, 20 s.
    Patient,
    /// An entry of `connectors`: no deadline, no retries.
    Endless,
}

impl Flavour {
    pub(crate) const ALL: [Self; 3] = [Self::Stock, Self::Patient, Self::Endless];
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) flavour: Flavour,
    pub(crate) retries: u32,
    /// For each attempt.
    pub(crate) fortunes: Vec<Fortune>,
    /// When its user aborts it.
    pub(crate) abort_after: Option<Duration>,
    /// How many of its creates the executor cannot write down.
    pub(crate) unstored: u32,
    /// When its executor is started anew.
    pub(crate) restart_after: Option<Duration>,
}

impl Role {
    /// The task of this number.
    pub(crate) fn of(seed: u64, number: u64) -> Self {
        // Neighbouring seeds must not share tasks.
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
        let retries = rng.u32(0..=3);
        let flavour = match rng.u8(0..3) {
            0 => Flavour::Stock,
            1 => Flavour::Patient,
            _ => Flavour::Endless,
        };
        let fortunes = (0..=retries).map(|_| Fortune::of(&mut rng)).collect();
        let abort_after = (rng.u8(0..100) < 4).then(|| Duration::from_millis(rng.u64(0..2000)));
        let unstored = if abort_after.is_none() && rng.u8(0..100) < 3 { rng.u32(1..=2) } else { 0 };
        // Early ones break creates off, later ones polls.
        let latest = if rng.bool() { 20 } else { 1500 };
        let restart_after = (rng.u8(0..100) < 6).then(|| Duration::from_millis(rng.u64(0..latest)));
        Self { flavour, retries, fortunes, abort_after, unstored, restart_after }
    }

    pub(crate) fn fortune(&self, attempt: u32) -> Fortune {
        let place = usize::try_from(attempt).unwrap_or(usize::MAX);
        self.fortunes.get(place).copied().unwrap_or(Fortune::Success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_number_are_always_the_same_task() {
        let roles = |seed| (0..500).map(|number| Role::of(seed, number)).collect::<Vec<_>>();
        assert_eq!(roles(7), roles(7));
        assert_ne!(roles(7), roles(8));
    }

    #[test]
    fn a_thousand_tasks_have_every_fortune_and_every_flavour() {
        let roles: Vec<Role> = (0..1000).map(|number| Role::of(1, number)).collect();
        for fortune in [
            Fortune::Success,
            Fortune::Recoverable,
            Fortune::NonRecoverable,
            Fortune::CodeFailed,
            Fortune::CloudFailed,
            Fortune::Silent,
        ] {
            assert!(roles.iter().any(|role| role.fortune(0) == fortune), "{fortune:?}");
        }
        for flavour in Flavour::ALL {
            assert!(roles.iter().filter(|role| role.flavour == flavour).count() > 250);
        }
        assert!(roles.iter().any(|role| role.abort_after.is_some()));
        assert!(roles.iter().any(|role| role.unstored > 0));
        assert!(roles.iter().any(|role| role.restart_after.is_some()));
        assert!(roles.iter().all(|role| role.fortunes.len() == role.retries as usize + 1));
    }
}
