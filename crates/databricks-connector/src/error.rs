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
    if error.is_address_rejected() {
        Some(
            "let a workspace admin add the connector's outgoing address to the IP access lists of the workspace and the account",
        )
    } else if error.is_token_denied() {
        Some("check id and secret of the credential, and that its principal may use this workspace")
    } else if error.is_token_rejected() {
        Some(
            "check that the token is valid for this workspace and has not expired; \
             an address that several workspaces share needs its `?o=<workspace id>`",
        )
    } else if let Some(hint) = hint_of_job(error.api_message().unwrap_or_default()) {
        Some(hint)
    } else if kind == Client::Forbidden {
        Some(
            "give the token's principal permission to run jobs and to use the compute that the task names",
        )
    } else if kind == Client::NotFound && error.api_code().is_none() {
        Some("check the address of the workspace, and that the workspace is active")
    } else if kind == Client::Connect && error.to_string().contains("UnknownIssuer") {
        Some(
            "if the workspace or a proxy in front of it uses a private certificate authority, the operator can name its certificate in SSL_CERT_FILE",
        )
    } else {
        None
    }
}

/// Returns the remedy for what Databricks says about a job that it refused, before or after its start: it names what the
/// connector added to the job.
pub(crate) fn hint_of_job(message: &str) -> Option<&'static str> {
    let message = message.to_ascii_lowercase();
    let has = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    let mut words = message.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let is_about_tags = words.any(|word| matches!(word, "tag" | "tags" | "custom_tags"));
    if is_about_tags && message.contains("flyte_") {
        Some(
            "the connector adds the tags `flyte_…` to new clusters: allow them in the policy, or let the operator start it with `--no-cluster-tags`",
        )
    } else if has(&["docker", "container service", "custom container", "container image"]) {
        Some(
            "check `docker_image` of `new_cluster` and its login; for a workspace, runtime, access mode or machine that takes no \
             image, set `docker_image` to `None` and add `flyte` to `libraries`",
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
