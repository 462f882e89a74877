//! The source of a token that changes: a file, or a token endpoint.

use std::{
    hash::{Hash as _, Hasher},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    ClientSecret, SubjectToken, TokenEndpoints,
    access_token::AccessToken,
    azure::{AzureAuthMethod, AzurePrincipal},
    fetch_context::FetchContext,
    google::GoogleAccount,
    oauth::{ClientCredentials, TokenExchange},
};
use crate::Error;

/// How long a token file is cached: the margin of a token's expiry, and ten seconds.
const FILE_LIFETIME: Duration = Duration::from_secs(50);

/// Fetches tokens.
#[derive(Debug, Clone)]
pub(super) struct TokenSource {
    pub(super) kind: SourceKind,
    pub(super) endpoints: TokenEndpoints,
}

#[derive(Debug, Clone)]
pub(super) enum SourceKind {
    File(SubjectToken),
    ClientCredentials(ClientCredentials),
    TokenExchange(TokenExchange),
    Azure(AzurePrincipal),
    Google(GoogleAccount),
}

impl TokenSource {
    /// Returns the name of the authentication type (databricks-api.md#user-agent).
    pub(super) fn auth_type(&self) -> &'static str {
        match &self.kind {
            SourceKind::File(_) => "pat",
            SourceKind::ClientCredentials(_) => "oauth-m2m",
            SourceKind::TokenExchange(exchange) => match exchange.subject_token {
                SubjectToken::File(_) => "file-oidc",
                SubjectToken::Variable(..) => "env-oidc",
            },
            SourceKind::Azure(principal) => match principal.method {
                AzureAuthMethod::ClientSecret { .. } => "azure-client-secret",
                AzureAuthMethod::ManagedIdentity { .. } => "azure-msi",
                AzureAuthMethod::WorkloadIdentity { .. } => "azure-workload-identity",
            },
            SourceKind::Google(_) => "google-id",
        }
    }

    pub(super) async fn fetch(&self, context: &FetchContext<'_>) -> Result<AccessToken, Error> {
        match &self.kind {
            SourceKind::File(file) => {
                Ok(AccessToken::new(file.read()?, Instant::now(), FILE_LIFETIME))
            }
            SourceKind::ClientCredentials(credentials) => credentials.fetch(context).await,
            SourceKind::TokenExchange(exchange) => exchange.fetch(context).await,
            SourceKind::Azure(principal) => principal.fetch(&self.endpoints, context).await,
            SourceKind::Google(account) => account.fetch(&self.endpoints, context).await,
        }
    }

    /// Returns the client secret that is sent to a token endpoint, if there is one.
    pub(super) fn client_secret(&self) -> Option<&ClientSecret> {
        match &self.kind {
            SourceKind::ClientCredentials(credentials) => Some(&credentials.client_secret),
            SourceKind::Azure(AzurePrincipal {
                method: AzureAuthMethod::ClientSecret { client_secret, .. },
                ..
            }) => Some(client_secret),
            _ => None,
        }
    }

    /// Hashes what distinguishes this credential from others.
    pub(super) fn hash_identity(&self, hasher: &mut impl Hasher) {
        self.auth_type().hash(hasher);
        self.client_secret().hash(hasher);
        // `Debug` of the kinds contains their ids, files and variables, but no secret.
        format!("{:?}", self.kind).hash(hasher);
    }
}
