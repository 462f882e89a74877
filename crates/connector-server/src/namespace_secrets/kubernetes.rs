//! Reads Secrets from the Kubernetes API server. Only `get` by name is used, so a Role can be that narrow.

use std::{fmt, time::Duration};

use databricks_connector::{SecretContent, SecretError, SecretFuture, SecretReader};
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

/// Response size limit. A Secret has at most 1 MiB, plus base64.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// Timeout for connecting, and for each read.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The type of Secrets that hold a service account token under the key `token`. Such a token is never sent to Databricks.
const SERVICE_ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";

/// Reads Secrets as the pod's service account, or as the user of a kubeconfig.
pub(super) struct KubernetesSecrets {
    source: Source,
    /// Created on first use, because it needs the tokio runtime.
    client: OnceCell<Client>,
}

enum Source {
    Pod(Box<Config>),
    Kubeconfig(Box<Kubeconfig>),
}

/// The fields of a Secret that are read.
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
    /// Uses the pod's cluster, else that of `KUBECONFIG` or `~/.kube/config`.
    ///
    /// # Errors
    ///
    /// A message if neither exists.
    pub(super) fn from_environment() -> Result<Self, String> {
        let source = match Config::incluster() {
            Ok(config) => Source::Pod(Box::new(config)),
            Err(not_in_pod) => Source::Kubeconfig(Box::new(Kubeconfig::read().map_err(|no_kubeconfig| {
                format!("no API server is configured: not running in a pod ({not_in_pod}), and no kubeconfig ({no_kubeconfig})")
            })?)),
        };
        Ok(Self { source, client: OnceCell::new() })
    }

    async fn client(&self) -> Result<&Client, SecretError> {
        let lasting = |error: &dyn fmt::Display| {
            SecretError::Permanent(format!("cannot connect to the API server: {error}"))
        };
        let connect = async || {
            let mut config = match &self.source {
                Source::Pod(config) => config.as_ref().clone(),
                Source::Kubeconfig(file) => {
                    let options = KubeConfigOptions::default();
                    let config = Config::from_custom_kubeconfig(file.as_ref().clone(), &options);
                    config.await.map_err(|error| lasting(&error))?
                }
            };
            config.connect_timeout = Some(TIMEOUT);
            config.read_timeout = Some(TIMEOUT);
            config.reset_reader_on_write = true;
            // The caller retries.
            config.default_retry = false;
            Client::try_from(config).map_err(|error| lasting(&error))
        };
        self.client.get_or_try_init(connect).await
    }

    /// Avoids `Client::request`, which logs bodies that it cannot parse.
    async fn get(&self, namespace: &str, name: &str) -> Result<Option<SecretContent>, SecretError> {
        let passing = |error: &dyn fmt::Display| {
            SecretError::Transient(format!("the API server does not respond: {error}"))
        };
        let request = Request::get(format!("/api/v1/namespaces/{namespace}/secrets/{name}"))
            .body(Body::empty())
            .map_err(|error| passing(&error))?;
        let result = self.client().await?.send(request).await;
        let response = result.map_err(|error| match error {
            kube::Error::Auth(error) => SecretError::Permanent(format!(
                "the connector cannot authenticate to the API server: {error}"
            )),
            error => passing(&error),
        })?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                let why = format!("the API server denied access ({})", status.as_u16());
                return Err(SecretError::Permanent(why));
            }
            status => {
                let why = format!("the API server returned status {}", status.as_u16());
                return Err(SecretError::Transient(why));
            }
        }
        let body = axum::body::Body::new(response.into_body());
        let body = axum::body::to_bytes(body, MAX_BYTES).await.map_err(|error| passing(&error))?;
        parse(&body).map(Some)
    }
}

/// Parses a Secret. Drops parser errors, which may quote the content.
fn parse(body: &[u8]) -> Result<SecretContent, SecretError> {
    let lasting = |why: &str| SecretError::Permanent(why.to_owned());
    let secret: Secret = serde_json::from_slice(body).map_err(|_quoting| {
        SecretError::Transient("the API server returned something other than a Secret".to_owned())
    })?;
    if secret.kind == SERVICE_ACCOUNT_TOKEN {
        return Err(lasting("it holds a service account token, which is not sent to Databricks"));
    }
    let text = |bytes: Option<ByteString>| {
        let text = bytes.map(|ByteString(bytes)| String::from_utf8(bytes)).transpose();
        text.map(|text| text.map(SecretString::from))
            .map_err(|_quoting| lasting("one of its values is not valid UTF-8"))
    };
    let Keys { token, client_id, client_secret } = secret.data.unwrap_or_default();
    Ok(SecretContent {
        token: text(token)?,
        client_id: text(client_id)?,
        client_secret: text(client_secret)?,
    })
}

impl SecretReader for KubernetesSecrets {
    fn read<'a>(&'a self, namespace: &'a str, name: &'a str) -> SecretFuture<'a> {
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
    fn known_keys_are_read_and_others_ignored() {
        let body =
            br#"{"kind":"Secret","type":"Opaque","data":{"token":"ZGFwaS0x","other":"/w=="}}"#;
        let found = parse(body).unwrap();
        assert_eq!(found.token.unwrap().expose_secret(), "dapi-1");
        assert!(found.client_id.is_none() && found.client_secret.is_none());
        assert!(parse(br#"{"kind":"Secret"}"#).unwrap().token.is_none());
    }

    #[test]
    fn service_account_token_is_rejected() {
        let body = br#"{"type":"kubernetes.io/service-account-token","data":{"token":"ZGFwaS0x"}}"#;
        assert!(matches!(parse(body), Err(SecretError::Permanent(_))));
    }

    #[test]
    fn errors_do_not_quote_the_secret() {
        for body in [r#"{"data":{"token":"canary!"}}"#, "canary", r#"{"data":{"token":"/w=="}}"#] {
            let trouble = parse(body.as_bytes()).unwrap_err();
            assert!(!format!("{trouble:?}").contains("canary"), "{trouble:?}");
        }
    }
}
