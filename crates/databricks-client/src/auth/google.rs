//! ID tokens of Google service accounts: one for the workspace, and an access token that is sent along
//! (databricks-api.md#google-and-others).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    TokenEndpoints,
    access_token::AccessToken,
    fetch_context::FetchContext,
    headers,
    token_endpoints::base_url,
    token_request::{TokenRequest, without_query},
};
use crate::{Error, ErrorKind};

const ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-databricks-gcp-sa-access-token");

/// The lifetime of Google's tokens.
const LIFETIME: Duration = Duration::from_hours(1);

/// The service account of this process, or one that it may impersonate.
#[derive(Debug, Clone)]
pub(super) struct GoogleAccount {
    pub(super) impersonated: Option<String>,
}

#[derive(Deserialize)]
struct IdTokenResponse {
    token: Option<String>,
}

impl GoogleAccount {
    pub(super) async fn fetch(
        &self,
        endpoints: &TokenEndpoints,
        context: &FetchContext<'_>,
    ) -> Result<AccessToken, Error> {
        let metadata =
            base_url(endpoints.google_metadata.as_deref(), "http://metadata.google.internal");
        let own = format!("{metadata}/computeMetadata/v1/instance/service-accounts/default");
        let access = metadata_request(context, format!("{own}/token")).fetch_token().await?;
        let audience = context.host.base_url();
        let sent_at = Instant::now();
        let id_token = match &self.impersonated {
            None => {
                let query = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("audience", &audience)
                    .append_pair("format", "full")
                    .finish();
                let body =
                    metadata_request(context, format!("{own}/identity?{query}")).fetch().await?;
                String::from_utf8_lossy(&body).trim().to_owned()
            }
            Some(account) => {
                let iam = base_url(
                    endpoints.google_iam.as_deref(),
                    "https://iamcredentials.googleapis.com",
                );
                let url = format!("{iam}/v1/projects/-/serviceAccounts/{account}:generateIdToken");
                let form = vec![("audience", audience), ("includeEmail", "true".to_owned())];
                let mut request = TokenRequest::post(context.cloud_http, url, form);
                let bearer = headers::bearer(&access.secret, "the Google access token")?;
                request.headers.extend([bearer]);
                request.other_secret = Some(access.secret.clone());
                let body = request.fetch().await?;
                let response = serde_json::from_slice::<IdTokenResponse>(&body).ok();
                response.and_then(|response| response.token).unwrap_or_default()
            }
        };
        if id_token.is_empty() {
            let text = format!("{} returned no ID token", without_query(metadata));
            return Err(Error::new(ErrorKind::Unavailable, text).before_sending());
        }
        let token = AccessToken::new(SecretString::from(id_token), sent_at, LIFETIME);
        Ok(token.with_header(ACCESS_TOKEN, access.secret))
    }
}

/// Returns a request to the metadata server of the virtual machine.
fn metadata_request<'a>(context: &FetchContext<'a>, url: String) -> TokenRequest<'a> {
    let header = (HeaderName::from_static("metadata-flavor"), HeaderValue::from_static("Google"));
    TokenRequest::get(context.cloud_http, url, HeaderMap::from_iter([header]))
}
