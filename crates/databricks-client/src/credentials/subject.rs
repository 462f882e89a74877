//! A token of somebody else's that is exchanged for one of Databricks: read again each time it is needed, because a
//! projected token is replaced while the process runs (DA §4.5).

use std::{fmt, fs::File, io::Read as _, path::PathBuf};

use secrecy::SecretString;

use super::environment::Environment;
use crate::{Error, ErrorKind};

/// The largest token that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Where the token comes from.
#[derive(Clone)]
pub enum SubjectToken {
    /// A file, such as a projected token of a Kubernetes service account.
    File(PathBuf),
    /// An environment variable, by its name, and what reads it.
    Variable(String, Environment),
}

impl SubjectToken {
    /// The token as it is now.
    ///
    /// # Errors
    ///
    /// `Unavailable` when it is not there or empty: it may come, as a mounted file does.
    pub(super) fn read(&self) -> Result<SecretString, Error> {
        let missing = |why: String| Error::new(ErrorKind::Unavailable, why).before_sending();
        let text = match self {
            // A mounted file is small and in memory, so that reading it holds nobody up.
            Self::File(path) => {
                let mut text = String::new();
                let read = File::open(path)
                    .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
                read.map_err(|error| missing(format!("{self:?} cannot be read: {error}")))?;
                if text.len() as u64 > MAX_BYTES {
                    return Err(missing(format!("{self:?} is longer than a token may be")));
                }
                text
            }
            Self::Variable(name, read) => {
                read(name).ok_or_else(|| missing(format!("the variable {name} is not set")))?
            }
        };
        match text.trim() {
            "" => Err(missing(format!("{self:?} is empty"))),
            token => Ok(SecretString::from(token.to_owned())),
        }
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
