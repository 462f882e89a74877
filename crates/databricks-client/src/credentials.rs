//! How a call proves itself: a token that does not change, or one that is minted for each workspace and renewed.

mod azure;
mod cache;
mod client_secret;
mod environment;
mod exchange;
mod flow;
mod google;
mod oauth;
mod profile;
mod subject;
mod token;

use std::{
    fmt,
    hash::{BuildHasher, Hash as _, Hasher as _, RandomState},
    path::PathBuf,
    sync::Arc,
};

use http::{HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

pub use azure::{AzureCloud, AzureEnvironment, NoAzureEnvironment};
pub use client_secret::ClientSecret;
pub use environment::{AuthError, Environment, FromEnvironment};
pub use flow::Authorities;
pub use subject::SubjectToken;

use self::{
    azure::{Azure, Proof},
    cache::Cache,
    flow::Flow,
    google::Google,
    oauth::{Federation, M2m},
};
use crate::{Error, ErrorKind, Host, Mint, Observer};

/// The shortest secret that is looked for in answers, in bytes.
const MIN_SECRET: usize = 6;

/// How calls prove themselves, under a name that an operator recognises. `Debug` shows the name alone. Cheap to clone;
/// every clone shares the tokens that were minted.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    name: String,
    kind: Kind,
}

enum Kind {
    PersonalAccessToken(SecretString),
    Minted { flow: Flow, cache: Cache },
}

/// The headers that prove a call, all of them sensitive.
#[derive(Debug)]
pub(crate) struct Proofs {
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Which token they hold, so that a refused one is not used again.
    pub(crate) generation: u64,
}

/// What minting a token needs of the pool.
#[derive(Debug, Clone)]
pub(crate) struct Minting<'a> {
    pub(crate) host: &'a Host,
    /// Calls the workspace.
    pub(crate) http: &'a reqwest::Client,
    /// Calls the authorities of the clouds.
    pub(crate) cloud: &'a reqwest::Client,
    /// Is told what came of it.
    pub(crate) observer: Option<&'a Arc<dyn Observer>>,
    pub(crate) deadline: Instant,
}

impl Minting<'_> {
    fn ended(&self, kind: &'static str, failure: Option<ErrorKind>) {
        if let Some(observer) = self.observer {
            observer.minted(&Mint { host: self.host, kind, failure });
        }
    }
}

impl Credentials {
    /// A personal access token, or any other bearer token that does not change.
    pub fn personal_access_token(name: impl Into<String>, token: SecretString) -> Self {
        Self::new(name, Kind::PersonalAccessToken(token))
    }

    /// A bearer token in a file, which is read again when it may have changed.
    pub fn token_file(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self::minted(name, Flow::TokenFile(SubjectToken::File(path.into())))
    }

    /// OAuth with the id and the secret of a service principal (DA §4.5).
    pub fn oauth_m2m(
        name: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<ClientSecret>,
    ) -> Self {
        let client_secret = client_secret.into();
        Self::minted(name, Flow::M2m(M2m { client_id: client_id.into(), client_secret }))
    }

    /// Token federation: a token of somebody else's, exchanged at the workspace (DA §4.5). The client id is that of the
    /// service principal, and is left out when the whole account trusts the issuer.
    pub fn token_federation(
        name: impl Into<String>,
        client_id: Option<String>,
        subject: SubjectToken,
    ) -> Self {
        Self::minted(name, Flow::Federation(Federation { client_id, subject }))
    }

    /// A service principal of Entra ID with its secret (DA §4.6).
    pub fn azure_client_secret(
        name: impl Into<String>,
        tenant_id: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<ClientSecret>,
        azure: AzureCloud,
    ) -> Self {
        let proof = Proof::Secret {
            tenant_id: tenant_id.into(),
            client_id: client_id.into(),
            client_secret: client_secret.into(),
        };
        Self::minted(name, Flow::Azure(Azure { proof, cloud: azure }))
    }

    /// The identity of the Azure machine that this runs on (DA §4.6); the client id chooses one of several.
    pub fn azure_managed_identity(
        name: impl Into<String>,
        client_id: Option<String>,
        azure: AzureCloud,
    ) -> Self {
        let proof = Proof::ManagedIdentity { client_id };
        Self::minted(name, Flow::Azure(Azure { proof, cloud: azure }))
    }

    /// A service principal of Entra ID that trusts the token of a Kubernetes service account.
    pub fn azure_workload_identity(
        name: impl Into<String>,
        tenant_id: impl Into<String>,
        client_id: impl Into<String>,
        subject: SubjectToken,
        azure: AzureCloud,
    ) -> Self {
        let proof =
            Proof::Assertion { tenant_id: tenant_id.into(), client_id: client_id.into(), subject };
        Self::minted(name, Flow::Azure(Azure { proof, cloud: azure }))
    }

    /// An ID token of the Google service account that this runs as, or of one that it may speak for (DA §4.7).
    pub fn google_id_token(name: impl Into<String>, service_account: Option<String>) -> Self {
        Self::minted(name, Flow::Google(Google { service_account }))
    }

    /// The same credential with other authorities than the clouds' own. Tokens that were minted are not shared.
    #[must_use]
    pub fn with_authorities(self, authorities: Authorities) -> Self {
        match &self.0.kind {
            Kind::PersonalAccessToken(_) => self,
            Kind::Minted { flow, .. } => {
                let kind = Kind::Minted {
                    flow: flow.clone(),
                    cache: Cache::with_authorities(authorities),
                };
                Self::new(self.0.name.clone(), kind)
            }
        }
    }

