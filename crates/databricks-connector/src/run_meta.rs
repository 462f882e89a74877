//! What identifies a run between calls.

use databricks_client::RunId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{credentials::namespace_secret::SecretName, get::declared_outputs::DeclaredOutputs};

/// The resource meta: exactly the two keys of the Python plugin, so that either server can take over the other's
/// runs (DESIGN §3.3). Work that the plugin could not have run adds what it declares to return.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunMeta {
    /// The workspace, as [`databricks_client::Host`] writes it.
    pub(crate) databricks_instance: String,
    /// The run; a decimal string on the wire.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text_or_number")]
    pub(crate) run_id: RunId,
    /// The token that the v1 plugin wrote here in clear. Read for its runs, never written.
    #[serde(default, skip_serializing, deserialize_with = "v1_token")]
    pub(crate) auth_token: Option<secrecy::SecretString>,
    /// Which credential started the run, where later calls could not tell: a name, never a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credential: Option<CredentialRef>,
    /// The declared outputs of work that is not a function of Flyte's runtime; that work writes no files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outputs: Option<DeclaredOutputs>,
}

/// A credential by its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CredentialRef {
    /// What the operator calls it in the file of workspaces.
    Workspace(String),
    /// A Kubernetes Secret.
    Secret(SecretName),
}

impl RunMeta {
    pub(crate) fn new(databricks_instance: String, run_id: RunId) -> Self {
        Self { databricks_instance, run_id, auth_token: None, credential: None, outputs: None }
    }

    /// The same for a run whose credential later calls could not tell.
    pub(crate) fn with_credential(self, credential: Option<CredentialRef>) -> Self {
        Self { credential, ..self }
    }

    /// The same for work that is not a function of Flyte's runtime.
    pub(crate) fn with_outputs(self, outputs: Option<DeclaredOutputs>) -> Self {
        Self { outputs, ..self }
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
    // Whatever else stands there is ignored, as any unknown key is.
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
    fn the_bytes_are_those_of_the_python_plugin() {
        let meta =
            RunMeta::new("dbc.cloud.databricks.com".to_owned(), "455644833".parse().unwrap());
        let written = serde_json::to_value(&meta).unwrap();
        assert_eq!(
            written,
            serde_json::json!({"databricks_instance": "dbc.cloud.databricks.com", "run_id": "455644833"})
        );
    }

    #[test]
    fn meta_of_either_server_is_read() {
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
    fn the_token_of_the_v1_plugin_is_read_and_neither_shown_nor_written() {
        let text = r#"{"databricks_instance": "h", "run_id": "1", "auth_token": "dapi-canary"}"#;
        let meta: RunMeta = serde_json::from_str(text).unwrap();
        assert!(meta.auth_token.is_some());
        assert!(!format!("{meta:?}").contains("canary"));
        assert!(!serde_json::to_string(&meta).unwrap().contains("canary"));
    }

    #[test]
    fn a_run_id_that_is_not_a_number_is_refused() {
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
