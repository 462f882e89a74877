//! Translates the client's errors into the connector's, and renders errors as text. No other
//! module does.

#![deny(clippy::wildcard_enum_match_arm)]

use connector_core::{Error, ErrorKind};
use databricks_client::{ErrorKind as Client, error_chain};

/// Returns the core kind of a client kind. `docs/reference/errors.md` lists them.
pub(crate) fn kind_of(kind: Client) -> ErrorKind {
    match kind {
        // Databricks read the request and rejected its content.
        Client::Invalid => ErrorKind::InvalidTask,
        Client::Unauthenticated => ErrorKind::Unauthenticated,
        Client::Forbidden => ErrorKind::Forbidden,
        Client::RunNotFound | Client::NotFound => ErrorKind::NotFound,
        Client::Conflict | Client::Config => ErrorKind::FailedPrecondition,
        Client::RateLimited | Client::Throttled => ErrorKind::Exhausted,
        Client::Timeout => ErrorKind::DeadlineExceeded,
        // A response of another form comes from a proxy between the connector and the workspace.
        Client::Connect
        | Client::Unavailable
        | Client::HostDown
        | Client::Decode
        | Client::TooLarge => ErrorKind::Unavailable,
        // The enum is non-exhaustive across crates. A test covers every kind.
        _ => ErrorKind::Internal,
    }
}

/// Returns the remedy, where one is known.
fn hint_of(error: &databricks_client::Error) -> Option<&'static str> {
    let kind = error.kind();
    let text = error.to_string();
    // The 403 response to an unknown token contains this text (databricks-api.md#further-facts).
    if kind == Client::Unauthenticated || text.contains("Invalid access token") {
        Some("check that the token is valid for this workspace and has not expired")
    } else if kind == Client::Forbidden {
        Some(
            "give the token's principal permission to run jobs and to use the compute that the task names",
        )
    } else if kind == Client::NotFound && error.api_code().is_none() {
        Some("check the address of the workspace, and that the workspace is active")
    } else if kind == Client::Connect && text.contains("UnknownIssuer") {
        Some(
            "if the workspace or a proxy in front of it uses a private certificate authority, the operator can name its certificate in SSL_CERT_FILE",
        )
    } else {
        None
    }
}

/// Translates the error of a call. `action` names the call, such as `reading the run`.
pub(crate) fn from_client(action: &str, error: databricks_client::Error) -> Error {
    let hint = hint_of(&error);
    let translated = Error::new(kind_of(error.kind()), format!("{action} failed"))
        .with_retry_after(error.retry_after())
        .with_source(error);
    match hint {
        Some(hint) => translated.with_hint(hint),
        None => translated,
    }
}

/// Renders the error of a call with its causes and its hint in one line.
pub(crate) fn one_line(error: &databricks_client::Error) -> String {
    with_hint(error_chain(error), hint_of(error))
}

/// Appends a hint to a message.
pub(crate) fn with_hint(message: String, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{}; {hint}", message.trim_end_matches('.')),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_kind_is_mapped_explicitly() {
        for kind in Client::ALL {
            assert_ne!(kind_of(kind), ErrorKind::Internal, "{kind:?} is not in the table");
        }
    }
}
