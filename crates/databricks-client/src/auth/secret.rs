//! Cleaning of secrets that users and operators provide.

use secrecy::SecretString;

/// Removes whitespace around a secret. None if nothing is left. Files and Kubernetes Secrets often end with a line
/// break, which a header cannot contain.
pub fn clean_secret(text: &str) -> Option<SecretString> {
    let text = text.trim();
    (!text.is_empty()).then(|| SecretString::from(text.to_owned()))
}
