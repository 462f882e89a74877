//! The client's errors as the connector's: the only place where one becomes the other.

#![deny(clippy::wildcard_enum_match_arm)]

use connector_core::{Error, ErrorKind};
use databricks_client::ErrorKind as Client;

/// The core kind of each client kind. `docs/reference/errors.md` shows it.
pub(crate) fn kind_of(kind: Client) -> ErrorKind {
    match kind {
        // Databricks read the request and refused what it says.
        Client::Invalid => ErrorKind::InvalidTask,
        Client::Unauthenticated => ErrorKind::Unauthenticated,
        Client::Forbidden => ErrorKind::Forbidden,
        Client::RunNotFound | Client::NotFound => ErrorKind::NotFound,
        Client::Conflict | Client::Config => ErrorKind::FailedPrecondition,
        Client::RateLimited | Client::Throttled => ErrorKind::Exhausted,
        Client::Timeout => ErrorKind::DeadlineExceeded,
        // An answer that cannot be read comes from something between us and the workspace.
        Client::Connect
        | Client::Unavailable
        | Client::HostDown
        | Client::Decode
        | Client::TooLarge => ErrorKind::Unavailable,
        // The enum is non-exhaustive across crates; a test walks every kind there is.
        _ => ErrorKind::Internal,
    }
}

/// What to do next, where it is known.
fn hint_of(error: &databricks_client::Error) -> Option<&'static str> {
    let kind = error.kind();
    let text = error.to_string();
    // Databricks answers 403 for a token that it does not know, in these words.
    if kind == Client::Unauthenticated || text.contains("Invalid access token") {
        Some("check that the token is valid for this workspace and has not expired")
    } else if kind == Client::Forbidden {
        Some(
            "give the token's principal permission to run jobs and to use the compute that the task names",
        )
    } else if kind == Client::Connect && text.contains("UnknownIssuer") {
        Some(
            "if the workspace or a proxy before it has a private authority, the operator can name its certificate in SSL_CERT_FILE",
        )
    } else {
        None
    }
}

/// The error of a call, with what was being done in front.
pub(crate) fn from_client(doing: &str, error: databricks_client::Error) -> Error {
    let hint = hint_of(&error);
    let translated = Error::new(kind_of(error.kind()), format!("{doing} failed"))
        .with_retry_after(error.retry_after())
        .with_source(error);
    match hint {
        Some(hint) => translated.with_hint(hint),
        None => translated,
    }
}

/// The error of a call with its causes and what to do next, in one line.
pub(crate) fn told(error: &databricks_client::Error) -> String {
    let text = with_causes(error);
    match hint_of(error) {
        Some(hint) => format!("{}; {hint}", text.trim_end_matches('.')),
        None => text,
    }
}

/// The error and its causes in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_client_has_a_kind_of_its_own_choice() {
        for kind in Client::ALL {
            assert_ne!(kind_of(kind), ErrorKind::Internal, "{kind:?} is in no row of the table");
        }
    }
}
