//! The connector's own entrypoint script, kept in the workspace home of the principal that submits the run.

use connector_core::{Error, ErrorKind, digest::sha256_hex};
use databricks_client::{Client, ErrorKind as ClientErrorKind};
use tracing::{debug, info};

use crate::error;

/// The script. It starts Flyte's runtime, passes environment variables on, and fails when the user's code failed.
const SCRIPT: &str = include_str!("entrypoint/flyte_entrypoint.py");

/// The folder below the principal's home. Only its owner can write to a home; in a shared folder others could replace the
/// script.
const FOLDER: &str = ".flyte-connector";

/// Returns the script's file name. It contains a digest, so that versions of the connector do not overwrite each other's
/// script.
fn file_name() -> String {
    let mut digest = sha256_hex(SCRIPT.as_bytes());
    digest.truncate(16);
    format!("flyte_entrypoint_{digest}.py")
}

/// Uploads the script unless the workspace has it, and returns its path.
///
/// An existing file is read and compared before it is used.
///
/// # Errors
///
/// `FailedPrecondition` when the principal may not write to its home; otherwise the error of the failed call.
pub(crate) async fn upload(client: &Client) -> Result<String, Error> {
    let me = client
        .me()
        .await
        .map_err(|error| translated("reading the principal that submits the run", error))?;
    let folder = format!("/Workspace/Users/{}/{FOLDER}", me.user_name);
    let path = format!("{folder}/{}", file_name());
    let status = client.get_workspace_status(&path).await.map_err(|error| {
        translated("looking up the connector's entrypoint in the workspace", error)
    })?;
    if status.is_some() {
        let content = client.export_workspace_file(&path).await.map_err(|error| {
            translated("reading the connector's entrypoint in the workspace", error)
        })?;
        if content.as_ref() == SCRIPT.as_bytes() {
            debug!(path, "entrypoint is in the workspace");
            return Ok(path);
        }
    } else {
        client.make_workspace_directory(&folder).await.map_err(|error| {
            translated("creating a folder for the connector's entrypoint", error)
        })?;
    }
    client
        .import_workspace_file(&path, SCRIPT.as_bytes(), true)
        .await
        .map_err(|error| translated("uploading the connector's entrypoint", error))?;
    info!(path, "entrypoint uploaded to the workspace");
    Ok(path)
}

/// Translates the error of a call. A `Forbidden` here does not concern the run: the principal has no writable home.
fn translated(action: &str, error: databricks_client::Error) -> Error {
    if error.kind() == ClientErrorKind::Forbidden {
        return Error::new(ErrorKind::FailedPrecondition, format!("{action} was rejected"))
            .with_hint(
                "let the token's principal write to its own home in the workspace, \
                 or run the task with its own entrypoint (`python_file` in `databricks_conf`)",
            )
            .with_source(error);
    }
    error::from_client(action, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_name_contains_digest_of_script() {
        let name = file_name();
        let digest =
            name.strip_prefix("flyte_entrypoint_").and_then(|rest| rest.strip_suffix(".py"));
        assert_eq!(digest.map(str::len), Some(16), "{name}");
    }
}
