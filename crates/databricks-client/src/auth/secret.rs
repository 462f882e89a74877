//! Cleaning of secrets that users and operators provide, and their removal from texts: a proxy may echo what it was
//! sent.

use secrecy::SecretString;

/// The shortest secret that is removed, in bytes. Shorter ones occur in ordinary text.
const MIN_LENGTH: usize = 6;

/// Removes whitespace around a secret. None if nothing is left. Files and Kubernetes Secrets often end with a line
/// break, which a header cannot contain.
pub fn clean_secret(text: &str) -> Option<SecretString> {
    let text = text.trim();
    (!text.is_empty()).then(|| SecretString::from(text.to_owned()))
}

/// Replaces each secret in the text.
pub(super) fn redact<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    secrets
        .into_iter()
        .filter(|secret| secret.len() >= MIN_LENGTH)
        .fold(text.to_owned(), |text, secret| text.replace(secret, "[redacted]"))
}
