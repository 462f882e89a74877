//! What a run that is over means, once the files of Flyte's runtime are looked at (DESIGN §3.1, §3.2). Pure.

#![deny(clippy::wildcard_enum_match_arm)]

use connector_core::Phase;
use flyteidl2::core::{ContainerError, container_error::Kind};

use crate::{
    get::phase::{Outcome, Progress, UserFailures},
    task_files::Looked,
};

/// What to tell Flyte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// The phase that ends the task, and why.
    Tell {
        /// The phase.
        phase: Phase,
        /// Why; none where the run itself says it.
        reason: Option<String>,
        /// What could not be looked at although it should have been.
        warning: Option<String>,
    },
    /// The run failed after the function had written its outputs: the phase that ends the task.
    FailedAfterOutputs(Phase),
    /// Something could not be looked at for a cause that passes: ask again.
    AskAgain(String),
}

/// The operator's choices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) user_failures: UserFailures,
    /// Whether a file that cannot be looked at fails the task.
    pub(crate) require_error_file: bool,
    /// Whether what passes may still be waited for.
    pub(crate) may_ask_again: bool,
}

/// The ruling for a run of Flyte's runtime.
///
/// The runtime exits as if all was well when the user's code failed, and writes `error.pb`; on success it always writes
/// `outputs.pb` (FC §0.7). So a success without either is none, and an error file decides over the run's own result. A
/// fault of the platform stays one: its attempt may have been cut off anywhere.
///
/// A run that failed stays failed although outputs are there: an entrypoint of the user's may check more than the
/// function did, and the attempts that Databricks itself makes of one task share the prefix, so that the outputs can be
/// those of another. Only the reason says that they are there.
pub(crate) fn of_runtime(
    outcome: Outcome,
    error: Looked<ContainerError>,
    outputs: Looked<()>,
    rules: Rules,
) -> Ruling {
    let as_the_run_says = || Ruling::Tell {
        phase: Progress::Ended(outcome).phase(rules.user_failures),
        reason: None,
        warning: None,
    };
    match (outcome, error) {
        (Outcome::Succeeded | Outcome::UserFailure, Looked::Found(error)) => {
            Ruling::Tell { phase: phase_of(&error), reason: Some(reason_of(&error)), warning: None }
        }
        (Outcome::Succeeded | Outcome::UserFailure, Looked::Passing(why)) if rules.may_ask_again => Ruling::AskAgain(why),
        (Outcome::Succeeded, Looked::Absent) => match outputs {
            Looked::Found(()) => as_the_run_says(),
            Looked::Absent => Ruling::Tell {
                phase: Phase::RetryableFailed,
                reason: Some(
                    "the run succeeded for Databricks, but Flyte's runtime left neither outputs nor an error: \
                     the function did not finish"
                        .to_owned(),
                ),
                warning: None,
            },
            Looked::Passing(why) if rules.may_ask_again => Ruling::AskAgain(why),
            Looked::Passing(why) | Looked::Lasting(why) => unseen(why, rules),
        },
        (Outcome::Succeeded, Looked::Passing(why) | Looked::Lasting(why)) => unseen(why, rules),
        (Outcome::UserFailure, Looked::Absent) if outputs == Looked::Found(()) => {
            Ruling::FailedAfterOutputs(Progress::Ended(outcome).phase(rules.user_failures))
        }
        (Outcome::UserFailure, Looked::Absent | Looked::Passing(_) | Looked::Lasting(_))
        | (Outcome::PlatformFailure | Outcome::Final | Outcome::Upstream, _) => as_the_run_says(),
    }
}

/// A success whose files cannot be looked at.
fn unseen(why: String, rules: Rules) -> Ruling {
    if rules.require_error_file {
        let reason = format!("whether the function failed cannot be seen: {why}");
        return Ruling::Tell { phase: Phase::Failed, reason: Some(reason), warning: None };
    }
    Ruling::Tell { phase: Phase::Succeeded, reason: None, warning: Some(why) }
}

/// Recoverable errors may be tried again (FC §4.1).
fn phase_of(error: &ContainerError) -> Phase {
    match error.kind() {
        Kind::Recoverable => Phase::RetryableFailed,
        Kind::NonRecoverable => Phase::Failed,
    }
}

