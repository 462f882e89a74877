//! The credential of a client: a constant token, or a source of tokens with a cache.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::Arc,
};

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    AzureCloud, ClientSecret, SubjectToken, TokenEndpoints,
    azure::{AzureAuthMethod, AzurePrincipal},
    fetch_context::FetchContext,
    google::GoogleAccount,
    headers::{AuthHeaders, bearer, sensitive},
    oauth::{ClientCredentials, TokenExchange},
    secret::redact,
    token_cache::TokenCache,
    token_source::{SourceKind, TokenSource},
};
use crate::{Error, Host};

/// A credential, with a name for logs and errors. `Debug` shows only the name. Clones share the cached tokens.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    name: String,
    kind: Kind,
}

enum Kind {
    Constant(SecretString),
    Fetched { source: Box<TokenSource>, cache: TokenCache },
}

impl Credentials {
    /// A personal access token, or any other bearer token that does not change.
    pub fn personal_access_token(name: impl Into<String>, token: SecretString) -> Self {
        Self::new(name, Kind::Constant(token))
    }

    /// A bearer token in a file. The file is read again after at most ten seconds.
    pub fn token_file(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self::fetched(name, SourceKind::File(SubjectToken::File(path.into())))
    }

    /// OAuth with the id and secret of a service principal (databricks-api.md#oauth).
    pub fn oauth_m2m(
        name: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<ClientSecret>,
    ) -> Self {
        let (client_id, client_secret) = (client_id.into(), client_secret.into());
        let credentials = ClientCredentials { client_id, client_secret };
        Self::fetched(name, SourceKind::ClientCredentials(credentials))
    }

    /// Token federation: exchanges a token of another identity provider (databricks-api.md#oauth). `client_id` is that
    /// of the service principal; absent if the whole account trusts the issuer.
    pub fn token_federation(
        name: impl Into<String>,
        client_id: Option<String>,
        subject_token: SubjectToken,
    ) -> Self {
        let exchange = TokenExchange { client_id, subject_token };
        Self::fetched(name, SourceKind::TokenExchange(exchange))
    }

    /// A service principal of Entra ID with a secret (databricks-api.md#azure).
    pub fn azure_client_secret(
        name: impl Into<String>,
        tenant_id: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<ClientSecret>,
        cloud: AzureCloud,
    ) -> Self {
        let method = AzureAuthMethod::ClientSecret {
            tenant_id: tenant_id.into(),
            client_id: client_id.into(),
            client_secret: client_secret.into(),
        };
        Self::fetched(name, SourceKind::Azure(AzurePrincipal { method, cloud }))
    }

    /// The managed identity of the Azure virtual machine (databricks-api.md#azure). `client_id` selects one of several.
    pub fn azure_managed_identity(
        name: impl Into<String>,
        client_id: Option<String>,
        cloud: AzureCloud,
    ) -> Self {
        let method = AzureAuthMethod::ManagedIdentity { client_id };
        Self::fetched(name, SourceKind::Azure(AzurePrincipal { method, cloud }))
    }

    /// A service principal of Entra ID that trusts the token of a Kubernetes service account (databricks-api.md#azure).
    pub fn azure_workload_identity(
        name: impl Into<String>,
        tenant_id: impl Into<String>,
        client_id: impl Into<String>,
        subject_token: SubjectToken,
        cloud: AzureCloud,
    ) -> Self {
        let (tenant_id, client_id) = (tenant_id.into(), client_id.into());
        let method = AzureAuthMethod::WorkloadIdentity { tenant_id, client_id, subject_token };
        Self::fetched(name, SourceKind::Azure(AzurePrincipal { method, cloud }))
    }

    /// An ID token of the Google service account of this process, or of one that it may impersonate
    /// (databricks-api.md#google-and-others).
    pub fn google_id_token(name: impl Into<String>, service_account: Option<String>) -> Self {
        let account = GoogleAccount { impersonated: service_account };
        Self::fetched(name, SourceKind::Google(account))
    }

    /// Returns the same credential with other token endpoints and an empty cache.
    #[must_use]
    pub fn with_token_endpoints(self, endpoints: TokenEndpoints) -> Self {
        match &self.0.kind {
            Kind::Constant(_) => self,
            Kind::Fetched { source, .. } => {
                let source = Box::new(TokenSource { kind: source.kind.clone(), endpoints });
                let kind = Kind::Fetched { source, cache: TokenCache::default() };
                Self::new(self.0.name.clone(), kind)
            }
        }
    }

