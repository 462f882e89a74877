//! How a call proves itself.

use std::{fmt, sync::Arc};

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

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
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("name", &self.0.name).finish_non_exhaustive()
    }
}
