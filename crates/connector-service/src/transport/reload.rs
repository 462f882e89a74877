//! What is made from files, and made anew when they change.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tracing::{error, info};

use crate::config_error::ConfigError;

/// A file, and the flag that names it.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) flag: &'static str,
    pub(super) path: PathBuf,
}

impl Source {
    /// The file cannot be used, because of that.
    pub(super) fn refused(&self, why: impl std::fmt::Display) -> ConfigError {
        ConfigError::new(self.flag, format!("{} {why}", self.path.display()))
    }

    fn read(&self) -> Result<SecretSlice<u8>, ConfigError> {
        std::fs::read(&self.path)
            .map(SecretSlice::from)
            .map_err(|error| self.refused("cannot be read").with_source(error))
    }
}

/// Makes it from the files, in the order of the sources.
type Make<T> = fn(&[(Source, SecretSlice<u8>)]) -> Result<T, ConfigError>;

/// A value made from files. What cannot be used is told and the value before it is kept.
pub(super) struct Reloading<T> {
    sources: Vec<Source>,
    make: Make<T>,
    current: watch::Sender<Arc<T>>,
    /// What the last try was made of; none when a file could not be read. A fault is told once, not at each look.
    tried: Mutex<Option<[u8; 32]>>,
}

impl<T> Reloading<T> {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] that names the flag and the file.
    pub(super) fn open(sources: Vec<Source>, make: Make<T>) -> Result<Self, ConfigError> {
        let read = read(sources.iter())?;
        let current = watch::Sender::new(Arc::new(make(&read)?));
        Ok(Self { sources, make, current, tried: Mutex::new(Some(digest(&read))) })
    }

    /// The value of the newest files that could be used.
    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.borrow())
    }

    /// Looks whether the files have changed, and makes the value anew if so. Their content counts, not their time:
    /// Kubernetes changes a mounted secret by moving a link.
    fn look(&self) {
        let read = read(self.sources.iter());
        let now = read.as_ref().ok().map(|read| digest(read));
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if *tried == now {
            return;
        }
        *tried = now;
        let files =
            self.sources.iter().map(|source| source.path.display().to_string()).collect::<Vec<_>>();
        match read.and_then(|read| (self.make)(&read)) {
            Ok(made) => {
                self.current.send_replace(Arc::new(made));
                info!(files = files.join(", "), "changed files were read");
            }
            Err(error) => {
                let error = crate::error_chain::error_chain(&error);
                error!(error, "changed files cannot be used: what was read before stays in use");
            }
        }
    }

    /// Looks again and again.
    pub(super) async fn follow(self: Arc<Self>, every: Duration)
    where
        T: Send + Sync + 'static,
    {
        loop {
            tokio::time::sleep(every).await;
            let this = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || this.look()).await {
                error!(%error, "files are no longer looked at for changes");
                return;
            }
        }
    }
}

impl<T> std::fmt::Debug for Reloading<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloading").field("sources", &self.sources).finish_non_exhaustive()
    }
}

fn read<'a>(
    sources: impl Iterator<Item = &'a Source>,
) -> Result<Vec<(Source, SecretSlice<u8>)>, ConfigError> {
    sources.map(|source| Ok((source.clone(), source.read()?))).collect()
}

fn digest(read: &[(Source, SecretSlice<u8>)]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for (_, bytes) in read {
        // Each by itself, so that no byte can move from one file to the next unseen.
        digest.update(Sha256::digest(bytes.expose_secret()));
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A number in a file.
    fn number(read: &[(Source, SecretSlice<u8>)]) -> Result<u32, ConfigError> {
        let (source, bytes) = &read[0];
        let text = String::from_utf8_lossy(bytes.expose_secret()).into_owned();
        text.parse().map_err(|error| source.refused("is no number").with_source(error))
    }

    #[test]
    fn a_change_is_taken_and_a_bad_one_keeps_the_old() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number");
        fs::write(&path, "1").unwrap();
        let source = Source { flag: "--number", path: path.clone() };
        let reloading = Reloading::open(vec![source], number).unwrap();
        for (content, expected) in [(Some("2"), 2), (Some("x"), 2), (None, 2), (Some("3"), 3)] {
            match content {
                Some(content) => fs::write(&path, content).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            reloading.look();
            assert_eq!(*reloading.current(), expected, "{content:?}");
        }
    }

    #[test]
    fn a_start_without_the_file_names_flag_and_file() {
        let source = Source { flag: "--number", path: "/nowhere/number".into() };
        let error = Reloading::open(vec![source], number).unwrap_err();
        assert_eq!(error.to_string(), "--number: /nowhere/number cannot be read");
    }
}
