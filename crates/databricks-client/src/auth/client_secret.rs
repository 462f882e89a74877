//! The secret of a service principal: a constant, or a file that a rotation replaces.

use std::{
    fmt,
    hash::{Hash, Hasher},
    path::PathBuf,
};

use secrecy::{ExposeSecret as _, SecretString};

use super::SubjectToken;
use crate::Error;

/// The secret of a service principal. `Debug` does not show it.
#[derive(Clone)]
pub struct ClientSecret(Source);

#[derive(Clone)]
enum Source {
    Constant(SecretString),
    File(SubjectToken),
}

impl ClientSecret {
    /// Returns a secret in a file, which is read for each token request. Whitespace around it is ignored.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(SubjectToken::File(path.into())))
    }

    /// Reads the current secret.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the file is absent or empty.
    pub(super) fn read(&self) -> Result<SecretString, Error> {
        match &self.0 {
            Source::Constant(secret) => Ok(secret.clone()),
            Source::File(file) => file.read(),
        }
    }
}

impl From<SecretString> for ClientSecret {
    fn from(secret: SecretString) -> Self {
        Self(Source::Constant(secret))
    }
}

/// Secrets in files are identified by their path, not by their content.
impl Hash for ClientSecret {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        match &self.0 {
            Source::Constant(secret) => secret.expose_secret().hash(hasher),
            Source::File(file) => format!("{file:?}").hash(hasher),
        }
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Constant(_) => f.write_str("a client secret"),
            Source::File(file) => write!(f, "{file:?}"),
        }
    }
}
