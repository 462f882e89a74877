//! The folder of a driver's log files, in DBFS, a volume or S3.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use databricks_client::{Client, Error};
use tracing::Instrument as _;

use super::session::is_transient;
use crate::known_clusters::Destination;
use task_storage::{LogFile, LogStorage, S3Folder, StorageError, StorageFuture};

/// The folder of one driver.
#[derive(Debug)]
pub(super) enum DriverFolder<'a> {
    Dbfs(&'a Client, String),
    Volume(&'a Client, String),
    S3(Arc<dyn LogStorage>, S3Folder, Option<Instant>),
}

impl<'a> DriverFolder<'a> {
    pub(super) fn new(
        destination: Destination,
        client: &'a Client,
        storage: &Arc<dyn LogStorage>,
        deadline: Option<Instant>,
    ) -> Self {
        match destination {
            Destination::Dbfs(path) => Self::Dbfs(client, path),
            Destination::Volume(path) => Self::Volume(client, path),
            Destination::S3 { url, region } => {
                Self::S3(Arc::clone(storage), S3Folder { url, region }, deadline)
            }
        }
    }

    /// Lists the files. A folder that does not exist is empty.
    pub(super) async fn list(&self) -> Result<Vec<LogFile>, StorageError> {
        let log_file = |name: &str, size: Option<i64>, modified: Option<i64>| LogFile {
            name: name.to_owned(),
            size: size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            modified: modified.unwrap_or(0),
        };
        match self {
            Self::Dbfs(client, path) => {
                let files = client.list_dbfs(path).await.map_err(storage_error)?;
                let files = files.unwrap_or_default().into_iter().filter(|file| !file.is_dir);
                let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
                Ok(files
                    .map(|file| log_file(&name(&file.path), file.file_size, file.modification_time))
                    .collect())
            }
            Self::Volume(client, path) => {
                let files = client.list_volume(path).await.map_err(storage_error)?;
                let files = files.unwrap_or_default().into_iter().filter(|file| !file.is_directory);
                Ok(files
                    .map(|file| log_file(&file.name, file.file_size, file.last_modified))
                    .collect())
            }
            Self::S3(storage, folder, deadline) => {
                let span = task_storage::span("list", &folder.url);
                within(storage.list(folder), *deadline).instrument(span).await
            }
        }
    }

    /// Reads part of a file; shorter at its end. Returns `None` if the file does not exist.
    pub(super) async fn read(
        &self,
        name: &str,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        match self {
            Self::Dbfs(client, path) => {
                let file = format!("{path}/{name}");
                let part = client.read_dbfs(&file, offset, length).await.map_err(storage_error)?;
                Ok(part.map(Vec::from))
            }
            Self::Volume(client, path) => {
                let file = format!("{path}/{name}");
                let part = client.read_volume_file(&file, offset, length).await;
                Ok(part.map_err(storage_error)?.map(Vec::from))
            }
            Self::S3(storage, folder, deadline) => {
                let span = task_storage::span("read", &format!("{}/{name}", folder.url));
                let read = storage.read_range(folder, name, offset, length);
                within(read, *deadline).instrument(span).await
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of `map_err`")]
fn storage_error(error: Error) -> StorageError {
    let is_transient = is_transient(&error);
    let message = error.to_string();
    if is_transient { StorageError::Transient(message) } else { StorageError::Permanent(message) }
}

/// Bounds a read by the caller's deadline, so that the lines read so far are still returned.
async fn within<T>(
    read: StorageFuture<'_, T>,
    deadline: Option<Instant>,
) -> Result<T, StorageError> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    tokio::time::timeout(left.unwrap_or(Duration::MAX), read)
        .await
        .unwrap_or_else(|_elapsed| Err(StorageError::Transient("deadline exceeded".to_owned())))
}
