//! What a connector can get wrong, and what Flyte makes of it.

use std::fmt;

/// A mistake with a known consequence (flyte-contract.md). An undefined phase is not listed: [`Phase`](crate::Phase) has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Trap {
    /// An ordinary call failed without a fault.
    BasicCall,
    /// `get` returned an error for a failure that may pass.
    PollError,
    /// `get` ended the task because of a failure that may pass.
    PollEndsTask,
    /// `get` forgot the phase that this replica had reported.
    PhaseForgotten,
    /// A repeated request started a second job.
    DuplicateJob,
    /// A later attempt got the job of an earlier one.
    SharedAttempt,
    /// The job of an earlier attempt is still active beside that of a later one.
    EarlierAttemptActive,
    /// The job of the current attempt was cancelled as if it were of an earlier one.
    OwnJobCancelled,
    /// An abandoned creation left an active job.
    OrphanedJob,
    /// A repeated request got the job that was cancelled for its abandoned predecessor.
    CancelledJobReused,
    /// An error of `create` does not say that the job may have started.
    UnreportedEffect,
    /// A successful `delete` left the job active.
    LostCancel,
    /// `delete` failed for a job that has ended or does not exist.
    DeleteError,
    /// Another replica could not read the resource meta.
    MetaNotPortable,
    /// The resource meta contains a secret. Flyte stores it in clear text.
    SecretInMeta,
    /// An answer or an error contains a secret.
    SecretInAnswer,
    /// A failed job has no reason.
    NoReason,
    /// The end of the job was not reported, or not as it was.
    WrongEnd,
    /// A call went on long after its deadline.
    IgnoredDeadline,
}

impl Trap {
    /// Returns what Flyte or the user suffers.
    pub fn consequence(self) -> &'static str {
        match self {
            Self::BasicCall => "no task can run",
            Self::PollError => {
                "Flyte counts six such errors over the life of an attempt and then never polls again: the task is frozen"
            }
            Self::PollEndsTask => "a terminal phase ends polling for good while the job still runs",
            Self::PhaseForgotten => "the user sees the task go back to an earlier phase",
            Self::DuplicateJob => {
                "Flyte repeats a request whose answer was lost: the work is done twice"
            }
            Self::SharedAttempt => "every retry fails with the first failure",
            Self::EarlierAttemptActive => "two attempts work on the same outputs",
            Self::OwnJobCancelled | Self::CancelledJobReused => {
                "the task fails although nothing is wrong with its work"
            }
            Self::OrphanedJob => {
                "the job runs on and is paid for, and no task will read its result"
            }
            Self::UnreportedEffect => {
                "the server does not look for the job, so it runs without an owner"
            }
            Self::LostCancel => "the user aborted the task, and the job runs on",
            Self::DeleteError => "Flyte repeats a failed delete every 10 s without end",
            Self::MetaNotPortable => "the task fails as soon as another replica is asked",
            Self::SecretInMeta | Self::SecretInAnswer => {
                "Flyte stores and shows the secret in clear text"
            }
            Self::NoReason => "the user cannot learn why the task failed",
            Self::WrongEnd => "the task succeeds without its work, or fails after it",
            Self::IgnoredDeadline => "calls pile up in the server and in Flyte's executor",
        }
    }
}

/// One trap that the connector fell into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which mistake it is.
    pub trap: Trap,
    /// The scenario in which it happened.
    pub scenario: String,
    /// What was observed.
    pub observed: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trap, scenario, observed } = self;
        write!(f, "{trap:?} in `{scenario}`: {observed}\n    consequence: {}", trap.consequence())
    }
}

/// Every trap that the connector fell into. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violations(pub(super) Vec<Violation>);

impl Violations {
    /// Returns the violations in the order in which they were found.
    pub fn all(&self) -> &[Violation] {
        &self.0
    }

    /// True if one of them is this trap.
    pub fn contains(&self, trap: Trap) -> bool {
        self.0.iter().any(|violation| violation.trap == trap)
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the connector fell into {} trap(s):", self.0.len())?;
        self.0.iter().try_for_each(|violation| writeln!(f, "- {violation}"))
    }
}

impl std::error::Error for Violations {}
