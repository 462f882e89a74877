//! A connector's error as a gRPC status. The second of the two error tables (DESIGN §4).

use std::time::Duration;

use connector_core::{Error, ErrorKind};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::error_chain::error_chain;

/// When a client's retry policy may try again, in milliseconds; negative for never (gRFC A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The domain of every `google.rpc.ErrorInfo`.
const DOMAIN: &str = "flyte-connector";

/// The most bytes of a message. It travels twice in the trailers, once of them in base64, and a C-core client takes
/// no more than 8 KiB of those.
const LONGEST_MESSAGE: usize = 2048;

/// What a kind of error is in gRPC, and the reason in its `ErrorInfo`. The length is that of [`ErrorKind::ALL`], so
/// a new kind does not compile before it has a row; a test holds the order.
pub(crate) const TABLE: [(ErrorKind, Code, &str); ErrorKind::ALL.len()] = [
    (ErrorKind::InvalidTask, Code::InvalidArgument, "INVALID_TASK"),
    (ErrorKind::InvalidMeta, Code::InvalidArgument, "INVALID_META"),
    (ErrorKind::InvalidRequest, Code::InvalidArgument, "INVALID_REQUEST"),
    (ErrorKind::OutOfRange, Code::OutOfRange, "OUT_OF_RANGE"),
    (ErrorKind::FailedPrecondition, Code::FailedPrecondition, "FAILED_PRECONDITION"),
    (ErrorKind::NotFound, Code::NotFound, "NOT_FOUND"),
    (ErrorKind::Unauthenticated, Code::Unauthenticated, "UNAUTHENTICATED"),
    (ErrorKind::Forbidden, Code::PermissionDenied, "FORBIDDEN"),
    (ErrorKind::Exhausted, Code::ResourceExhausted, "EXHAUSTED"),
    (ErrorKind::Unavailable, Code::Unavailable, "UNAVAILABLE"),
    (ErrorKind::DeadlineExceeded, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (ErrorKind::Unimplemented, Code::Unimplemented, "UNIMPLEMENTED"),
    (ErrorKind::Internal, Code::Internal, "INTERNAL"),
];

fn row(kind: ErrorKind) -> (Code, &'static str) {
    // The table has every kind; what would not be in it is our own fault.
    TABLE
        .iter()
        .find(|(entry, ..)| *entry == kind)
        .map_or((Code::Internal, "INTERNAL"), |(_, code, reason)| (*code, *reason))
}

/// The gRPC code of a kind.
pub(crate) fn code(kind: ErrorKind) -> Code {
    row(kind).0
}

/// The error as the caller sees it: message, causes and hint, with `ErrorInfo` and, if it says when to come back,
/// `RetryInfo`. The detail stays in our own log.
pub(crate) fn from_error(error: &Error) -> Status {
    let (code, reason) = row(error.kind());
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, [] as [(String, String); 0]);
    if let Some(after) = error.retry_after() {
        details.set_retry_info(Some(after));
    }
    let mut status = Status::with_error_details(code, message(error), details);
    if error.may_have_started() {
        // Another replica would find the same work and hand it out, and we, who said that it failed, would stop it after
        // the grace time. So Flyte's own retry policy must not try this attempt again; Flyte itself starts the next one.
        status.metadata_mut().insert(PUSHBACK, (-1).into());
    }
    status
}

/// What a refused client is told about trying again (gRFC A6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushback {
    /// After that time.
    After(Duration),
    /// Not at all.
    Never,
}

/// As [`from_error`], with the trailer that the retry policy of a gRPC client obeys.
pub(crate) fn pushed_back(error: &Error, pushback: Pushback) -> Status {
    let (mut status, millis) = match pushback {
        Pushback::After(wait) => {
            let millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            (from_error(&error.clone().with_retry_after(Some(wait))), millis)
        }
        Pushback::Never => (from_error(error), -1),
    };
    status.metadata_mut().insert(PUSHBACK, millis.into());
    status
}

