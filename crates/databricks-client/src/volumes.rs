//! Files of Unity Catalog volumes: what is in a folder, and parts of a file (DA §1.12).

use bytes::Bytes;
use serde::Deserialize;

use crate::{
    Client, Error,
    dbfs::there,
    int64,
    request::{Endpoint, Request, Span},
};

/// Pages of one folder that are read; each holds at most 1,000 names.
const MAX_PAGES: usize = 20;

/// One file or folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct VolumeFile {
    /// Its name in its folder.
    pub name: String,
    /// Whether it is a folder.
    pub is_directory: bool,
    /// Its length in bytes.
    #[serde(deserialize_with = "int64::optional")]
    pub file_size: Option<i64>,
    /// When it was written, in milliseconds since the epoch.
    #[serde(deserialize_with = "int64::optional")]
    pub last_modified: Option<i64>,
}

#[derive(Deserialize)]
struct Listing {
    #[serde(default, deserialize_with = "crate::jobs::null_as_default")]
    contents: Vec<VolumeFile>,
    #[serde(default)]
    next_page_token: Option<String>,
}

impl Client {
    /// What is in a folder below `/Volumes`, its first 20,000 names; none when there is no such folder.
    ///
    /// # Errors
    ///
    /// [`Error`] as its kinds say.
    pub async fn list_volume(&self, path: &str) -> Result<Option<Vec<VolumeFile>>, Error> {
        let mut files = Vec::new();
        let mut query = vec![("page_size", "1000".to_owned())];
        for _ in 0..MAX_PAGES {
            let request =
                Request::get(Endpoint::Fixed("/api/2.0/fs/directories"), &query).below(path);
            let Some(page) = there(self.call::<Listing>(&request).await)? else { return Ok(None) };
            files.extend(page.contents);
            let Some(token) = page.next_page_token.filter(|token| !token.is_empty()) else { break };
            query.truncate(1);
            query.push(("page_token", token));
        }
        Ok(Some(files))
    }

    /// The bytes of a file below `/Volumes` from `offset` on, at most `length`: fewer at its end, none behind it. None
    /// when there is no such file.
    ///
    /// # Errors
    ///
    /// [`Error`] as its kinds say.
    pub async fn read_volume_file(
        &self,
        path: &str,
        offset: u64,
        length: usize,
    ) -> Result<Option<Bytes>, Error> {
        let request = Request::get(Endpoint::Fixed("/api/2.0/fs/files"), &[])
            .below(path)
            .part(Span { offset, length });
        there(self.bytes(&request).await)
    }
}
