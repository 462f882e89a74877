//! Converts a connector's error to a gRPC status. The second of the two error tables; the first one is in the connector.

use std::time::Duration;

use connector_core::{Error, ErrorKind};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::error_chain::error_chain;

/// Trailer for retry policies: the delay in milliseconds, negative for no retry (gRFC A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The domain of every `google.rpc.ErrorInfo`.
const DOMAIN: &str = "flyte-connector";

/// Maximum length of a message, in bytes. The trailers contain it twice, once in base64, and C-core clients accept 8 KiB of
/// trailers.
const MAX_MESSAGE_BYTES: usize = 2048;

/// The gRPC code and the `ErrorInfo` reason of each kind. The array length makes a new kind without a row a compile
/// error.
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
    // The table has every kind.
    TABLE
        .iter()
        .find(|(entry, ..)| *entry == kind)
        .map_or((Code::Internal, "INTERNAL"), |(_, code, reason)| (*code, *reason))
}

/// Returns the gRPC code of a kind.
pub(crate) fn code(kind: ErrorKind) -> Code {
    row(kind).0
}

/// Converts an error for the caller: message, causes and hint, with `ErrorInfo` and, if the error has a retry delay,
/// `RetryInfo`. The detail is for the log only.
pub(crate) fn from_error(error: &Error) -> Status {
    let (code, reason) = row(error.kind());
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, [] as [(String, String); 0]);
    if let Some(after) = error.retry_after() {
        details.set_retry_info(Some(after));
    }
    let mut status = Status::with_error_details(code, message(error), details);
    if error.may_have_started() {
        // A retry on another replica would return the same task, which this one cancels as an orphan. Flyte starts the
        // next attempt instead.
        status.metadata_mut().insert(PUSHBACK, (-1).into());
    }
    status
}

/// Instruction for the retry policy of a rejected client (gRFC A6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushback {
    /// Retry after this delay.
    After(Duration),
    /// Do not retry.
    Never,
}

/// Converts an error as [`from_error`], with the trailer for retry policies.
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

/// Returns message, causes and hint in one line.
pub(crate) fn message(error: &Error) -> String {
    let mut text = error_chain(error);
    if let Some(hint) = error.hint() {
        // A message of a remote service may end with a full stop.
        text.truncate(text.trim_end_matches('.').len());
        text.push_str("; ");
        text.push_str(hint);
    }
    if text.len() > MAX_MESSAGE_BYTES {
        let max = MAX_MESSAGE_BYTES - '…'.len_utf8();
        let end =
            text.char_indices().map(|(at, _)| at).take_while(|at| *at <= max).last().unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Returns the name of a code as in the gRPC documentation.
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
    fn table_has_every_kind_once() {
        assert_eq!(TABLE.map(|(kind, ..)| kind), ErrorKind::ALL);
    }

    #[test]
    fn kinds_have_their_grpc_codes() {
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
    fn full_stop_of_the_message_is_dropped_before_the_hint() {
        let error = Error::failed_precondition("Invalid access token.").with_hint("check it");
        assert_eq!(message(&error), "Invalid access token; check it");
    }

    #[test]
    fn status_has_message_cause_and_hint_but_no_detail() {
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
    fn retry_delay_is_sent_as_retry_info() {
        let error = Error::new(ErrorKind::Exhausted, "too many calls")
            .with_retry_after(Some(Duration::from_secs(7)));
        let status = from_error(&error);
        assert_eq!(
            status.get_details_retry_info().unwrap().retry_delay,
            Some(Duration::from_secs(7))
        );
    }

    #[test]
    fn pushback_is_sent_as_trailer_and_retry_info() {
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
    fn error_that_may_have_started_a_task_forbids_a_retry_of_the_attempt() {
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
    fn repeated_cause_is_left_out() {
        #[derive(Debug, thiserror::Error)]
        #[error("the host is not allowed")]
        struct Inner;
        let error =
            Error::invalid_task("the host is not allowed by this server").with_source(Inner);
        assert_eq!(message(&error), "the host is not allowed by this server");
    }

    #[test]
    fn long_message_is_truncated_at_a_character_boundary() {
        let text = message(&Error::internal("ü".repeat(5000)));
        assert!(text.len() <= MAX_MESSAGE_BYTES && text.ends_with("ü…"), "{}", text.len());
    }
}
