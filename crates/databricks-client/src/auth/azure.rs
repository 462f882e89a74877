//! Tokens of Entra ID: one for Databricks, and one for Azure management that is sent along (databricks-api.md#azure).

use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::debug;

use super::{
    ClientSecret, SubjectToken, TokenEndpoints, access_token::AccessToken,
    fetch_context::FetchContext, token_endpoints::base_url, token_request::TokenRequest,
};
use crate::{Error, Host};

/// The application id of Databricks, the same in every tenant.
const DATABRICKS: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";

const MANAGEMENT_TOKEN: HeaderName =
    HeaderName::from_static("x-databricks-azure-sp-management-token");
const RESOURCE_ID: HeaderName = HeaderName::from_static("x-databricks-azure-workspace-resource-id");

/// The Azure cloud and the workspace in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AzureCloud {
    /// The cloud. Derived from the host of the workspace if absent.
    pub environment: Option<AzureEnvironment>,
    /// The resource id of the workspace. Admits a principal that is not yet a user of the workspace.
    pub workspace_resource_id: Option<String>,
}

/// An Azure cloud with its own token endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AzureEnvironment {
    /// `public`.
    Public,
    /// `usgovernment`.
    UsGovernment,
    /// `china`.
    China,
}

/// The text is not the name of an Azure cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Azure cloud; expected `public`, `usgovernment` or `china`")]
pub struct InvalidAzureEnvironment;

impl FromStr for AzureEnvironment {
    type Err = InvalidAzureEnvironment;

    /// Parses a name, ignoring case, since the tools of Azure use several spellings.
    fn from_str(text: &str) -> Result<Self, InvalidAzureEnvironment> {
        match text.trim().to_ascii_lowercase().as_str() {
            "public" => Ok(Self::Public),
            "usgovernment" => Ok(Self::UsGovernment),
            "china" => Ok(Self::China),
            _ => Err(InvalidAzureEnvironment),
        }
    }
}

impl AzureEnvironment {
    /// Returns the cloud of a workspace by the suffix of its name (databricks-api.md#host-names).
    fn of(host: &Host) -> Self {
        if host.name().ends_with(".databricks.azure.us") {
            Self::UsGovernment
        } else if host.name().ends_with(".databricks.azure.cn") {
            Self::China
        } else {
            Self::Public
        }
    }

    fn login_url(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com/",
            Self::UsGovernment => "https://login.microsoftonline.us/",
            Self::China => "https://login.chinacloudapi.cn/",
        }
    }

    fn management_url(self) -> &'static str {
        match self {
            Self::Public => "https://management.core.windows.net/",
            Self::UsGovernment => "https://management.core.usgovcloudapi.net/",
            Self::China => "https://management.core.chinacloudapi.cn/",
        }
    }
}

impl AzureCloud {
    fn environment(&self, host: &Host) -> AzureEnvironment {
        self.environment.unwrap_or_else(|| AzureEnvironment::of(host))
    }
}

/// A principal of Entra ID.
#[derive(Debug, Clone)]
pub(super) struct AzurePrincipal {
    pub(super) method: AzureAuthMethod,
    pub(super) cloud: AzureCloud,
}

/// How the principal authenticates with Entra ID.
#[derive(Debug, Clone)]
pub(super) enum AzureAuthMethod {
    ClientSecret { tenant_id: String, client_id: String, client_secret: ClientSecret },
    WorkloadIdentity { tenant_id: String, client_id: String, subject_token: SubjectToken },
    ManagedIdentity { client_id: Option<String> },
}