/// Message, causes and hint in one line.
pub(crate) fn message(error: &Error) -> String {
    let mut text = error_chain(error);
    if let Some(hint) = error.hint() {
        // Somebody else's words may end a sentence.
        text.truncate(text.trim_end_matches('.').len());
        text.push_str("; ");
        text.push_str(hint);
    }
    if text.len() > LONGEST_MESSAGE {
        let most = LONGEST_MESSAGE - '…'.len_utf8();
        let end =
            text.char_indices().map(|(at, _)| at).take_while(|at| *at <= most).last().unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The name of a code as the gRPC documents write it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_kind_once() {
        assert_eq!(TABLE.map(|(kind, ..)| kind), ErrorKind::ALL);
    }

    #[test]
    fn the_codes_are_those_of_the_design() {
        for (kind, expected) in [
            (ErrorKind::InvalidTask, Code::InvalidArgument),
            (ErrorKind::InvalidMeta, Code::InvalidArgument),
            (ErrorKind::InvalidRequest, Code::InvalidArgument),
            (ErrorKind::FailedPrecondition, Code::FailedPrecondition),
            (ErrorKind::NotFound, Code::NotFound),
            (ErrorKind::Unauthenticated, Code::Unauthenticated),
            (ErrorKind::Forbidden, Code::PermissionDenied),
            (ErrorKind::Exhausted, Code::ResourceExhausted),
            (ErrorKind::Unavailable, Code::Unavailable),
            (ErrorKind::DeadlineExceeded, Code::DeadlineExceeded),
            (ErrorKind::Unimplemented, Code::Unimplemented),
            (ErrorKind::Internal, Code::Internal),
        ] {
            assert_eq!(code(kind), expected, "{kind:?}");
        }
    }

    #[test]
    fn a_sentence_of_somebody_elses_runs_into_the_hint() {
        let error = Error::failed_precondition("Invalid access token.").with_hint("check it");
        assert_eq!(message(&error), "Invalid access token; check it");
    }

    #[test]
    fn a_status_says_what_happened_why_and_what_to_do() {
        let error = Error::failed_precondition("no workspace for the task")
            .with_source("nothing is configured")
            .with_hint("set FLYTE_DATABRICKS_INSTANCE")
            .with_detail("canary");
        let status = from_error(&error);
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(
            status.message(),
            "no workspace for the task: nothing is configured; set FLYTE_DATABRICKS_INSTANCE"
        );
        let info = status.get_details_error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("FAILED_PRECONDITION", "flyte-connector")
        );
        assert!(status.get_details_retry_info().is_none());
        assert!(!format!("{status:?}").contains("canary"));
    }

    #[test]
    fn a_wait_travels_as_retry_info() {
        let error = Error::new(ErrorKind::Exhausted, "too many calls")
            .with_retry_after(Some(Duration::from_secs(7)));
        let status = from_error(&error);
        assert_eq!(
            status.get_details_retry_info().unwrap().retry_delay,
            Some(Duration::from_secs(7))
        );
    }

    #[test]
    fn a_pushback_travels_as_trailer_and_as_retry_info() {
        let error = Error::new(ErrorKind::Exhausted, "too many calls");
        let status = pushed_back(&error, Pushback::After(Duration::from_millis(700)));
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.metadata().get(PUSHBACK).unwrap(), "700");
        assert_eq!(
            status.get_details_retry_info().unwrap().retry_delay,
            Some(Duration::from_millis(700))
        );
        let never = pushed_back(&error, Pushback::Never);
        assert_eq!(never.metadata().get(PUSHBACK).unwrap(), "-1");
        assert!(never.get_details_retry_info().is_none());
    }

    #[test]
    fn an_error_after_which_work_may_be_given_up_forbids_another_try_of_the_attempt() {
        let pushback = |error: &Error| {
            from_error(error)
                .metadata()
                .get(PUSHBACK)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let error = Error::new(ErrorKind::Unavailable, "the answer was lost");
        assert_eq!(pushback(&error), None);
        assert_eq!(pushback(&error.with_may_have_started(true)).as_deref(), Some("-1"));
    }

    #[test]
    fn a_cause_is_not_said_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("the host is not allowed")]
        struct Inner;
        let error =
            Error::invalid_task("the host is not allowed by this server").with_source(Inner);
        assert_eq!(message(&error), "the host is not allowed by this server");
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let text = message(&Error::internal("ü".repeat(5000)));
        assert!(text.len() <= LONGEST_MESSAGE && text.ends_with("ü…"), "{}", text.len());
    }
}
