//! The phase of a run that has ended, given the files that Flyte's runtime wrote (docs/phases.md). Pure.

#![deny(clippy::wildcard_enum_match_arm)]

use connector_core::Phase;
use databricks_client::jobs::Outcome;
use flyteidl2::core::{ContainerError, container_error::Kind};
use task_storage::StorageError;

use crate::phase::{self, UserFailures};

/// The result of reading the files of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OutputFiles {
    /// The content of `error.pb`, if it exists.
    pub(crate) error: Result<Option<ContainerError>, StorageError>,
    /// Whether `outputs.pb` exists.
    pub(crate) outputs_exist: Result<bool, StorageError>,
}

/// The decision about a run that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Return a terminal phase.
    Finish {
        phase: Phase,
        /// The reason; the run's own if absent.
        reason: Option<ErrorReason>,
    },
    /// Return a success whose files could not be checked, for this reason.
    UnverifiedSuccess(String),
    /// Return this terminal phase: the run failed after the function had written its outputs.
    FailAfterOutputs(Phase),
    /// Stay RUNNING and read the files again at the next poll, because of this transient failure.
    RetryAtNextPoll(String),
}

/// Why a function failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ErrorReason {
    pub(crate) text: String,
    /// The name of the exception, if it has one.
    pub(crate) code: String,
}

impl From<String> for ErrorReason {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// The operator's choices, and what the caller allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RuleOptions {
    pub(crate) user_failures: UserFailures,
    /// Whether files that cannot be read fail the task.
    pub(crate) require_error_file: bool,
    /// Whether transient failures may be retried at the next poll.
    pub(crate) may_retry: bool,
}

/// Decides about a run of Flyte's runtime.
///
/// The runtime exits with 0 when the user's code fails, and writes `error.pb`; on success it always writes `outputs.pb`
/// (flyte-contract.md#entrypoint-v2). Hence an error file overrides the run's own result, and a success without either
/// file is a failure. A platform failure stays one, because it can interrupt an attempt at any point.
///
/// A failed run with outputs stays failed: the user's own entrypoint may check more than the function does, and the
/// outputs may be those of another attempt, because Databricks' own retries share the output prefix.
pub(crate) fn decide(outcome: Outcome, files: OutputFiles, options: RuleOptions) -> Decision {
    let phase = phase::of_outcome(outcome, options.user_failures);
    let by_run = Decision::Finish { phase, reason: None };
    let error = match outcome {
        Outcome::Succeeded | Outcome::UserFailure => files.error,
        Outcome::PlatformFailure | Outcome::PermanentFailure | Outcome::UpstreamFailure => {
            return by_run;
        }
    };
    match (outcome == Outcome::Succeeded, error) {
        (_, Ok(Some(error))) => {
            Decision::Finish { phase: phase_of(&error), reason: Some(reason_of(&error)) }
        }
        (_, Err(StorageError::Transient(message))) if options.may_retry => {
            Decision::RetryAtNextPoll(message)
        }
        (true, Ok(None)) => decide_by_outputs(files.outputs_exist, by_run, options),
        (true, Err(error)) => unverified(&error, options),
        (false, Ok(None)) if files.outputs_exist == Ok(true) => Decision::FailAfterOutputs(phase),
        (false, Ok(None) | Err(_)) => by_run,
    }
}

/// Decides about a success without an error file: it needs outputs.
fn decide_by_outputs(
    outputs_exist: Result<bool, StorageError>,
    success: Decision,
    options: RuleOptions,
) -> Decision {
    match outputs_exist {
        Ok(true) => success,
        Ok(false) => Decision::Finish {
            phase: Phase::RetryableFailed,
            reason: Some(
                "the run succeeded, but Flyte's runtime wrote neither outputs nor an error: \
                 the function did not finish"
                    .to_owned()
                    .into(),
            ),
        },
        Err(StorageError::Transient(message)) if options.may_retry => {
            Decision::RetryAtNextPoll(message)
        }
        Err(error) => unverified(&error, options),
    }
}

/// Decides about a success whose files cannot be read.
fn unverified(error: &StorageError, options: RuleOptions) -> Decision {
    if options.require_error_file {
        let reason = format!("cannot determine whether the function failed: {error}");
        return Decision::Finish { phase: Phase::Failed, reason: Some(reason.into()) };
    }
    Decision::UnverifiedSuccess(error.to_string())
}

/// Returns the phase of an error file: recoverable errors may be retried (flyte-contract.md#entrypoint-v2).
fn phase_of(error: &ContainerError) -> Phase {
    match error.kind() {
        Kind::Recoverable => Phase::RetryableFailed,
        Kind::NonRecoverable => Phase::Failed,
    }
}

