//! Values parsed from files and reloaded when the files change: TLS configuration and caller tokens.

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
    /// Returns an error that names flag and file.
    pub(super) fn error(&self, reason: impl std::fmt::Display) -> ConfigError {
        ConfigError::new(self.flag, format!("{} {reason}", self.path.display()))
    }

    fn read(&self) -> Result<SecretSlice<u8>, ConfigError> {
        std::fs::read(&self.path)
            .map(SecretSlice::from)
            .map_err(|error| self.error("cannot be read").with_source(error))
    }
}

/// Parses the files, in the order of the sources.
type Parse<T> = fn(&[(Source, SecretSlice<u8>)]) -> Result<T, ConfigError>;

/// A value parsed from files. If changed files are invalid, logs an error and keeps the previous value.
pub(super) struct Reloading<T> {
    sources: Vec<Source>,
    parse: Parse<T>,
    current: watch::Sender<Arc<T>>,
    /// Digest of the files of the last attempt, so that an error is logged once. None if a file could not be read.
    attempted: Mutex<Option<[u8; 32]>>,
}

impl<T> Reloading<T> {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] that names the flag and the file.
    pub(super) fn open(sources: Vec<Source>, parse: Parse<T>) -> Result<Self, ConfigError> {
        let files = read(sources.iter())?;
        let current = watch::Sender::new(Arc::new(parse(&files)?));
        let attempted = Mutex::new(Some(digest(&files)));
        Ok(Self { sources, parse, current, attempted })
    }

    /// Returns the value of the latest valid files.
    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.borrow())
    }

    /// Reloads the value if the content of the files has changed. Modification times are unreliable: Kubernetes updates
    /// a mounted secret by moving a link.
    fn reload_if_changed(&self) {
        let files = read(self.sources.iter());
        let current = files.as_ref().ok().map(|files| digest(files));
        let mut attempted = self.attempted.lock().unwrap_or_else(PoisonError::into_inner);
        if *attempted == current {
            return;
        }
        *attempted = current;
        let paths =
            self.sources.iter().map(|source| source.path.display().to_string()).collect::<Vec<_>>();
        match files.and_then(|files| (self.parse)(&files)) {
            Ok(value) => {
                self.current.send_replace(Arc::new(value));
                info!(files = paths.join(", "), "changed files reloaded");
            }
            Err(error) => {
                let error = crate::error_chain::error_chain(&error);
                error!(error, "changed files are invalid; keeping the previous ones");
            }
        }
    }

    /// Checks the files at this interval. Never completes.
    pub(super) async fn reload(self: Arc<Self>, interval: Duration)
    where
        T: Send + Sync + 'static,
    {
        loop {
            tokio::time::sleep(interval).await;
            let this = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || this.reload_if_changed()).await
            {
                error!(%error, "files are no longer reloaded");
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

fn digest(files: &[(Source, SecretSlice<u8>)]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for (_, bytes) in files {
        // A digest per file, so that moving bytes between files changes the result.
        digest.update(Sha256::digest(bytes.expose_secret()));
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Parses a number.
    fn number(files: &[(Source, SecretSlice<u8>)]) -> Result<u32, ConfigError> {
        let (source, bytes) = &files[0];
        let text = String::from_utf8_lossy(bytes.expose_secret()).into_owned();
        text.parse().map_err(|error| source.error("is not a number").with_source(error))
    }

    #[test]
    fn invalid_change_keeps_the_previous_value() {
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
            reloading.reload_if_changed();
            assert_eq!(*reloading.current(), expected, "{content:?}");
        }
    }

    #[test]
    fn missing_file_is_reported_with_its_flag() {
        let source = Source { flag: "--number", path: "/nowhere/number".into() };
        let error = Reloading::open(vec![source], number).unwrap_err();
        assert_eq!(error.to_string(), "--number: /nowhere/number cannot be read");
    }
}
