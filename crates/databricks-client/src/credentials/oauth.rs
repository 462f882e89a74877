//! OAuth at the workspace itself (DA §4.5).

use http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{ClientSecret, Credentials, Minting, SubjectToken, exchange::Ask, token::Token};
use crate::{Error, ErrorKind, Host};

/// A service principal with a secret.
#[derive(Debug, Clone)]
pub(super) struct M2m {
    pub(super) client_id: String,
    pub(super) client_secret: ClientSecret,
}

/// A token of somebody else's, which the workspace trusts.
#[derive(Debug, Clone)]
pub(super) struct Federation {
    pub(super) client_id: Option<String>,
    pub(super) subject: SubjectToken,
}

impl M2m {
    pub(super) async fn mint(
        &self,
        credentials: &Credentials,
        minting: &Minting<'_>,
    ) -> Result<Token, Error> {
        let url = token_endpoint(credentials, minting).await?;
        let form =
            vec![("grant_type", "client_credentials".to_owned()), ("scope", "all-apis".to_owned())];
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, basic(&self.client_id, &self.client_secret.read()?)?);
        Ask { http: minting.http, url, form: Some(form), headers }.token(credentials).await
    }
}

impl Federation {
    pub(super) async fn mint(
        &self,
        credentials: &Credentials,
        minting: &Minting<'_>,
    ) -> Result<Token, Error> {
        let subject = self.subject.read()?;
        let url = token_endpoint(credentials, minting).await?;
        let mut form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
            ("subject_token", subject.expose_secret().to_owned()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt".to_owned()),
            ("scope", "all-apis".to_owned()),
        ];
        if let Some(client_id) = &self.client_id {
            form.push(("client_id", client_id.clone()));
        }
        let ask = Ask { http: minting.http, url, form: Some(form), headers: HeaderMap::new() };
        ask.token(credentials).await
    }
}

fn basic(id: &str, secret: &SecretString) -> Result<HeaderValue, Error> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(format!("{id}:{}", secret.expose_secret()));
    let mut value = HeaderValue::from_str(&format!("Basic {text}"))
        .map_err(|_invalid| Error::new(ErrorKind::Config, "the client id cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[derive(Deserialize)]
struct Discovered {
    token_endpoint: Option<String>,
}

/// Where the workspace mints tokens. What it names must be itself: a secret never leaves the host that it is for.
async fn token_endpoint(credentials: &Credentials, minting: &Minting<'_>) -> Result<String, Error> {
    let url = format!("{}/oidc/.well-known/oauth-authorization-server", minting.host.base_url());
    let ask = Ask { http: minting.http, url: url.clone(), form: None, headers: HeaderMap::new() };
    let body = ask.body(credentials).await?;
    let found = serde_json::from_slice::<Discovered>(&body)
        .ok()
        .and_then(|found| found.token_endpoint)
        .ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, format!("{url} names no token endpoint"))
                .before_sending()
        })?;
    if is_at(&found, minting.host) {
        return Ok(found);
    }
    Err(Error::new(
        ErrorKind::Unauthenticated,
        format!(
            "{url} names a token endpoint that is not at the workspace, and no secret goes there"
        ),
    )
    .before_sending())
}

/// Whether the address is below that host, scheme and port included.
fn is_at(url: &str, host: &Host) -> bool {
    url.strip_prefix(&host.base_url()).is_some_and(|path| path.starts_with('/'))
        || Host::parse(url).is_ok_and(|named| named == *host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_leaves_its_host() {
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
