//! The connector's own entrypoint script, kept in the workspace of whoever submits the run.

use connector_core::{Error, ErrorKind};
use databricks_client::{Client, ErrorKind as ClientErrorKind};
use sha2::{Digest, Sha256};
use tracing::{debug, info};

use crate::error;

/// The script: starts Flyte's runtime, hands on variables, and fails when the user's code failed.
const SCRIPT: &str = include_str!("entrypoint/flyte_entrypoint.py");

/// The folder below the principal's home. A home is writable by its owner alone; a shared folder would let others put
/// another script in the place of ours.
const FOLDER: &str = ".flyte-connector";

/// The name tells the content, so that versions of the connector do not overwrite each other's script.
fn file_name() -> String {
    let digest = Sha256::digest(SCRIPT.as_bytes());
    let short =
        digest.iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    format!("flyte_entrypoint_{short}.py")
}

/// Sees to it that the script is in the workspace, and returns its path.
///
/// What is there is read and compared before it is used.
///
/// # Errors
///
/// `FailedPrecondition` when the principal may not write to its home; else what keeps the workspace from answering.
pub(crate) async fn in_workspace(client: &Client) -> Result<String, Error> {
    let me = client.me().await.map_err(|failed| refused("asking who submits the run", failed))?;
    let folder = format!("/Workspace/Users/{}/{FOLDER}", me.user_name);
    let path = format!("{folder}/{}", file_name());
    let there = client.get_workspace_status(&path).await.map_err(|failed| {
        refused("looking for the connector's entrypoint in the workspace", failed)
    })?;
    if there.is_some() {
        let content = client.export_workspace_file(&path).await.map_err(|failed| {
            refused("reading the connector's entrypoint in the workspace", failed)
        })?;
        if content.as_ref() == SCRIPT.as_bytes() {
            debug!(path, "entrypoint is in the workspace");
            return Ok(path);
        }
    } else {
        client
            .make_workspace_directory(&folder)
            .await
            .map_err(|failed| refused("making a folder for the connector's entrypoint", failed))?;
    }
    client
        .import_workspace_file(&path, SCRIPT.as_bytes(), true)
        .await
        .map_err(|failed| refused("uploading the connector's entrypoint", failed))?;
    info!(path, "entrypoint uploaded to the workspace");
    Ok(path)
}

/// A refusal here is not about the run: the principal lacks a home that it may write to.
fn refused(doing: &str, failed: databricks_client::Error) -> Error {
    if failed.kind() == ClientErrorKind::Forbidden {
        return Error::new(ErrorKind::FailedPrecondition, format!("{doing} was refused"))
            .with_hint(
                "let the token's principal write to its own home in the workspace, \
                 or run the task with an entrypoint of its own (`python_file` in `databricks_conf`)",
            )
            .with_source(failed);
    }
    error::from_client(doing, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_script_tells_its_content() {
        let name = file_name();
        let digest =
            name.strip_prefix("flyte_entrypoint_").and_then(|rest| rest.strip_suffix(".py"));
        assert_eq!(digest.map(str::len), Some(16), "{name}");
    }
}
