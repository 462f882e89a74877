//! Removal of secrets from texts: a proxy may echo what it was sent.

/// The shortest secret that is removed, in bytes. Shorter ones occur in ordinary text.
const MIN_LENGTH: usize = 6;

/// Replaces each secret in the text.
pub(super) fn redact<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    secrets
        .into_iter()
        .filter(|secret| secret.len() >= MIN_LENGTH)
        .fold(text.to_owned(), |text, secret| text.replace(secret, "[redacted]"))
}
