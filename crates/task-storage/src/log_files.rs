//! Log files in S3: listing a folder, and reading a range of a file.

use std::{fmt, time::Duration};

use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore as _, path::Path};

use crate::{
    REQUEST_TIMEOUT, StorageFuture,
    object_stores::{ObjectStores, found, within},
};

/// Listing a folder with many files takes several requests.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

/// A folder in an S3 bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Folder {
    /// URL, `s3://bucket/key`, without a trailing slash.
    pub url: String,
    /// The bucket's region; the environment's if absent.
    pub region: Option<String>,
}

/// A file in a folder of logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFile {
    /// Name within the folder.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last modification, in milliseconds since the epoch.
    pub modified: i64,
}

/// Reads log files.
pub trait LogStorage: fmt::Debug + Send + Sync {
    /// Lists the files of a folder. A folder that does not exist is empty.
    fn list<'a>(&'a self, folder: &'a S3Folder) -> StorageFuture<'a, Vec<LogFile>>;

    /// Reads at most `length` bytes from `offset`; fewer at the end of the file. Returns `None` if it does not exist.
    fn read_range<'a>(
        &'a self,
        folder: &'a S3Folder,
        name: &'a str,
        offset: u64,
        length: usize,
    ) -> StorageFuture<'a, Option<Vec<u8>>>;
}

impl LogStorage for ObjectStores {
    fn list<'a>(&'a self, folder: &'a S3Folder) -> StorageFuture<'a, Vec<LogFile>> {
        Box::pin(async move {
            let (store, path) = self.open(&folder.url, folder.region.as_deref())?;
            let list = store.list_with_delimiter(Some(&path));
            let listed = within(LIST_TIMEOUT, "listing", &folder.url, list).await?;
            let objects = found(&folder.url, listed)?.map(|listed| listed.objects);
            let log_file = |object: ObjectMeta| {
                Some(LogFile {
                    name: object.location.filename()?.to_owned(),
                    size: object.size,
                    modified: object.last_modified.timestamp_millis(),
                })
            };
            Ok(objects.unwrap_or_default().into_iter().filter_map(log_file).collect())
        })
    }

    fn read_range<'a>(
        &'a self,
        folder: &'a S3Folder,
        name: &'a str,
        offset: u64,
        length: usize,
    ) -> StorageFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let (store, path) = self.open(&folder.url, folder.region.as_deref())?;
            let path: Path = path.join(name);
            let url = format!("{}/{name}", folder.url);
            let range = GetRange::Bounded(offset..offset.saturating_add(length as u64));
            let options = GetOptions { range: Some(range), ..GetOptions::default() };
            let read = async { store.get_opts(&path, options).await?.bytes().await };
            Ok(found(&url, within(REQUEST_TIMEOUT, "reading", &url, read).await?)?
                .map(|bytes| bytes.to_vec()))
        })
    }
}
