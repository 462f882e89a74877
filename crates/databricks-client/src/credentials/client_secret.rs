//! The secret of a service principal: given once, or in a file that a rotation replaces.

use std::{
    fmt,
    hash::{Hash, Hasher},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use secrecy::{ExposeSecret as _, SecretString};

use super::SubjectToken;
use crate::Error;

/// The secret of a service principal. `Debug` does not show it.
#[derive(Clone)]
pub struct ClientSecret(Source);

#[derive(Clone)]
enum Source {
    Given(SecretString),
    /// Read at each exchange; the last one is remembered, so that an answer that echoes it is not shown.
    File {
        file: SubjectToken,
        last: Arc<Mutex<Option<SecretString>>>,
    },
}

impl ClientSecret {
    /// A secret in a file, read again each time that a token is minted. Blanks around it do not count.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File { file: SubjectToken::File(path.into()), last: Arc::default() })
    }

    /// The secret as it is now.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the file is not there or empty.
    pub(super) fn read(&self) -> Result<SecretString, Error> {
        match &self.0 {
            Source::Given(secret) => Ok(secret.clone()),
            Source::File { file, last } => {
                let secret = file.read()?;
                *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(secret.clone());
                Ok(secret)
            }
        }
    }

    /// The secret that was sent, if one was.
    pub(super) fn known(&self) -> Option<SecretString> {
        match &self.0 {
            Source::Given(secret) => Some(secret.clone()),
            Source::File { last, .. } => {
                last.lock().unwrap_or_else(PoisonError::into_inner).clone()
            }
        }
    }
}

impl From<SecretString> for ClientSecret {
    fn from(secret: SecretString) -> Self {
        Self(Source::Given(secret))
    }
}

/// One in a file is the same as long as the file is, whatever is in it.
impl Hash for ClientSecret {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        match &self.0 {
            Source::Given(secret) => secret.expose_secret().hash(hasher),
            Source::File { file, .. } => format!("{file:?}").hash(hasher),
        }
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Given(_) => f.write_str("a client secret"),
            Source::File { file, .. } => write!(f, "{file:?}"),
        }
    }
}
