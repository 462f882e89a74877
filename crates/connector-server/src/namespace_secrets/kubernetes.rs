//! Reads Secrets from the API server: `get` of one by its name and nothing else, so that a Role can be that narrow.

use std::{fmt, time::Duration};

use databricks_connector::{NamespaceSecrets, SecretContent, SecretReading, SecretTrouble};
use http::{Request, StatusCode};
use k8s_openapi::ByteString;
use kube::{
    Client,
    client::Body,
    config::{Config, KubeConfigOptions, Kubeconfig},
};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::OnceCell;

/// More than a Secret of 1 MiB takes as base64.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// How long the API server may take to let us connect, and to say something.
const PATIENCE: Duration = Duration::from_secs(5);

/// Its data is the token of a service account, under the key that we read. That is nothing for Databricks.
const SERVICE_ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";

/// The Secrets of one cluster, read as the service account of this pod or as the user of a kubeconfig.
pub(super) struct KubernetesSecrets {
    source: Source,
    /// Made at the first read, for it needs the runtime.
    client: OnceCell<Client>,
}

enum Source {
    Pod(Box<Config>),
    Kubeconfig(Box<Kubeconfig>),
}

/// As much of a Secret as we read.
#[derive(Deserialize)]
struct Secret {
    #[serde(default)]
    data: Option<Keys>,
    #[serde(default, rename = "type")]
    kind: String,
}

#[derive(Default, Deserialize)]
struct Keys {
    token: Option<ByteString>,
    client_id: Option<ByteString>,
    client_secret: Option<ByteString>,
}

impl KubernetesSecrets {
    /// The cluster of this pod, else the one of `KUBECONFIG` or `~/.kube/config`.
    ///
    /// # Errors
    ///
    /// What is missing, in words, when there is neither.
    pub(super) fn from_surroundings() -> Result<Self, String> {
        let source = match Config::incluster() {
            Ok(config) => Source::Pod(Box::new(config)),
            Err(not_here) => Source::Kubeconfig(Box::new(Kubeconfig::read().map_err(|no_file| {
                format!("no API server is known, neither from a pod ({not_here}) nor from a kubeconfig ({no_file})")
            })?)),
        };
        Ok(Self { source, client: OnceCell::new() })
    }

    async fn client(&self) -> Result<&Client, SecretTrouble> {
        let lasting = |error: &dyn fmt::Display| {
            SecretTrouble::Lasting(format!("the API server cannot be called: {error}"))
        };
        let make = async || {
            let mut config = match &self.source {
                Source::Pod(config) => config.as_ref().clone(),
                Source::Kubeconfig(file) => {
                    let options = KubeConfigOptions::default();
                    let config = Config::from_custom_kubeconfig(file.as_ref().clone(), &options);
                    config.await.map_err(|error| lasting(&error))?
                }
            };
            config.connect_timeout = Some(PATIENCE);
            config.read_timeout = Some(PATIENCE);
            config.reset_reader_on_write = true;
            // Whoever asks is asked again.
            config.default_retry = false;
            Client::try_from(config).map_err(|error| lasting(&error))
        };
        self.client.get_or_try_init(make).await
    }

    /// Not by `Client::request`, which logs what it cannot parse.
    async fn get(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<SecretContent>, SecretTrouble> {
        let passing = |error: &dyn fmt::Display| {
            SecretTrouble::Passing(format!("the API server did not answer: {error}"))
        };
        let request = Request::get(format!("/api/v1/namespaces/{namespace}/secrets/{name}"))
            .body(Body::empty())
            .map_err(|error| passing(&error))?;
        let sent = self.client().await?.send(request).await;
        let response = sent.map_err(|error| match error {
            kube::Error::Auth(error) => {
                SecretTrouble::Lasting(format!("the connector has no identity to show: {error}"))
            }
            error => passing(&error),
        })?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                let why =
                    format!("the API server does not let the connector ({})", status.as_u16());
                return Err(SecretTrouble::Lasting(why));
            }
            status => {
                let why = format!("the API server answered {}", status.as_u16());
                return Err(SecretTrouble::Passing(why));
            }
        }
        let body = axum::body::Body::new(response.into_body());
        let body = axum::body::to_bytes(body, MAX_BYTES).await.map_err(|error| passing(&error))?;
        content(&body).map(Some)
    }
}

/// The error of the parser is dropped: it may quote what it read.
fn content(body: &[u8]) -> Result<SecretContent, SecretTrouble> {
    let lasting = |why: &str| SecretTrouble::Lasting(why.to_owned());
    let secret: Secret = serde_json::from_slice(body).map_err(|_quoting| {
        SecretTrouble::Passing("what the API server answered is no Secret".to_owned())
    })?;
    if secret.kind == SERVICE_ACCOUNT_TOKEN {
        return Err(lasting(
            "it holds the token of a service account, which is not for Databricks",
        ));
    }
    let text = |bytes: Option<ByteString>| {
        let text = bytes.map(|ByteString(bytes)| String::from_utf8(bytes)).transpose();
        text.map(|text| text.map(SecretString::from))
            .map_err(|_quoting| lasting("one of its keys is not text"))
    };
    let Keys { token, client_id, client_secret } = secret.data.unwrap_or_default();
    Ok(SecretContent {
        token: text(token)?,
        client_id: text(client_id)?,
        client_secret: text(client_secret)?,
    })
}

impl NamespaceSecrets for KubernetesSecrets {
    fn read<'a>(&'a self, namespace: &'a str, name: &'a str) -> SecretReading<'a> {
        Box::pin(self.get(namespace, name))
    }
}

impl fmt::Debug for KubernetesSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesSecrets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn the_three_keys_are_read_and_others_are_left() {
        let body =
            br#"{"kind":"Secret","type":"Opaque","data":{"token":"ZGFwaS0x","other":"/w=="}}"#;
        let found = content(body).unwrap();
        assert_eq!(found.token.unwrap().expose_secret(), "dapi-1");
        assert!(found.client_id.is_none() && found.client_secret.is_none());
        assert!(content(br#"{"kind":"Secret"}"#).unwrap().token.is_none());
    }

    #[test]
    fn a_token_of_a_service_account_is_nothing_for_databricks() {
        let body = br#"{"type":"kubernetes.io/service-account-token","data":{"token":"ZGFwaS0x"}}"#;
        assert!(matches!(content(body), Err(SecretTrouble::Lasting(_))));
    }

    #[test]
    fn what_cannot_be_read_is_not_quoted() {
        for body in [r#"{"data":{"token":"canary!"}}"#, "canary", r#"{"data":{"token":"/w=="}}"#] {
            let trouble = content(body.as_bytes()).unwrap_err();
            assert!(!format!("{trouble:?}").contains("canary"), "{trouble:?}");
        }
    }
}