    fn fetched(name: impl Into<String>, kind: SourceKind) -> Self {
        let source = Box::new(TokenSource { kind, endpoints: TokenEndpoints::default() });
        Self::new(name, Kind::Fetched { source, cache: TokenCache::default() })
    }

    fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self(Arc::new(Inner { name: name.into(), kind }))
    }

    /// Returns the name, such as `the task's secret`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Hashes the secret with a key that never leaves the process. Equal secrets have equal hashes.
    pub(crate) fn identity(&self, key: &RandomState) -> u64 {
        match &self.0.kind {
            Kind::Constant(token) => key.hash_one(token.expose_secret()),
            Kind::Fetched { source, .. } => {
                let mut hasher = key.build_hasher();
                source.hash_identity(&mut hasher);
                std::hash::Hasher::finish(&hasher)
            }
        }
    }

    /// Returns the authentication type, as in the user agent and in `DATABRICKS_AUTH_TYPE`
    /// (databricks-api.md#user-agent).
    pub fn auth_type(&self) -> &'static str {
        match &self.0.kind {
            Kind::Constant(_) => "pat",
            Kind::Fetched { source, .. } => source.auth_type(),
        }
    }

    /// Returns the headers of a request. Uses the cached token until it expires, and refreshes a stale one in the
    /// background.
    ///
    /// # Errors
    ///
    /// If no token could be fetched: `Unauthenticated` if it was denied, otherwise a transient kind. `Config` if a
    /// header cannot contain the token.
    pub(crate) async fn headers(&self, context: FetchContext<'_>) -> Result<AuthHeaders, Error> {
        let name = &self.0.name;
        match &self.0.kind {
            Kind::Constant(token) => {
                Ok(AuthHeaders { headers: vec![bearer(token, name)?], token_generation: 0 })
            }
            Kind::Fetched { source, cache } => {
                let (token, token_generation) = cache.get_or_fetch(name, source, context).await?;
                let mut headers = vec![bearer(&token.secret, name)?];
                for (header, value) in &token.extra_headers {
                    headers.push((header.clone(), sensitive(value.expose_secret(), name)?));
                }
                Ok(AuthHeaders { headers, token_generation })
            }
        }
    }

    /// Invalidates a token that the workspace rejected. Returns true if the next request has another token.
    pub(crate) fn invalidate(&self, host: &Host, token_generation: u64) -> bool {
        match &self.0.kind {
            Kind::Constant(_) => false,
            Kind::Fetched { cache, .. } => {
                cache.invalidate(host, token_generation);
                true
            }
        }
    }

    /// Removes the secrets of this credential from a text: a proxy may echo what it was sent.
    pub(crate) fn redact(&self, text: &str) -> String {
        let secrets = match &self.0.kind {
            Kind::Constant(token) => vec![token.clone()],
            Kind::Fetched { source, cache } => {
                let client_secret = source.client_secret().and_then(|secret| secret.read().ok());
                cache.secrets().into_iter().chain(client_secret).collect()
            }
        };
        redact(text, secrets.iter().map(SecretString::expose_secret))
    }
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
    fn debug_shows_only_the_name() {
        assert_eq!(format!("{:?}", credentials("dapi-1")), r#"Credentials { name: "mine", .. }"#);
    }

    #[test]
    fn echoed_secret_is_redacted() {
        let redacted = credentials("dapi-1").redact("got dapi-1, dapi-1");
        assert_eq!(redacted, "got [redacted], [redacted]");
        assert_eq!(credentials("").redact("got"), "got");
    }

    #[test]
    fn equal_secrets_have_equal_identities_and_kinds_differ() {
        let key = RandomState::new();
        let m2m = |secret: &str| {
            Credentials::oauth_m2m("m", "id", SecretString::from(secret.to_owned())).identity(&key)
        };
        assert_eq!(m2m("one"), m2m("one"));
        assert_ne!(m2m("one"), m2m("two"));
        assert_ne!(m2m("one"), credentials("one").identity(&key));
        let other = Credentials::personal_access_token("other", "one".to_owned().into());
        assert_eq!(other.identity(&key), credentials("one").identity(&key));
    }
}
