//! How a call proves itself.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// The shortest secret that is looked for in answers, in bytes.
const MIN_SECRET: usize = 6;

/// How calls prove themselves, under a name that an operator recognises. `Debug` shows the name alone.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    name: String,
    kind: Kind,
}

enum Kind {
    PersonalAccessToken(SecretString),
}

impl Credentials {
    /// A personal access token, or any other bearer token that does not change.
    pub fn personal_access_token(name: impl Into<String>, token: SecretString) -> Self {
        Self(Arc::new(Inner { name: name.into(), kind: Kind::PersonalAccessToken(token) }))
    }

    /// The name, such as `the task's secret`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The same number for the same secret, by a key that never leaves the process.
    pub(crate) fn identity(&self, key: &RandomState) -> u64 {
        let Kind::PersonalAccessToken(token) = &self.0.kind;
        key.hash_one(token.expose_secret())
    }

    /// The word for the user agent (DA §4.2).
    pub(crate) fn auth_type(&self) -> &'static str {
        match self.0.kind {
            Kind::PersonalAccessToken(_) => "pat",
        }
    }

    /// The value of the `Authorization` header, marked sensitive. None when the token has characters that no header
    /// may hold.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        let Kind::PersonalAccessToken(token) = &self.0.kind;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The text without the secret: a proxy may send back what it was sent.
    pub(crate) fn redact(&self, text: &str) -> String {
        let Kind::PersonalAccessToken(token) = &self.0.kind;
        // A few characters stand in any text by chance.
        match token.expose_secret() {
            secret if secret.len() < MIN_SECRET => text.to_owned(),
            secret => text.replace(secret, "[redacted]"),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("name", &self.0.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(token: &str) -> Credentials {
        Credentials::personal_access_token("mine", token.to_owned().into())
    }

    #[test]
    fn debug_shows_the_name_alone() {
        assert_eq!(format!("{:?}", credentials("dapi-1")), r#"Credentials { name: "mine", .. }"#);
    }

    #[test]
    fn the_header_is_sensitive_and_refuses_line_ends() {
        let header = credentials("dapi-1").authorization().unwrap();
        assert_eq!((header.as_bytes(), header.is_sensitive()), (&b"Bearer dapi-1"[..], true));
        assert!(credentials("dapi-1\nx: y").authorization().is_none());
    }

    #[test]
    fn an_echoed_secret_is_not_shown() {
        assert_eq!(
            credentials("dapi-1").redact("got dapi-1, dapi-1"),
            "got [redacted], [redacted]"
        );
        assert_eq!(credentials("").redact("got"), "got");
    }
}
