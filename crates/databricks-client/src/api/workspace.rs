//! The Workspace API: files of a workspace, and the current user (databricks-api.md#workspace-files).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::json as object;

use crate::{
    Client, Error,
    api::{
        json::{self, Json, Read, read_fields, read_objects, readable},
        not_found::none_if_absent,
    },
    http::request::{Endpoint, Request},
};

/// The owner of the credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentUser {
    /// The e-mail address, or the application id of a service principal. Also the name of the home folder.
    pub user_name: String,
}

/// The response with the owner.
#[derive(Default)]
struct CurrentUserFields {
    user_name: Option<String>,
}

/// An object in the workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkspaceObject {
    /// The type, such as `FILE`, `NOTEBOOK` or `DIRECTORY`.
    pub object_type: Option<String>,
    /// The path.
    pub path: Option<String>,
}

#[derive(Default)]
struct Exported {
    content: String,
}

read_objects! {
    CurrentUserFields { user_name = "userName" }
    WorkspaceObject { object_type, path }
    Exported { content }
}
readable!(WorkspaceObject, Exported);

impl Read for CurrentUser {
    fn read(json: Json<'_>) -> Option<Self> {
        let user_name = read_fields::<CurrentUserFields>(json)?.user_name?;
        Some(Self { user_name })
    }
}

impl Client {
    /// Returns the owner of the credential.
    pub async fn me(&self) -> Result<CurrentUser, Error> {
        self.call(&Request::get(Endpoint::Fixed("/api/2.0/preview/scim/v2/Me"), &[])).await
    }

    /// Returns the object at a path. None if the path does not exist.
    pub async fn get_workspace_status(&self, path: &str) -> Result<Option<WorkspaceObject>, Error> {
        let query = [("path", path.to_owned())];
        let request = Request::get(Endpoint::Fixed("/api/2.0/workspace/get-status"), &query);
        none_if_absent(self.call(&request).await, &["RESOURCE_DOES_NOT_EXIST"])
    }

    /// Creates a folder and its parents. Succeeds if the folder exists.
    pub async fn make_workspace_directory(&self, path: &str) -> Result<(), Error> {
        let request = Request::post(
            Endpoint::Fixed("/api/2.0/workspace/mkdirs"),
            &object!({ "path": path }),
        )?;
        self.call_bytes(&request.idempotent(true)).await.map(drop)
    }

    /// Writes a file of at most 10 MB into an existing folder.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). `Conflict` or `Invalid` if the path exists and `overwrite` is false.
    pub async fn import_workspace_file(
        &self,
        path: &str,
        content: &[u8],
        overwrite: bool,
    ) -> Result<(), Error> {
        // `AUTO` creates a file. `SOURCE` would create a notebook, which a Python task cannot run.
        let body = object!({ "path": path, "format": "AUTO", "content": STANDARD.encode(content), "overwrite": overwrite });
        let request = Request::post(Endpoint::Fixed("/api/2.0/workspace/import"), &body)?;
        self.call_bytes(&request.idempotent(overwrite)).await.map(drop)
    }

    /// Returns the content of a file.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). `Decode` if the content is not base64.
    pub async fn export_workspace_file(&self, path: &str) -> Result<Bytes, Error> {
        let query = [("path", path.to_owned()), ("format", "AUTO".to_owned())];
        let exported: Exported =
            self.call(&Request::get(Endpoint::Fixed("/api/2.0/workspace/export"), &query)).await?;
        json::file_content(&exported.content)
    }
}
