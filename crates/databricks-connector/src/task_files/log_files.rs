//! Logs that clusters deliver to S3: what is in a folder, and parts of a file.

use std::{fmt, time::Duration};

use object_store::{GetOptions, GetRange, ObjectStore as _, path::Path};

use super::{
    Looked, Looking, ObjectStores,
    object_stores::{PATIENCE, refused},
};

/// Listing a folder of many files takes several requests.
const LIST_PATIENCE: Duration = Duration::from_secs(5);

/// A folder of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Folder {
    /// Its address, `s3://bucket/key`, without a final slash.
    pub url: String,
    /// The region of the bucket; none: the one of the environment.
    pub region: Option<String>,
}

/// A file of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFile {
    /// Its name in its folder.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// When it was written, in milliseconds since the epoch.
    pub modified: i64,
}

/// Where delivered logs are that the workspace itself does not hand out.
pub trait LogFiles: fmt::Debug + Send + Sync {
    /// The files of a folder. An empty folder may be absent.
    fn list<'a>(&'a self, folder: &'a S3Folder) -> Looking<'a, Vec<LogFile>>;

    /// At most so many bytes of a file from `offset` on: fewer at its end, none behind it.
    fn read_part<'a>(
        &'a self,
        folder: &'a S3Folder,
        name: &'a str,
        offset: u64,
        length: usize,
    ) -> Looking<'a, Vec<u8>>;
}

impl LogFiles for ObjectStores {
    fn list<'a>(&'a self, folder: &'a S3Folder) -> Looking<'a, Vec<LogFile>> {
        Box::pin(async move {
            let (store, path) = match self.find_in(&folder.url, folder.region.as_deref()) {
                Ok(found) => found,
                Err(why) => return Looked::Lasting(why),
            };
            match tokio::time::timeout(LIST_PATIENCE, store.list_with_delimiter(Some(&path))).await
            {
                Ok(Ok(listed)) => Looked::Found(
                    listed
                        .objects
                        .into_iter()
                        .filter_map(|object| {
                            Some(LogFile {
                                name: object.location.filename()?.to_owned(),
                                size: object.size,
                                modified: object.last_modified.timestamp_millis(),
                            })
                        })
                        .collect(),
                ),
                Ok(Err(error)) => refused(&folder.url, &error),
                Err(_elapsed) => Looked::Passing(format!("{} was not listed in time", folder.url)),
            }
        })
    }

    fn read_part<'a>(
        &'a self,
        folder: &'a S3Folder,
        name: &'a str,
        offset: u64,
        length: usize,
    ) -> Looking<'a, Vec<u8>> {
        Box::pin(async move {
            let (store, path) = match self.find_in(&folder.url, folder.region.as_deref()) {
                Ok(found) => found,
                Err(why) => return Looked::Lasting(why),
            };
            let path: Path = path.join(name);
            let range = GetRange::Bounded(offset..offset.saturating_add(length as u64));
            let options = GetOptions { range: Some(range), ..GetOptions::default() };
            let read = async { store.get_opts(&path, options).await?.bytes().await };
            match tokio::time::timeout(PATIENCE, read).await {
                Ok(Ok(bytes)) => Looked::Found(bytes.to_vec()),
                Ok(Err(error)) => refused(&format!("{}/{name}", folder.url), &error),
                Err(_elapsed) => {
                    Looked::Passing(format!("{}/{name} was not read in time", folder.url))
                }
            }
        })
    }
}
