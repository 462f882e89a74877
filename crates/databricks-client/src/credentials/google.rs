//! ID tokens of Google service accounts (DA §4.7): an ID token for the workspace, and an access token that goes with it.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    Credentials, Minting,
    exchange::{self, Ask},
    flow::Authorities,
    token::Token,
};
use crate::{Error, ErrorKind};

const ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-databricks-gcp-sa-access-token");

/// Google's tokens live for an hour.
const LIFETIME: Duration = Duration::from_hours(1);

/// The service account that this runs as, or one that it may speak for.
#[derive(Debug, Clone)]
pub(super) struct Google {
    pub(super) service_account: Option<String>,
}

#[derive(Deserialize)]
struct IdToken {
    token: Option<String>,
}

impl Google {
    pub(super) async fn mint(
        &self,
        credentials: &Credentials,
        authorities: &Authorities,
        minting: &Minting<'_>,
    ) -> Result<Token, Error> {
        let machine = authorities
            .google_machine
            .as_deref()
            .unwrap_or("http://metadata.google.internal")
            .trim_end_matches('/');
        let own = format!("{machine}/computeMetadata/v1/instance/service-accounts/default");
        let access = ask(minting, format!("{own}/token")).token(credentials).await?;
        let audience = minting.host.base_url();
        let asked = Instant::now();
        let id_token = match &self.service_account {
            None => {
                let query = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("audience", &audience)
                    .append_pair("format", "full")
                    .finish();
                let body =
                    ask(minting, format!("{own}/identity?{query}")).body(credentials).await?;
                String::from_utf8_lossy(&body).trim().to_owned()
            }
            Some(account) => {
                let iam = authorities
                    .google_iam
                    .as_deref()
                    .unwrap_or("https://iamcredentials.googleapis.com")
                    .trim_end_matches('/');
                let url = format!("{iam}/v1/projects/-/serviceAccounts/{account}:generateIdToken");
                let form = vec![("audience", audience), ("includeEmail", "true".to_owned())];
                let mut headers = HeaderMap::new();
                let bearer = format!("Bearer {}", access.secret.expose_secret());
                headers.insert(header::AUTHORIZATION, sensitive(&bearer)?);
                let ask = Ask { http: minting.cloud, url: url.clone(), form: Some(form), headers };
                let body = ask.body(credentials).await?;
                serde_json::from_slice::<IdToken>(&body)
                    .ok()
                    .and_then(|answer| answer.token)
                    .unwrap_or_default()
            }
        };
        if id_token.is_empty() {
            let place = exchange::place(machine);
            return Err(Error::new(ErrorKind::Unavailable, format!("{place} gave no ID token"))
                .before_sending());
        }
        Ok(Token::new(SecretString::from(id_token), asked, LIFETIME)
            .with_extra(ACCESS_TOKEN, access.secret))
    }
}

fn ask<'a>(minting: &Minting<'a>, url: String) -> Ask<'a> {
    let headers = HeaderMap::from_iter([(
        HeaderName::from_static("metadata-flavor"),
        HeaderValue::from_static("Google"),
    )]);
    Ask { http: minting.cloud, url, form: None, headers }
}

fn sensitive(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_invalid| Error::new(ErrorKind::Config, "the access token cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}
