//! OAuth at the token endpoint of the workspace (databricks-api.md#oauth).

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{
    ClientSecret, SubjectToken, access_token::AccessToken, fetch_context::FetchContext, headers,
    token_request::TokenRequest,
};
use crate::{Error, ErrorKind, Host};

/// The client credentials grant: a service principal with a secret.
#[derive(Debug, Clone)]
pub(super) struct ClientCredentials {
    pub(super) client_id: String,
    pub(super) client_secret: ClientSecret,
}

/// The token exchange grant: a token of an identity provider that the workspace trusts.
#[derive(Debug, Clone)]
pub(super) struct TokenExchange {
    pub(super) client_id: Option<String>,
    pub(super) subject_token: SubjectToken,
}

impl ClientCredentials {
    pub(super) async fn fetch(&self, context: &FetchContext<'_>) -> Result<AccessToken, Error> {
        let secret = self.client_secret.read()?;
        let url = token_endpoint(context, &secret).await?;
        let form =
            vec![("grant_type", "client_credentials".to_owned()), ("scope", "all-apis".to_owned())];
        let mut request = TokenRequest::post(context.workspace_http, url, form);
        request.headers.extend([headers::basic(&self.client_id, &secret)?]);
        request.headers.extend(context.host.workspace_header());
        request.other_secret = Some(secret);
        request.fetch_token().await
    }
}

impl TokenExchange {
    pub(super) async fn fetch(&self, context: &FetchContext<'_>) -> Result<AccessToken, Error> {
        let subject_token = self.subject_token.read()?;
        let url = token_endpoint(context, &subject_token).await?;
        let mut form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
            ("subject_token", subject_token.expose_secret().to_owned()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt".to_owned()),
            ("scope", "all-apis".to_owned()),
        ];
        form.extend(self.client_id.clone().map(|client_id| ("client_id", client_id)));
        let mut request = TokenRequest::post(context.workspace_http, url, form);
        request.headers.extend(context.host.workspace_header());
        request.fetch_token().await
    }
}

#[derive(Deserialize)]
struct ServerMetadata {
    token_endpoint: Option<String>,
}

/// Discovers the token endpoint of the workspace. Rejects one on another host: a secret never leaves its workspace.
///
/// The request contains no secret, but a workspace that received `secret` earlier can quote it.
async fn token_endpoint(
    context: &FetchContext<'_>,
    secret: &SecretString,
) -> Result<String, Error> {
    let url = format!("{}/oidc/.well-known/oauth-authorization-server", context.host.base_url());
    let headers = context.host.workspace_header().into_iter().collect();
    let mut request = TokenRequest::get(context.workspace_http, url.clone(), headers);
    request.other_secret = Some(secret.clone());
    let body = request.fetch().await?;
    let metadata = serde_json::from_slice::<ServerMetadata>(&body).ok();
    let error = |kind, why| Error::new(kind, format!("{url} {why}")).before_sending();
    match metadata.and_then(|metadata| metadata.token_endpoint) {
        Some(endpoint) if is_at(&endpoint, context.host) => Ok(endpoint),
        Some(_) => Err(error(
            ErrorKind::Unauthenticated,
            "names a token endpoint on another host; no secret is sent there",
        )),
        None => Err(error(ErrorKind::Unavailable, "names no token endpoint")),
    }
}

/// True if the URL has the scheme, name and port of the host.
fn is_at(url: &str, host: &Host) -> bool {
    url.strip_prefix(&host.base_url()).is_some_and(|path| path.starts_with('/'))
        || Host::parse(url).is_ok_and(|parsed| parsed.as_str() == host.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_endpoint_must_be_on_the_host_of_the_workspace() {
        let host = Host::parse("dbc-1.cloud.databricks.com").unwrap();
        for (url, expected) in [
            ("https://dbc-1.cloud.databricks.com/oidc/v1/token", true),
            ("https://DBC-1.cloud.databricks.com:443/oidc/v1/token", true),
            ("http://dbc-1.cloud.databricks.com/oidc/v1/token", false),
            ("https://dbc-1.cloud.databricks.com.evil.example/token", false),
            ("https://dbc-1.cloud.databricks.com@evil.example/token", false),
            ("https://accounts.cloud.databricks.com/token", false),
            ("https://dbc-1.cloud.databricks.com:8443/token", false),
            ("", false),
        ] {
            assert_eq!(is_at(url, &host), expected, "{url}");
        }
    }
}
