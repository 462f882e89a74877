//! The kinds of errors, and the kind of each response of Databricks. Pure.

use super::{ErrorBody, refusal};
use crate::http::request::Subject;

/// Declares the kinds with their list and their names.
macro_rules! error_kinds {
    ($($(#[$doc:meta])* $kind:ident,)*) => {
        /// The kind of an error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind { $($(#[$doc])* $kind,)* }

        impl ErrorKind {
            /// Every kind.
            pub const ALL: [Self; [$(stringify!($kind)),*].len()] = [$(Self::$kind,)*];

            /// Returns the name, such as `RateLimited`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind),)* }
            }
        }
    };
}

error_kinds! {
    /// The client could not be set up, or the credential cannot be sent. Not retried.
    Config,
    /// No connection, or it broke before the end of the response. Retried.
    Connect,
    /// No response before the timeout or the caller's deadline. Retried while there is time.
    Timeout,
    /// 401, another response that rejects the token (databricks-api.md#rejected-tokens), or a login page or a redirect to
    /// one. Not retried.
    Unauthenticated,
    /// 403. Not retried.
    Forbidden,
    /// The workspace reports that the run does not exist (databricks-api.md#missing-runs). Not retried.
    RunNotFound,
    /// Any other 404, or a workspace that is not active. Not retried.
    NotFound,
    /// The workspace rejected the content of the request. Not retried.
    Invalid,
    /// 409. Not retried.
    Conflict,
    /// 429. Retried.
    RateLimited,
    /// Not sent: the client-side rate limit admitted no request before the deadline. Transient.
    Throttled,
    /// Not sent: the circuit breaker of the host is open. Transient; a read is not retried, a write waits for the host.
    HostDown,
    /// 5xx, or a message that signals a transient failure (databricks-api.md#retry-rules). Retried, except 501.
    Unavailable,
    /// The response is not one of the API: other JSON, or a redirect, which is never followed. Not retried.
    Decode,
    /// The response exceeds the limit. Not retried.
    TooLarge,
}

/// Returns the kind of an error response, and whether it is transient (databricks-api.md#error-codes,
/// databricks-api.md#retry-rules).
pub(super) fn kind_of(status: u16, body: &ErrorBody, subject: Subject) -> (ErrorKind, bool) {
    // A 403 is `Forbidden` even if it rejects the token; `Error::is_token_rejected` is then true.
    if status != 403 && refusal::rejects_token(status, body) {
        return (ErrorKind::Unauthenticated, false);
    }
    if status != 403 && status != 429 && body.is_transient() {
        return (ErrorKind::Unavailable, true);
    }
    // The same code in the response to a submission is about something that the submission refers to.
    if matches!(status, 400 | 404) && body.is_run_not_found(subject) {
        return (ErrorKind::RunNotFound, false);
    }
    if subject != Subject::NoRun && matches!(status, 400 | 403 | 404) && body.names_lost_workspace()
    {
        return (ErrorKind::NotFound, false);
    }
    match status {
        403 => (ErrorKind::Forbidden, false),
        404 => (ErrorKind::NotFound, false),
        408 => (ErrorKind::Timeout, true),
        409 => (ErrorKind::Conflict, false),
        429 => (ErrorKind::RateLimited, true),
        501 => (ErrorKind::Unavailable, false),
        500..=599 => (ErrorKind::Unavailable, true),
        400..=499 => kind_of_code(body.code.as_deref().unwrap_or_default()),
        // Redirects are never followed: a token must not leave its host.
        _ => (ErrorKind::Decode, false),
    }
}

/// Returns the kind for an error code. Some services return 400 where others use a more specific status
/// (databricks-api.md#error-codes).
fn kind_of_code(code: &str) -> (ErrorKind, bool) {
    match code {
        "UNAUTHENTICATED" | "CUSTOMER_UNAUTHORIZED" => (ErrorKind::Unauthenticated, false),
        "PERMISSION_DENIED" => (ErrorKind::Forbidden, false),
        "ALREADY_EXISTS" | "RESOURCE_ALREADY_EXISTS" | "RESOURCE_CONFLICT" => {
            (ErrorKind::Conflict, false)
        }
        "RESOURCE_EXHAUSTED" | "REQUEST_LIMIT_EXCEEDED" => (ErrorKind::RateLimited, true),
        "TEMPORARILY_UNAVAILABLE"
        | "SERVICE_UNDER_MAINTENANCE"
        | "WORKSPACE_TEMPORARILY_UNAVAILABLE" => (ErrorKind::Unavailable, true),
        _ => (ErrorKind::Invalid, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[track_caller]
    fn check(status: u16, body: &str, kind: ErrorKind, transient: bool) {
        let error =
            Error::from_response(status, ErrorBody::parse(body.as_bytes()), None, Subject::Run);
        assert_eq!((error.kind(), error.is_retryable()), (kind, transient), "{status} {body}");
    }

    #[test]
    fn each_status_has_a_kind() {
        check(400, "", ErrorKind::Invalid, false);
        check(400, r#"{"error_code": "COULD_NOT_ACQUIRE_LOCK"}"#, ErrorKind::Unavailable, true);
        check(400, r#"{"message": "Unknown worker environment"}"#, ErrorKind::Unavailable, true);
        check(400, r#"{"message": "Run 1 does not exist."}"#, ErrorKind::RunNotFound, false);
        check(404, r#"{"message": "Run 1 does not exist."}"#, ErrorKind::RunNotFound, false);
        check(404, r#"{"message": "Workspace 7 is not active"}"#, ErrorKind::NotFound, false);
        check(403, r#"{"message": "This workspace is not active."}"#, ErrorKind::NotFound, false);
        check(400, r#"{"error_code": "REQUEST_LIMIT_EXCEEDED"}"#, ErrorKind::RateLimited, true);
        check(400, r#"{"error_code": "TEMPORARILY_UNAVAILABLE"}"#, ErrorKind::Unavailable, true);
        check(400, r#"{"error_code": "PERMISSION_DENIED"}"#, ErrorKind::Forbidden, false);
        check(400, r#"{"error_code": "UNAUTHENTICATED"}"#, ErrorKind::Unauthenticated, false);
        check(400, r#"{"error_code": "RESOURCE_ALREADY_EXISTS"}"#, ErrorKind::Conflict, false);
        // A quota does not recover soon (databricks-api.md#limits).
        check(400, r#"{"error_code": "QUOTA_EXCEEDED"}"#, ErrorKind::Invalid, false);
        check(500, r#"{"message": "Run 1 does not exist."}"#, ErrorKind::Unavailable, true);
        check(403, r#"{"message": "Run 1 does not exist."}"#, ErrorKind::Forbidden, false);
        check(408, "", ErrorKind::Timeout, true);
        check(401, "", ErrorKind::Unauthenticated, false);
        check(
            403,
            "<html><title>Invalid access token.</title></html>",
            ErrorKind::Forbidden,
            false,
        );
        check(403, r#"{"message": "Unexpected error"}"#, ErrorKind::Forbidden, false);
        check(404, "<html></html>", ErrorKind::NotFound, false);
        check(409, "", ErrorKind::Conflict, false);
        check(422, "", ErrorKind::Invalid, false);
        check(429, "", ErrorKind::RateLimited, true);
        for status in [500, 502, 503, 504, 599] {
            check(status, "", ErrorKind::Unavailable, true);
        }
        check(501, "", ErrorKind::Unavailable, false);
        for status in [301, 302, 307] {
            check(status, "", ErrorKind::Decode, false);
        }
    }

    #[test]
    fn request_without_a_run_never_fails_as_run_not_found() {
        for (text, kind) in [
            (r#"{"message": "Run as user x does not exist"}"#, ErrorKind::Invalid),
            (r#"{"error_code": "RESOURCE_DOES_NOT_EXIST"}"#, ErrorKind::Invalid),
            (r#"{"error_code": "INVALID_PARAMETER_VALUE"}"#, ErrorKind::Invalid),
        ] {
            let body = ErrorBody::parse(text.as_bytes());
            assert_eq!(Error::from_response(400, body, None, Subject::NoRun).kind(), kind);
        }
    }

    #[test]
    fn code_and_call_decide_that_a_run_does_not_exist_in_any_wording() {
        use {ErrorKind::*, Subject::*};
        for (subject, status, code, kind) in [
            (OnlyRun, 400, "INVALID_PARAMETER_VALUE", RunNotFound),
            (Run, 400, "INVALID_PARAMETER_VALUE", Invalid),
            (OnlyRun, 404, "RESOURCE_DOES_NOT_EXIST", RunNotFound),
            (Run, 404, "RESOURCE_DOES_NOT_EXIST", RunNotFound),
            (Run, 400, "NOT_FOUND", RunNotFound),
            (OnlyRun, 404, "ENDPOINT_NOT_FOUND", NotFound),
            (OnlyRun, 404, "FEATURE_DISABLED", NotFound),
            (OnlyRun, 403, "PERMISSION_DENIED", Forbidden),
            (OnlyRun, 500, "RESOURCE_DOES_NOT_EXIST", Unavailable),
        ] {
            let text = format!(r#"{{"error_code": "{code}", "message": "运行不存在"}}"#);
            let error =
                Error::from_response(status, ErrorBody::parse(text.as_bytes()), None, subject);
            assert_eq!(error.kind(), kind, "{subject:?} {status} {code}");
        }
        let text = r#"{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run 7 of workspace 12 has been deleted"}"#;
        let error = Error::from_response(404, ErrorBody::parse(text.as_bytes()), None, OnlyRun);
        assert_eq!(error.kind(), RunNotFound);
        // A transient failure has the same code at times.
        let text =
            r#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "Unknown worker environment"}"#;
        let error = Error::from_response(400, ErrorBody::parse(text.as_bytes()), None, OnlyRun);
        assert_eq!(error.kind(), Unavailable);
    }
}
