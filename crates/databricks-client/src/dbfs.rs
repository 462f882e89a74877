//! Files of DBFS: what is in a folder, and parts of a file (DA §1.11).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Deserialize;

use crate::{
    Client, Error, ErrorKind, int64,
    request::{Endpoint, Request},
};

/// The longest part that one read gives, in bytes.
pub const MAX_READ_BYTES: usize = 1_000_000;

/// One file or folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DbfsFile {
    /// Its path, from `/`.
    pub path: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Its length in bytes.
    #[serde(deserialize_with = "int64::optional")]
    pub file_size: Option<i64>,
    /// When it was written, in milliseconds since the epoch.
    #[serde(deserialize_with = "int64::optional")]
    pub modification_time: Option<i64>,
}

#[derive(Deserialize)]
struct Listing {
    #[serde(default, deserialize_with = "crate::jobs::null_as_default")]
    files: Vec<DbfsFile>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    data: String,
}

impl Client {
    /// What is in a folder, or the file itself; none when nothing is there. The path has no `dbfs:` in front.
    ///
    /// # Errors
    ///
    /// [`Error`] as its kinds say.
    pub async fn list_dbfs(&self, path: &str) -> Result<Option<Vec<DbfsFile>>, Error> {
        let query = [("path", path.to_owned())];
        let request = Request::get(Endpoint::Fixed("/api/2.0/dbfs/list"), &query);
        there(self.call::<Listing>(&request).await).map(|listing| listing.map(|list| list.files))
    }

    /// The bytes of a file from `offset` on, at most `length` and at most [`MAX_READ_BYTES`]: fewer at its end, none
    /// behind it. None when there is no such file.
    ///
    /// # Errors
    ///
    /// [`Error`]; `Invalid` for a folder, `Decode` when the content is not base64.
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
        let Some(part) = there(self.call::<Part>(&request).await)? else { return Ok(None) };
        STANDARD.decode(part.data).map(|data| Some(Bytes::from(data))).map_err(|invalid| {
            Error::new(ErrorKind::Decode, "the part of the file is not base64").with_source(invalid)
        })
    }
}

/// An answer, or none when the workspace itself says that nothing is at the path; a gateway's 404 has another code.
pub(crate) fn there<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error)
            if error.kind() == ErrorKind::NotFound
                && matches!(error.api_code(), Some("RESOURCE_DOES_NOT_EXIST" | "NOT_FOUND")) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