fn reason_of(error: &ContainerError) -> ErrorReason {
    let text = match (error.code.trim(), error.message.trim()) {
        ("", "") => "the function failed with an empty error".to_owned(),
        ("", message) => message.to_owned(),
        (code, "") => code.to_owned(),
        (code, message) if message.starts_with(code) => message.to_owned(),
        (code, message) => format!("{code}: {message}"),
    };
    ErrorReason { text, code: error.code.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: RuleOptions = RuleOptions {
        user_failures: UserFailures::Retryable,
        require_error_file: false,
        may_retry: true,
    };

    fn files(
        error: Result<Option<ContainerError>, StorageError>,
        outputs_exist: Result<bool, StorageError>,
    ) -> OutputFiles {
        OutputFiles { error, outputs_exist }
    }

    fn error(kind: Kind) -> ContainerError {
        ContainerError {
            code: "ValueError".to_owned(),
            message: "no such table".to_owned(),
            kind: kind.into(),
            ..ContainerError::default()
        }
    }

    fn finish(phase: Phase, reason: Option<&str>) -> Decision {
        Decision::Finish { phase, reason: reason.map(|text| text.to_owned().into()) }
    }

    fn transient<T>() -> Result<T, StorageError> {
        Err(StorageError::Transient("slow".to_owned()))
    }

    fn permanent<T>() -> Result<T, StorageError> {
        Err(StorageError::Permanent("forbidden".to_owned()))
    }

    #[test]
    fn error_file_overrides_success_and_failure() {
        for outcome in [Outcome::Succeeded, Outcome::UserFailure] {
            for (kind, phase) in
                [(Kind::Recoverable, Phase::RetryableFailed), (Kind::NonRecoverable, Phase::Failed)]
            {
                let decision = decide(outcome, files(Ok(Some(error(kind))), Ok(true)), OPTIONS);
                let reason = ErrorReason {
                    text: "ValueError: no such table".to_owned(),
                    code: "ValueError".to_owned(),
                };
                assert_eq!(decision, Decision::Finish { phase, reason: Some(reason) });
            }
        }
    }

    #[test]
    fn success_needs_outputs() {
        assert_eq!(
            decide(Outcome::Succeeded, files(Ok(None), Ok(true)), OPTIONS),
            finish(Phase::Succeeded, None)
        );
        let Decision::Finish { phase, reason } =
            decide(Outcome::Succeeded, files(Ok(None), Ok(false)), OPTIONS)
        else {
            panic!("not retried");
        };
        assert_eq!(phase, Phase::RetryableFailed);
        assert!(reason.unwrap().text.contains("neither outputs nor an error"));
    }

    #[test]
    fn failed_run_with_outputs_stays_failed() {
        for (user_failures, phase) in [
            (UserFailures::Retryable, Phase::RetryableFailed),
            (UserFailures::Permanent, Phase::Failed),
        ] {
            let options = RuleOptions { user_failures, ..OPTIONS };
            assert_eq!(
                decide(Outcome::UserFailure, files(Ok(None), Ok(true)), options),
                Decision::FailAfterOutputs(phase)
            );
            // Missing or unreadable outputs do not matter, and are not retried.
            for outputs_exist in [Ok(false), transient(), permanent()] {
                assert_eq!(
                    decide(Outcome::UserFailure, files(Ok(None), outputs_exist), options),
                    finish(phase, None)
                );
            }
        }
    }

    #[test]
    fn error_file_does_not_override_platform_failures_and_stopped_runs() {
        for (outcome, phase) in [
            (Outcome::PlatformFailure, Phase::RetryableFailed),
            (Outcome::PermanentFailure, Phase::Failed),
            (Outcome::UpstreamFailure, Phase::Failed),
        ] {
            let files = files(Ok(Some(error(Kind::NonRecoverable))), Ok(false));
            assert_eq!(decide(outcome, files, OPTIONS), finish(phase, None));
        }
    }

    #[test]
    fn transient_failures_are_retried_and_then_accepted_as_unverified() {
        for outcome in [Outcome::Succeeded, Outcome::UserFailure] {
            assert_eq!(
                decide(outcome, files(transient(), Ok(false)), OPTIONS),
                Decision::RetryAtNextPoll("slow".to_owned())
            );
        }
        let last = RuleOptions { may_retry: false, ..OPTIONS };
        assert_eq!(
            decide(Outcome::Succeeded, files(transient(), Ok(false)), last),
            Decision::UnverifiedSuccess("slow".to_owned())
        );
        assert_eq!(
            decide(Outcome::UserFailure, files(transient(), Ok(false)), last),
            finish(Phase::RetryableFailed, None)
        );
    }

    #[test]
    fn unreadable_files_fail_the_task_only_if_required() {
        let required = RuleOptions { require_error_file: true, ..OPTIONS };
        for files in [files(permanent(), Ok(false)), files(Ok(None), permanent())] {
            let decision = decide(Outcome::Succeeded, files.clone(), required);
            assert!(
                matches!(decision, Decision::Finish { phase: Phase::Failed, reason: Some(_) }),
                "{decision:?}"
            );
            assert_eq!(
                decide(Outcome::Succeeded, files, OPTIONS),
                Decision::UnverifiedSuccess("forbidden".to_owned())
            );
        }
    }
}
