//! A token of another identity provider, which is exchanged for a Databricks token. Read again for each exchange, since
//! a projected token is replaced while the process runs (databricks-api.md#oauth).

use std::{fmt, fs::File, io::Read as _, path::PathBuf, sync::Arc};

use secrecy::SecretString;

use super::secret::clean_secret;
use crate::{Error, ErrorKind};

/// The maximum length of a token, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Looks up an environment variable: `std::env::var`, except in tests.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The location of a token.
#[derive(Clone)]
pub enum SubjectToken {
    /// A file, such as a projected token of a Kubernetes service account.
    File(PathBuf),
    /// The name of an environment variable, and its lookup.
    Variable(String, Environment),
}

impl SubjectToken {
    /// Reads the current token.
    ///
    /// # Errors
    ///
    /// `Unavailable`, which is transient, if the token is absent or empty: a file may be mounted later.
    pub(super) fn read(&self) -> Result<SecretString, Error> {
        let unavailable = |why: &str| {
            Error::new(ErrorKind::Unavailable, format!("{self:?} {why}")).before_sending()
        };
        let text = match self {
            // Blocking: a mounted token is a small file in memory.
            Self::File(path) => {
                let mut text = String::new();
                let read = File::open(path)
                    .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
                read.map_err(|error| unavailable(&format!("cannot be read: {error}")))?;
                if text.len() as u64 > MAX_BYTES {
                    return Err(unavailable("is too long for a token"));
                }
                text
            }
            Self::Variable(name, environment) => {
                environment(name).ok_or_else(|| unavailable("is not set"))?
            }
        };
        clean_secret(&text).ok_or_else(|| unavailable("is empty"))
    }
}

impl fmt::Debug for SubjectToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the token file {}", path.display()),
            Self::Variable(name, _) => write!(f, "the variable {name}"),
        }
    }
}
