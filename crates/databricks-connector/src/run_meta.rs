//! The resource meta: what identifies a run between calls.

mod secret_name;

use databricks_client::{Host, RunId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub(crate) use secret_name::{InvalidName, SecretName};

use crate::declared_outputs::DeclaredOutputs;

/// The resource meta of a run. It has exactly the two keys of the Python plugin whenever the plugin can read the run, so that
/// either server can take over the other's runs (flyte-contract.md#python-requests). Other keys hold names, never secrets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunMeta {
    /// The workspace, as [`databricks_client::Host`] formats it.
    pub(crate) databricks_instance: String,
    /// The run. On the wire it is a decimal string.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text_or_number")]
    pub(crate) run_id: RunId,
    /// The token that the v1 plugin stored in clear text. Read for its runs, never written.
    #[serde(default, skip_serializing, deserialize_with = "v1_token")]
    pub(crate) auth_token: Option<secrecy::SecretString>,
    /// The name of the credential that started the run, if later calls need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credential: Option<CredentialRef>,
    /// The declared outputs of a workload other than a Flyte function, which writes no files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outputs: Option<DeclaredOutputs>,
    /// The workspace on a host that several share, which the Python plugin cannot name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workspace_id: Option<String>,
    /// The key of the task whose result is the output, if the user names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output_task: Option<String>,
}

/// A credential by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CredentialRef {
    /// Its name in the file of workspaces.
    Workspace(String),
    /// A Kubernetes Secret.
    Secret(SecretName),
}

impl RunMeta {
    pub(crate) fn new(host: &Host, run_id: RunId) -> Self {
        Self {
            databricks_instance: host.to_string(),
            run_id,
            auth_token: None,
            credential: None,
            outputs: None,
            workspace_id: host.workspace_id().map(str::to_owned),
            output_task: None,
        }
    }

    pub(crate) fn with_credential(self, credential: Option<CredentialRef>) -> Self {
        Self { credential, ..self }
    }

    pub(crate) fn with_outputs(self, outputs: Option<DeclaredOutputs>) -> Self {
        Self { outputs, ..self }
    }

    pub(crate) fn with_output_task(self, output_task: Option<String>) -> Self {
        Self { output_task, ..self }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn as_text<S: Serializer>(run_id: &RunId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(run_id)
}

fn from_text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RunId, D::Error> {
    RunId::deserialize(deserializer).map_err(|_invalid| de::Error::custom("not a run id"))
}

fn v1_token<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<secrecy::SecretString>, D::Error> {
    // Other types are ignored like unknown keys.
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value
        .as_str()
        .filter(|text| !text.trim().is_empty())
        .map(|text| secrecy::SecretString::from(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_equals_that_of_python_plugin() {
        let host = "dbc.cloud.databricks.com".parse().unwrap();
        let meta = RunMeta::new(&host, "455644833".parse().unwrap());
        let written = serde_json::to_value(&meta).unwrap();
        assert_eq!(
            written,
            serde_json::json!({"databricks_instance": "dbc.cloud.databricks.com", "run_id": "455644833"})
        );
    }

    #[test]
    fn meta_of_either_server_is_accepted() {
        for text in [
            r#"{"databricks_instance": "h", "run_id": "9007199254740993"}"#,
            r#"{"databricks_instance": "h", "run_id": 9007199254740993, "unknown": []}"#,
            r#"{"databricks_instance": "h", "run_id": "9007199254740993", "auth_token": null}"#,
            r#"{"databricks_instance": "h", "run_id": "9007199254740993", "auth_token": {}}"#,
        ] {
            let meta: RunMeta = serde_json::from_str(text).unwrap();
            assert_eq!(meta.run_id.to_string(), "9007199254740993", "{text}");
            assert!(meta.auth_token.is_none(), "{text}");
        }
    }

    #[test]
    fn token_of_v1_plugin_is_read_and_never_shown_or_written() {
        let text = r#"{"databricks_instance": "h", "run_id": "1", "auth_token": "dapi-canary"}"#;
        let meta: RunMeta = serde_json::from_str(text).unwrap();
        assert!(meta.auth_token.is_some());
        assert!(!format!("{meta:?}").contains("canary"));
        assert!(!serde_json::to_string(&meta).unwrap().contains("canary"));
    }

    #[test]
    fn run_id_that_is_not_a_number_is_rejected() {
        for id in [
            "\"\"",
            "\"x\"",
            "\"1.0\"",
            "1.0",
            "\"-1\"",
            "0",
            "null",
            "\"99999999999999999999\"",
            "\" 1\"",
        ] {
            let text = format!(r#"{{"databricks_instance": "h", "run_id": {id}}}"#);
            assert!(serde_json::from_str::<RunMeta>(&text).is_err(), "{id}");
        }
    }
}
