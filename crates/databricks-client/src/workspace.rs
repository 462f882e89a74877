//! Files in a workspace, and who the caller is (DA §10.1).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use crate::{
    Client, Error, ErrorKind,
    request::{Endpoint, Request},
};

/// Who the credential belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Me {
    /// A mail address, or the application id of a service principal; the name of its home folder.
    #[serde(rename = "userName")]
    pub user_name: String,
}

/// What is at a path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct WorkspaceObject {
    /// Such as `FILE`, `NOTEBOOK`, `DIRECTORY`.
    pub object_type: Option<String>,
    /// Its path.
    pub path: Option<String>,
}

#[derive(Deserialize)]
struct Exported {
    #[serde(default)]
    content: String,
}

impl Client {
    /// Who the credential belongs to.
    ///
    /// # Errors
    ///
    /// [`Error`] as its kinds say.
    pub async fn me(&self) -> Result<Me, Error> {
        self.call(&Request::get(Endpoint::Fixed("/api/2.0/preview/scim/v2/Me"), &[])).await
    }

    /// What is at a path; none when nothing is there.
    ///
    /// # Errors
    ///
    /// [`Error`] as its kinds say.
    pub async fn get_workspace_status(&self, path: &str) -> Result<Option<WorkspaceObject>, Error> {
        let query = [("path", path.to_owned())];
        match self
            .call(&Request::get(Endpoint::Fixed("/api/2.0/workspace/get-status"), &query))
            .await
        {
            Ok(object) => Ok(Some(object)),
            // A gateway's 404 has another code.
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    && error.api_code() == Some("RESOURCE_DOES_NOT_EXIST") =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a folder and those above it. One that is there already is no error.
    ///
    /// # Errors
    ///
    /// [`Error`] as its kinds say.
    pub async fn make_workspace_directory(&self, path: &str) -> Result<(), Error> {
        let request =
            Request::post(Endpoint::Fixed("/api/2.0/workspace/mkdirs"), &json!({ "path": path }))?;
        self.send(&request.safe_if(true)).await.map(|_answer| ())
    }

    /// Writes a file of at most 10 MB into a folder that is there. The same content, sent again, is the same file.
    ///
    /// # Errors
    ///
    /// [`Error`]; `Conflict` or `Invalid` when something is there and `overwrite` is off.
    pub async fn import_workspace_file(
        &self,
        path: &str,
        content: &[u8],
        overwrite: bool,
    ) -> Result<(), Error> {
        // `AUTO` makes a file of a file; `SOURCE` would make a notebook, which a Python task cannot run.
        let body = json!({ "path": path, "format": "AUTO", "content": STANDARD.encode(content), "overwrite": overwrite });
        let request = Request::post(Endpoint::Fixed("/api/2.0/workspace/import"), &body)?;
        self.send(&request.safe_if(overwrite)).await.map(|_answer| ())
    }

    /// The content of a file.
    ///
    /// # Errors
    ///
    /// [`Error`]; `Decode` when the content is not base64.
    pub async fn export_workspace_file(&self, path: &str) -> Result<Bytes, Error> {
        let query = [("path", path.to_owned()), ("format", "AUTO".to_owned())];
        let exported: Exported =
            self.call(&Request::get(Endpoint::Fixed("/api/2.0/workspace/export"), &query)).await?;
        STANDARD.decode(exported.content).map(Bytes::from).map_err(|invalid| {
            Error::new(ErrorKind::Decode, "the file's content is not base64").with_source(invalid)
        })
    }
}
