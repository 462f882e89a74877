//! The DBFS API: listings of folders and ranges of files (databricks-api.md#dbfs-read).

use bytes::Bytes;

use crate::{
    Client, Error,
    api::{
        json::{self, read_objects, readable},
        not_found::{FILE_NOT_FOUND, none_if_absent},
    },
    http::request::{Endpoint, Request},
};

/// The largest range that one read returns, in bytes.
pub const MAX_READ_BYTES: usize = 1_000_000;

/// A file or folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DbfsFile {
    /// The absolute path.
    pub path: String,
    /// Whether this is a folder.
    pub is_dir: bool,
    /// The size in bytes.
    pub file_size: Option<i64>,
    /// The modification time, in milliseconds since the epoch.
    pub modification_time: Option<i64>,
}

#[derive(Default)]
struct Listing {
    files: Vec<DbfsFile>,
}

#[derive(Default)]
struct Content {
    data: String,
}

read_objects! {
    DbfsFile { path, is_dir, file_size, modification_time }
    Listing { files }
    Content { data }
}
readable!(DbfsFile, Listing, Content);

impl Client {
    /// Lists a folder, or returns the file itself. None if the path does not exist. The path has no `dbfs:` prefix.
    pub async fn list_dbfs(&self, path: &str) -> Result<Option<Vec<DbfsFile>>, Error> {
        let query = [("path", path.to_owned())];
        let request = Request::get(Endpoint::Fixed("/api/2.0/dbfs/list"), &query);
        let listing = none_if_absent(self.call::<Listing>(&request).await, FILE_NOT_FOUND)?;
        Ok(listing.map(|listing| listing.files))
    }

    /// Reads a range of a file, of at most [`MAX_READ_BYTES`]. Fewer bytes at the end of the file, and none after it.
    /// None if the file does not exist.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). `Invalid` for a folder, `Decode` if the content is not base64.
    pub async fn read_dbfs(
        &self,
        path: &str,
        offset: u64,
        length: usize,
    ) -> Result<Option<Bytes>, Error> {
        let query = [
            ("path", path.to_owned()),
            ("offset", offset.to_string()),
            ("length", length.min(MAX_READ_BYTES).to_string()),
        ];
        let request = Request::get(Endpoint::Fixed("/api/2.0/dbfs/read"), &query);
        let content = none_if_absent(self.call::<Content>(&request).await, FILE_NOT_FOUND)?;
        content.map(|content| json::file_content(&content.data)).transpose()
    }
}