fn reason_of(error: &ContainerError) -> String {
    match (error.code.trim(), error.message.trim()) {
        ("", "") => "the function failed, and its error says nothing".to_owned(),
        ("", message) => message.to_owned(),
        (code, "") => code.to_owned(),
        (code, message) if message.starts_with(code) => message.to_owned(),
        (code, message) => format!("{code}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        user_failures: UserFailures::Retryable,
        require_error_file: false,
        may_ask_again: true,
    };

    fn error(kind: Kind) -> Looked<ContainerError> {
        Looked::Found(ContainerError {
            code: "ValueError".to_owned(),
            message: "no such table".to_owned(),
            kind: kind.into(),
            ..ContainerError::default()
        })
    }

    fn told(phase: Phase, reason: Option<&str>) -> Ruling {
        Ruling::Tell { phase, reason: reason.map(str::to_owned), warning: None }
    }

    fn passing<T>() -> Looked<T> {
        Looked::Passing("slow".to_owned())
    }

    fn lasting<T>() -> Looked<T> {
        Looked::Lasting("forbidden".to_owned())
    }

    #[test]
    fn an_error_file_decides_over_a_success_and_over_a_failure() {
        for outcome in [Outcome::Succeeded, Outcome::UserFailure] {
            for (kind, phase) in
                [(Kind::Recoverable, Phase::RetryableFailed), (Kind::NonRecoverable, Phase::Failed)]
            {
                let ruling = of_runtime(outcome, error(kind), Looked::Found(()), RULES);
                assert_eq!(ruling, told(phase, Some("ValueError: no such table")));
            }
        }
    }

    #[test]
    fn a_success_needs_outputs() {
        assert_eq!(
            of_runtime(Outcome::Succeeded, Looked::Absent, Looked::Found(()), RULES),
            told(Phase::Succeeded, None)
        );
        let Ruling::Tell { phase, reason, .. } =
            of_runtime(Outcome::Succeeded, Looked::Absent, Looked::Absent, RULES)
        else {
            panic!("it is told at once");
        };
        assert_eq!(phase, Phase::RetryableFailed);
        assert!(reason.unwrap().contains("neither outputs nor an error"));
    }

    #[test]
    fn a_failed_run_with_outputs_stays_failed() {
        for (user_failures, phase) in [
            (UserFailures::Retryable, Phase::RetryableFailed),
            (UserFailures::Permanent, Phase::Failed),
        ] {
            let rules = Rules { user_failures, ..RULES };
            assert_eq!(
                of_runtime(Outcome::UserFailure, Looked::Absent, Looked::Found(()), rules),
                Ruling::FailedAfterOutputs(phase)
            );
            // Without them, and where they cannot be looked for, the run speaks for itself; nothing is waited for.
            for outputs in [Looked::Absent, passing(), lasting()] {
                assert_eq!(
                    of_runtime(Outcome::UserFailure, Looked::Absent, outputs, rules),
                    told(phase, None)
                );
            }
        }
    }

    #[test]
    fn a_fault_of_the_platform_and_somebodys_decision_stay_what_they_are() {
        for (outcome, phase) in [
            (Outcome::PlatformFailure, Phase::RetryableFailed),
            (Outcome::Final, Phase::Failed),
            (Outcome::Upstream, Phase::Failed),
        ] {
            assert_eq!(
                of_runtime(outcome, error(Kind::NonRecoverable), Looked::Absent, RULES),
                told(phase, None)
            );
        }
    }

    #[test]
    fn what_passes_is_waited_for_and_then_believed_with_a_warning() {
        for outcome in [Outcome::Succeeded, Outcome::UserFailure] {
            assert_eq!(
                of_runtime(outcome, passing(), Looked::Absent, RULES),
                Ruling::AskAgain("slow".to_owned())
            );
        }
        let last = Rules { may_ask_again: false, ..RULES };
        assert_eq!(
            of_runtime(Outcome::Succeeded, passing(), Looked::Absent, last),
            Ruling::Tell {
                phase: Phase::Succeeded,
                reason: None,
                warning: Some("slow".to_owned())
            }
        );
        assert_eq!(
            of_runtime(Outcome::UserFailure, passing(), Looked::Absent, last),
            told(Phase::RetryableFailed, None)
        );
    }

    #[test]
    fn what_cannot_be_seen_fails_the_task_only_where_it_is_required() {
        let warned = Ruling::Tell {
            phase: Phase::Succeeded,
            reason: None,
            warning: Some("forbidden".to_owned()),
        };
        let required = Rules { require_error_file: true, ..RULES };
        for (error, outputs) in [(lasting(), Looked::Absent), (Looked::Absent, lasting())] {
            let ruling = of_runtime(Outcome::Succeeded, error.clone(), outputs.clone(), required);
            assert!(
                matches!(ruling, Ruling::Tell { phase: Phase::Failed, reason: Some(_), .. }),
                "{ruling:?}"
            );
            assert_eq!(of_runtime(Outcome::Succeeded, error, outputs, RULES), warned);
        }
    }
}
