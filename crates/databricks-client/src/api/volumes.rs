//! The Files API: listings of folders and ranges of files in Unity Catalog volumes (databricks-api.md#files-api).

use bytes::Bytes;

use crate::{
    Client, Error,
    api::{
        json::{read_objects, readable},
        not_found::{FILE_NOT_FOUND, none_if_absent},
    },
    http::request::{ByteRange, Endpoint, Request},
};

/// The largest number of pages of one folder that are read. A page has at most 1,000 names.
const MAX_PAGES: usize = 20;

/// A file or folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeFile {
    /// The name in the folder.
    pub name: String,
    /// Whether this is a folder.
    pub is_directory: bool,
    /// The size in bytes.
    pub file_size: Option<i64>,
    /// The modification time, in milliseconds since the epoch.
    pub last_modified: Option<i64>,
}

#[derive(Default)]
struct Listing {
    contents: Vec<VolumeFile>,
    next_page_token: Option<String>,
}

read_objects! {
    VolumeFile { name, is_directory, file_size, last_modified }
    Listing { contents, next_page_token }
}
readable!(VolumeFile, Listing);

impl Client {
    /// Lists a folder below `/Volumes`, up to 20,000 names. None if the folder does not exist.
    pub async fn list_volume(&self, path: &str) -> Result<Option<Vec<VolumeFile>>, Error> {
        let mut files = Vec::new();
        let mut query = vec![("page_size", "1000".to_owned())];
        for _ in 0..MAX_PAGES {
            let request =
                Request::get(Endpoint::Fixed("/api/2.0/fs/directories"), &query).with_path(path);
            let page = none_if_absent(self.call::<Listing>(&request).await, FILE_NOT_FOUND)?;
            let Some(page) = page else { return Ok(None) };
            files.extend(page.contents);
            let Some(token) = page.next_page_token.filter(|token| !token.is_empty()) else { break };
            query.truncate(1);
            query.push(("page_token", token));
        }
        Ok(Some(files))
    }

    /// Reads a range of a file below `/Volumes`. Fewer bytes at the end of the file, and none after it. None if the
    /// file does not exist.
    pub async fn read_volume_file(
        &self,
        path: &str,
        offset: u64,
        length: usize,
    ) -> Result<Option<Bytes>, Error> {
        let request = Request::get(Endpoint::Fixed("/api/2.0/fs/files"), &[])
            .with_path(path)
            .with_range(ByteRange { offset, length });
        none_if_absent(self.call_bytes(&request).await, FILE_NOT_FOUND)
    }
}
