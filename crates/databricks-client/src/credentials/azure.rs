//! Tokens of Entra ID (DA §4.6): one for Databricks, and one for the cloud's management that goes with it.

use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::debug;

use super::{
    ClientSecret, Credentials, Minting, SubjectToken, exchange::Ask, flow::Authorities,
    token::Token,
};
use crate::{Error, Host};

/// What Databricks is called in every tenant.
const DATABRICKS: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";

const MANAGEMENT_TOKEN: HeaderName =
    HeaderName::from_static("x-databricks-azure-sp-management-token");
const RESOURCE_ID: HeaderName = HeaderName::from_static("x-databricks-azure-workspace-resource-id");

/// Which Azure, and which workspace in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AzureCloud {
    /// Which of Azure's clouds; the one of the workspace's host unless set.
    pub environment: Option<AzureEnvironment>,
    /// The resource id of the workspace; with it a principal that is no user of the workspace yet is let in.
    pub workspace_resource_id: Option<String>,
}

/// One of Azure's clouds, each with authorities of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AzureEnvironment {
    /// `public`.
    Public,
    /// `usgovernment`.
    UsGovernment,
    /// `china`.
    China,
}

/// What is none of Azure's clouds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("none of Azure's clouds; they are `public`, `usgovernment` and `china`")]
pub struct NoAzureEnvironment;

impl FromStr for AzureEnvironment {
    type Err = NoAzureEnvironment;

    /// Reads the name in any case, as Azure's own tools write it in more than one.
    fn from_str(text: &str) -> Result<Self, NoAzureEnvironment> {
        match text.trim().to_ascii_lowercase().as_str() {
            "public" => Ok(Self::Public),
            "usgovernment" => Ok(Self::UsGovernment),
            "china" => Ok(Self::China),
            _ => Err(NoAzureEnvironment),
        }
    }
}

impl AzureEnvironment {
    /// The cloud of a workspace, by the suffix of its name (DA §4.3).
    fn of(host: &Host) -> Self {
        if host.name().ends_with(".databricks.azure.us") {
            Self::UsGovernment
        } else if host.name().ends_with(".databricks.azure.cn") {
            Self::China
        } else {
            Self::Public
        }
    }

    fn login(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com/",
            Self::UsGovernment => "https://login.microsoftonline.us/",
            Self::China => "https://login.chinacloudapi.cn/",
        }
    }

    fn management(self) -> &'static str {
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
        let resource = self.cloud.environment(minting.host).management();
        let management = self.ask(resource, authorities, minting)?;
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
            let own = self.cloud.environment(minting.host).login();
            let base = authorities.azure_login.as_deref().unwrap_or(own);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_goes_to_the_authority_of_its_own_cloud() {
        let login = |environment: Option<&str>, host: &str| {
            let environment = environment.map(|text| text.parse().unwrap());
            let cloud = AzureCloud { environment, ..AzureCloud::default() };
            cloud.environment(&host.parse().unwrap()).login()
        };
        let (us, china, public) = (
            "https://login.microsoftonline.us/",
            "https://login.chinacloudapi.cn/",
            "https://login.microsoftonline.com/",
        );
        let known = "adb-1.2.azuredatabricks.net";
        assert_eq!(login(None, known), public);
        assert_eq!(login(Some("USGOVERNMENT"), known), us);
        assert_eq!(login(Some("usGovernment"), known), us);
        assert_eq!(login(Some("China"), known), china);
        assert_eq!(login(Some("PUBLIC"), "adb-1.2.databricks.azure.us"), public);
        assert_eq!(login(None, "adb-1.2.databricks.azure.us"), us);
        assert_eq!(login(None, "adb-1.2.databricks.azure.cn"), china);
        assert_eq!("AzureGermanCloud".parse::<AzureEnvironment>(), Err(NoAzureEnvironment));
    }
}