    fn minted(name: impl Into<String>, flow: Flow) -> Self {
        Self::new(name, Kind::Minted { flow, cache: Cache::default() })
    }

    fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self(Arc::new(Inner { name: name.into(), kind }))
    }

    /// The name, such as `the task's secret`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The same number for the same secret, by a key that never leaves the process.
    pub(crate) fn identity(&self, key: &RandomState) -> u64 {
        match &self.0.kind {
            Kind::PersonalAccessToken(token) => key.hash_one(token.expose_secret()),
            Kind::Minted { flow, .. } => {
                let mut hasher = key.build_hasher();
                flow.auth_type().hash(&mut hasher);
                flow.identity(&mut hasher);
                hasher.finish()
            }
        }
    }

    /// The word for the user agent, which is also the name of the kind in `DATABRICKS_AUTH_TYPE` (DA §4.2).
    pub fn auth_type(&self) -> &'static str {
        match &self.0.kind {
            Kind::PersonalAccessToken(_) => "pat",
            Kind::Minted { flow, .. } => flow.auth_type(),
        }
    }

    /// The headers of a call. A token that is there is used while it lasts; one that runs out soon is renewed beside.
    ///
    /// # Errors
    ///
    /// When no token could be minted: `Unauthenticated` for a refusal, a kind that passes for the rest; `Config` for a
    /// token with characters that no header may hold.
    pub(crate) async fn proofs(&self, minting: Minting<'_>) -> Result<Proofs, Error> {
        match &self.0.kind {
            Kind::PersonalAccessToken(token) => {
                Ok(Proofs { headers: vec![self.bearer(token)?], generation: 0 })
            }
            Kind::Minted { flow, cache } => {
                let (token, generation) = cache.token(self, flow, minting).await?;
                let mut headers = vec![self.bearer(&token.secret)?];
                for (name, value) in &token.extra {
                    headers.push((name.clone(), self.sensitive(value.expose_secret())?));
                }
                Ok(Proofs { headers, generation })
            }
        }
    }

    /// The workspace refused that token. Whether a new one is worth a try.
    pub(crate) fn refused(&self, host: &Host, generation: u64) -> bool {
        match &self.0.kind {
            Kind::PersonalAccessToken(_) => false,
            Kind::Minted { cache, .. } => cache.forget(host, generation),
        }
    }

    fn bearer(&self, token: &SecretString) -> Result<(HeaderName, HeaderValue), Error> {
        let value = format!("Bearer {}", token.expose_secret());
        Ok((header::AUTHORIZATION, self.sensitive(&value)?))
    }

    fn sensitive(&self, text: &str) -> Result<HeaderValue, Error> {
        let mut value = HeaderValue::from_str(text).map_err(|_invalid| {
            Error::new(
                ErrorKind::Config,
                format!("{} holds characters that no header may hold", self.0.name),
            )
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The text without the secret: a proxy may send back what it was sent.
    pub(crate) fn redact(&self, text: &str) -> String {
        let mut secrets: Vec<SecretString> = Vec::new();
        match &self.0.kind {
            Kind::PersonalAccessToken(token) => secrets.push(token.clone()),
            Kind::Minted { flow, cache } => {
                secrets.extend(flow.secret().and_then(ClientSecret::known));
                secrets.extend(cache.secrets());
            }
        }
        without(text, &secrets)
    }
}

/// The text without these secrets.
pub(crate) fn without(text: &str, secrets: &[SecretString]) -> String {
    // A few characters stand in any text by chance.
    secrets
        .iter()
        .map(ExposeSecret::expose_secret)
        .filter(|secret| secret.len() >= MIN_SECRET)
        .fold(text.to_owned(), |text, secret| text.replace(secret, "[redacted]"))
}

/// The secrets of these headers. What is held can change while a call is under way; these are what was sent.
pub(crate) fn sent(headers: &[(HeaderName, HeaderValue)]) -> Vec<SecretString> {
    let texts = headers.iter().filter_map(|(_, value)| value.to_str().ok());
    texts
        .map(|text| SecretString::from(text.strip_prefix("Bearer ").unwrap_or(text).to_owned()))
        .collect()
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("name", &self.0.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(token: &str) -> Credentials {
        Credentials::personal_access_token("mine", token.to_owned().into())
    }

    #[test]
    fn debug_shows_the_name_alone() {
        assert_eq!(format!("{:?}", credentials("dapi-1")), r#"Credentials { name: "mine", .. }"#);
    }

    #[test]
    fn the_header_is_sensitive_and_refuses_line_ends() {
        let token = SecretString::from("dapi-1");
        let (_, header) = credentials("dapi-1").bearer(&token).unwrap();
        assert_eq!((header.as_bytes(), header.is_sensitive()), (&b"Bearer dapi-1"[..], true));
        let error = credentials("x").bearer(&SecretString::from("dapi-1\nx: y")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }

    #[test]
    fn an_echoed_secret_is_not_shown() {
        assert_eq!(
            credentials("dapi-1").redact("got dapi-1, dapi-1"),
            "got [redacted], [redacted]"
        );
        assert_eq!(credentials("").redact("got"), "got");
    }

    #[test]
    fn the_same_secret_has_the_same_identity_and_kinds_differ() {
        let key = RandomState::new();
        let m2m = |secret: &str| {
            Credentials::oauth_m2m("m", "id", SecretString::from(secret.to_owned())).identity(&key)
        };
        assert_eq!(m2m("one"), m2m("one"));
        assert_ne!(m2m("one"), m2m("two"));
        assert_ne!(m2m("one"), credentials("one").identity(&key));
    }
}