impl AzurePrincipal {
    pub(super) async fn fetch(
        &self,
        endpoints: &TokenEndpoints,
        context: &FetchContext<'_>,
    ) -> Result<AccessToken, Error> {
        let token = self.request(DATABRICKS, endpoints, context)?.fetch_token().await?;
        let Some(resource_id) = &self.cloud.workspace_resource_id else { return Ok(token) };
        let token = token.with_header(RESOURCE_ID, SecretString::from(resource_id.clone()));
        let management = self.cloud.environment(context.host).management_url();
        match self.request(management, endpoints, context)?.fetch_token().await {
            Ok(management) => Ok(token.with_header(MANAGEMENT_TOKEN, management.secret)),
            Err(error) if error.is_retryable() => Err(error),
            // Not needed by a principal that is a user of the workspace.
            Err(error) => {
                debug!(%error, "no management token");
                Ok(token)
            }
        }
    }

    fn request<'a>(
        &self,
        resource: &str,
        endpoints: &TokenEndpoints,
        context: &FetchContext<'a>,
    ) -> Result<TokenRequest<'a>, Error> {
        let mut form = vec![
            ("grant_type", "client_credentials".to_owned()),
            ("resource", resource.to_owned()),
        ];
        let tenant_id = match &self.method {
            AzureAuthMethod::ClientSecret { tenant_id, client_id, client_secret } => {
                form.push(("client_id", client_id.clone()));
                form.push(("client_secret", client_secret.read()?.expose_secret().to_owned()));
                tenant_id
            }
            AzureAuthMethod::WorkloadIdentity { tenant_id, client_id, subject_token } => {
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form.push(("client_id", client_id.clone()));
                form.push(("client_assertion_type", kind.to_owned()));
                form.push(("client_assertion", subject_token.read()?.expose_secret().to_owned()));
                tenant_id
            }
            AzureAuthMethod::ManagedIdentity { client_id } => {
                return Ok(metadata_request(resource, client_id.as_deref(), endpoints, context));
            }
        };
        let login_url = self.cloud.environment(context.host).login_url();
        let base = base_url(endpoints.azure_login.as_deref(), login_url);
        let url = format!("{base}/{tenant_id}/oauth2/token");
        Ok(TokenRequest::post(context.cloud_http, url, form))
    }
}

/// Returns a request to the instance metadata service of the virtual machine.
fn metadata_request<'a>(
    resource: &str,
    client_id: Option<&str>,
    endpoints: &TokenEndpoints,
    context: &FetchContext<'a>,
) -> TokenRequest<'a> {
    let base = base_url(endpoints.azure_metadata.as_deref(), "http://169.254.169.254");
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("api-version", "2018-02-01").append_pair("resource", resource);
    if let Some(client_id) = client_id {
        query.append_pair("client_id", client_id);
    }
    let url = format!("{base}/metadata/identity/oauth2/token?{}", query.finish());
    let header = (HeaderName::from_static("metadata"), HeaderValue::from_static("true"));
    TokenRequest::get(context.cloud_http, url, HeaderMap::from_iter([header]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_sent_to_the_token_endpoint_of_its_cloud() {
        let login_url = |environment: Option<&str>, host: &str| {
            let environment = environment.map(|text| text.parse().unwrap());
            let cloud = AzureCloud { environment, ..AzureCloud::default() };
            cloud.environment(&host.parse().unwrap()).login_url()
        };
        let (us, china, public) = (
            "https://login.microsoftonline.us/",
            "https://login.chinacloudapi.cn/",
            "https://login.microsoftonline.com/",
        );
        let public_host = "adb-1.2.azuredatabricks.net";
        assert_eq!(login_url(None, public_host), public);
        assert_eq!(login_url(Some("USGOVERNMENT"), public_host), us);
        assert_eq!(login_url(Some("usGovernment"), public_host), us);
        assert_eq!(login_url(Some("China"), public_host), china);
        assert_eq!(login_url(Some("PUBLIC"), "adb-1.2.databricks.azure.us"), public);
        assert_eq!(login_url(None, "adb-1.2.databricks.azure.us"), us);
        assert_eq!(login_url(None, "adb-1.2.databricks.azure.cn"), china);
        assert_eq!("AzureGermanCloud".parse::<AzureEnvironment>(), Err(InvalidAzureEnvironment));
    }
}
