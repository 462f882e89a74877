//! The files of a driver, wherever they are delivered to.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use databricks_client::{Client, Error, ErrorKind};
use tracing::Instrument as _;

use super::{destination::Destination, rotation::Listed};
use crate::task_files::{self, LogFiles, Looked, Looking, S3Folder};

/// Why files could not be looked at.
#[derive(Debug)]
pub(super) enum Trouble {
    /// For a cause that passes.
    Passing,
    /// Until somebody mends something; in words.
    Lasting(String),
}

/// One folder.
#[derive(Debug)]
pub(super) enum Folder<'a> {
    Dbfs(&'a Client, String),
    Volume(&'a Client, String),
    S3(Arc<dyn LogFiles>, S3Folder, Option<Instant>),
}

impl<'a> Folder<'a> {
    pub(super) fn new(
        destination: Destination,
        client: &'a Client,
        files: &Arc<dyn LogFiles>,
        deadline: Option<Instant>,
    ) -> Self {
        match destination {
            Destination::Dbfs(path) => Self::Dbfs(client, path),
            Destination::Volume(path) => Self::Volume(client, path),
            Destination::S3 { url, region } => {
                Self::S3(Arc::clone(files), S3Folder { url, region }, deadline)
            }
        }
    }

    /// Its files. A folder that is not there has none yet.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, Trouble> {
        let listed = |name: &str, size: Option<i64>, modified: Option<i64>| Listed {
            name: name.to_owned(),
            size: size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            modified: modified.unwrap_or(0),
        };
        match self {
            Self::Dbfs(client, path) => {
                let files = client.list_dbfs(path).await.map_err(trouble)?.unwrap_or_default();
                let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
                let files = files.into_iter().filter(|file| !file.is_dir);
                Ok(files
                    .map(|file| listed(&name(&file.path), file.file_size, file.modification_time))
                    .collect())
            }
            Self::Volume(client, path) => {
                let files = client.list_volume(path).await.map_err(trouble)?.unwrap_or_default();
                let files = files.into_iter().filter(|file| !file.is_directory);
                Ok(files
                    .map(|file| listed(&file.name, file.file_size, file.last_modified))
                    .collect())
            }
            Self::S3(files, folder, deadline) => {
                let span = task_files::span("list", &folder.url);
                let files = looked(files.list(folder), *deadline).instrument(span).await?;
                let files = files.unwrap_or_default();
                Ok(files
                    .into_iter()
                    .map(|file| Listed {
                        name: file.name,
                        size: file.size,
                        modified: file.modified,
                    })
                    .collect())
            }
        }
    }

    /// A part of a file, shorter at its end; none when there is no such file.
    pub(super) async fn read(
        &self,
        name: &str,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>, Trouble> {
        match self {
            Self::Dbfs(client, path) => {
                let file = format!("{path}/{name}");
                let part = client.read_dbfs(&file, offset, length).await.map_err(trouble)?;
                Ok(part.map(Vec::from))
            }
            Self::Volume(client, path) => {
                let file = format!("{path}/{name}");
                let part = client.read_volume_file(&file, offset, length).await.map_err(trouble)?;
                Ok(part.map(Vec::from))
            }
            Self::S3(files, folder, deadline) => {
                let span = task_files::span("read", &format!("{}/{name}", folder.url));
                looked(files.read_part(folder, name, offset, length), *deadline)
                    .instrument(span)
                    .await
            }
        }
    }
}

/// Whether a failure passes by itself. An answer that is not the API's comes from something between us and the
/// workspace.
pub(super) fn passes(error: &Error) -> bool {
    error.is_retryable() || error.kind() == ErrorKind::Decode
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn trouble(error: Error) -> Trouble {
    if passes(&error) { Trouble::Passing } else { Trouble::Lasting(error.to_string()) }
}

/// Looks for no longer than the caller waits; what the caller has by then is told.
async fn looked<T>(
    looking: Looking<'_, T>,
    deadline: Option<Instant>,
) -> Result<Option<T>, Trouble> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    match tokio::time::timeout(left.unwrap_or(Duration::MAX), looking).await {
        Ok(Looked::Found(found)) => Ok(Some(found)),
        Ok(Looked::Absent) => Ok(None),
        Ok(Looked::Passing(_)) | Err(_) => Err(Trouble::Passing),
        Ok(Looked::Lasting(why)) => Err(Trouble::Lasting(why)),
    }
}
