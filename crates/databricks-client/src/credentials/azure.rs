//! Tokens of Entra ID (DA §4.6): one for Databricks, and one for the cloud's management that goes with it.

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::debug;

use super::{
    ClientSecret, Credentials, Minting, SubjectToken, exchange::Ask, flow::Authorities,
    token::Token,
};
use crate::Error;

/// What Databricks is called in every tenant.
const DATABRICKS: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";

const MANAGEMENT_TOKEN: HeaderName =
    HeaderName::from_static("x-databricks-azure-sp-management-token");
const RESOURCE_ID: HeaderName = HeaderName::from_static("x-databricks-azure-workspace-resource-id");

/// Which Azure, and which workspace in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AzureCloud {
    /// `public`, `usgovernment` or `china`; public unless set.
    pub environment: Option<String>,
    /// The resource id of the workspace; with it a principal that is no user of the workspace yet is let in.
    pub workspace_resource_id: Option<String>,
}

impl AzureCloud {
    fn login(&self) -> &'static str {
        match self.environment.as_deref() {
            Some("usgovernment") => "https://login.microsoftonline.us/",
            Some("china") => "https://login.chinacloudapi.cn/",
            _ => "https://login.microsoftonline.com/",
        }
    }

    fn management(&self) -> &'static str {
        match self.environment.as_deref() {
            Some("usgovernment") => "https://management.core.usgovcloudapi.net/",
            Some("china") => "https://management.core.chinacloudapi.cn/",
            _ => "https://management.core.windows.net/",
        }
    }
}

/// A principal of Entra ID.
#[derive(Debug, Clone)]
pub(super) struct Azure {
    pub(super) proof: Proof,
    pub(super) cloud: AzureCloud,
}

/// How the principal proves itself.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    Secret { tenant_id: String, client_id: String, client_secret: ClientSecret },
    Assertion { tenant_id: String, client_id: String, subject: SubjectToken },
    ManagedIdentity { client_id: Option<String> },
}

impl Azure {
    pub(super) async fn mint(
        &self,
        credentials: &Credentials,
        authorities: &Authorities,
        minting: &Minting<'_>,
    ) -> Result<Token, Error> {
        let token = self.ask(DATABRICKS, authorities, minting)?.token(credentials).await?;
        let Some(resource_id) = &self.cloud.workspace_resource_id else { return Ok(token) };
        let token = token.with_extra(RESOURCE_ID, SecretString::from(resource_id.clone()));
        let management = self.ask(self.cloud.management(), authorities, minting)?;
        match management.token(credentials).await {
            Ok(management) => Ok(token.with_extra(MANAGEMENT_TOKEN, management.secret)),
            Err(error) if error.is_retryable() => Err(error),
            // A principal that is a user of the workspace already needs none.
            Err(error) => {
                debug!(%error, "no management token");
                Ok(token)
            }
        }
    }

    fn ask<'a>(
        &self,
        resource: &str,
        authorities: &Authorities,
        minting: &Minting<'a>,
    ) -> Result<Ask<'a>, Error> {
        let login = |tenant: &str| {
            let base = authorities.azure_login.as_deref().unwrap_or(self.cloud.login());
            format!("{}/{tenant}/oauth2/token", base.trim_end_matches('/'))
        };
        let mut form = vec![
            ("grant_type", "client_credentials".to_owned()),
            ("resource", resource.to_owned()),
        ];
        let url = match &self.proof {
            Proof::Secret { tenant_id, client_id, client_secret } => {
                form.push(("client_id", client_id.clone()));
                form.push(("client_secret", client_secret.read()?.expose_secret().to_owned()));
                login(tenant_id)
            }
            Proof::Assertion { tenant_id, client_id, subject } => {
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form.push(("client_id", client_id.clone()));
                form.push(("client_assertion_type", kind.to_owned()));
                form.push(("client_assertion", subject.read()?.expose_secret().to_owned()));
                login(tenant_id)
            }
            Proof::ManagedIdentity { client_id } => {
                return Ok(machine(resource, client_id.as_deref(), authorities, minting));
            }
        };
        Ok(Ask { http: minting.cloud, url, form: Some(form), headers: HeaderMap::new() })
    }
}

/// The machine's own service for its identity, which answers on a link-local address alone.
fn machine<'a>(
    resource: &str,
    client_id: Option<&str>,
    authorities: &Authorities,
    minting: &Minting<'a>,
) -> Ask<'a> {
    let base = authorities.azure_machine.as_deref().unwrap_or("http://169.254.169.254");
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("api-version", "2018-02-01").append_pair("resource", resource);
    if let Some(client_id) = client_id {
        query.append_pair("client_id", client_id);
    }
    let url =
        format!("{}/metadata/identity/oauth2/token?{}", base.trim_end_matches('/'), query.finish());
    let headers = HeaderMap::from_iter([(
        HeaderName::from_static("metadata"),
        HeaderValue::from_static("true"),
    )]);
    Ask { http: minting.cloud, url, form: None, headers }
}
