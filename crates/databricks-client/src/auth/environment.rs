//! Credentials from the standard environment variables and the configuration profile of Databricks' own tools. The
//! order of precedence is that of Databricks' SDKs (databricks-api.md#credential-order).

use std::{collections::BTreeMap, sync::Arc};

use super::{
    AzureCloud, Credentials, Environment, SubjectToken, TokenEndpoints, clean_secret, profile,
};

/// The host and credential that the environment configures.
#[derive(Debug, Clone)]
pub struct EnvironmentCredentials {
    /// `DATABRICKS_HOST`, or the host of the profile.
    pub host: Option<String>,
    /// The credential, if there is one.
    pub credentials: Option<Credentials>,
}

/// Why the environment configures no credential: the variables, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EnvironmentError(String);

/// The attributes of a profile, each with the variables that override it, in order of precedence.
const ATTRIBUTES: [(&str, &[&str]); 17] = [
    ("host", &["DATABRICKS_HOST"]),
    ("workspace_id", &["DATABRICKS_WORKSPACE_ID"]),
    ("token", &["DATABRICKS_TOKEN"]),
    ("client_id", &["DATABRICKS_CLIENT_ID"]),
    ("client_secret", &["DATABRICKS_CLIENT_SECRET"]),
    ("auth_type", &["DATABRICKS_AUTH_TYPE"]),
    ("oidc_token_env", &["DATABRICKS_OIDC_TOKEN_ENV"]),
    ("oidc_token_filepath", &["DATABRICKS_OIDC_TOKEN_FILEPATH", "DATABRICKS_OIDC_TOKEN_FILE"]),
    ("azure_workspace_resource_id", &["DATABRICKS_AZURE_RESOURCE_ID"]),
    ("azure_use_msi", &["ARM_USE_MSI"]),
    ("azure_client_id", &["ARM_CLIENT_ID"]),
    ("azure_client_secret", &["ARM_CLIENT_SECRET"]),
    ("azure_tenant_id", &["ARM_TENANT_ID"]),
    ("azure_environment", &["ARM_ENVIRONMENT"]),
    // The webhook of Azure Workload Identity sets the second in each pod of such a service account.
    ("azure_federated_token_file", &["ARM_OIDC_TOKEN_FILE_PATH", "AZURE_FEDERATED_TOKEN_FILE"]),
    ("azure_login", &["AZURE_AUTHORITY_HOST"]),
    ("google_service_account", &["DATABRICKS_GOOGLE_SERVICE_ACCOUNT"]),
];

/// Non-empty attributes by name, without surrounding whitespace.
type Attributes = BTreeMap<&'static str, String>;

impl EnvironmentCredentials {
    /// Reads the variables, and the profile if `DATABRICKS_CONFIG_PROFILE` or `DATABRICKS_CONFIG_FILE` is set.
    /// Variables take precedence. `name` is the name of the credential.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError`] if the profile cannot be read, if an attribute is missing, or if there are several
    /// credentials and `DATABRICKS_AUTH_TYPE` selects none.
    pub fn read(name: &str, environment: &Environment) -> Result<Self, EnvironmentError> {
        let variable = |name: &str| {
            let value = environment(name)?.trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let mut attributes = profile_attributes(&variable)?;
        for (attribute, variables) in ATTRIBUTES {
            if let Some(value) = variables.iter().find_map(|name| variable(name)) {
                attributes.insert(attribute, value);
            }
        }
        let host = attributes.get("host").map(|host| match attributes.get("workspace_id") {
            Some(id) if !host.contains('?') => format!("{host}?workspace_id={id}"),
            _ => host.clone(),
        });
        let has_token_variable = variable("DATABRICKS_OIDC_TOKEN").is_some();
        let Some(auth_type) = select_auth_type(&attributes, has_token_variable)? else {
            return Ok(Self { host, credentials: None });
        };
        let credentials = build(auth_type, name, &attributes, environment)?;
        let endpoints = TokenEndpoints {
            azure_login: attributes.get("azure_login").cloned(),
            azure_metadata: variable("AZURE_POD_IDENTITY_AUTHORITY_HOST"),
            google_metadata: variable("GCE_METADATA_HOST").map(|host| format!("http://{host}")),
            google_iam: None,
        };
        Ok(Self { host, credentials: Some(credentials.with_token_endpoints(endpoints)) })
    }
}

/// Returns the attributes of the configured profile.
fn profile_attributes(
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<Attributes, EnvironmentError> {
    let (profile, file) =
        (variable("DATABRICKS_CONFIG_PROFILE"), variable("DATABRICKS_CONFIG_FILE"));
    if profile.is_none() && file.is_none() {
        return Ok(Attributes::new());
    }
    let path = match (file, variable("HOME")) {
        (Some(file), _) => file,
        (None, Some(home)) => format!("{home}/.databrickscfg"),
        (None, None) => {
            return Err(EnvironmentError(
                "DATABRICKS_CONFIG_PROFILE is set, but the file is unknown: set DATABRICKS_CONFIG_FILE or HOME".to_owned(),
            ));
        }
    };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        EnvironmentError(format!("cannot read the profiles in {path}: {error}"))
    })?;
    let found = profile::attributes(&text, profile.as_deref()).ok_or_else(|| {
        let name = profile.as_deref().unwrap_or("DEFAULT");
        EnvironmentError(format!("{path} has no profile `{name}`"))
    })?;
    Ok(ATTRIBUTES
        .iter()
        .filter_map(|(name, _)| Some((*name, found.get(*name)?.clone())))
        .filter(|(_, value)| !value.is_empty())
        .collect())
}

/// Returns the authentication type that the attributes configure.
fn select_auth_type(
    attributes: &Attributes,
    has_token_variable: bool,
) -> Result<Option<&'static str>, EnvironmentError> {
    let has = |name: &str| attributes.contains_key(name);
    let uses_msi = attributes.get("azure_use_msi").is_some_and(|value| is_true(value));
    // Azure Workload Identity counts only without another credential: a webhook sets its file in each pod.
    let workload_identity = "azure-workload-identity";
    let auth_types = [
        ("pat", has("token")),
        ("oauth-m2m", has("client_secret")),
        ("env-oidc", has("oidc_token_env") || has_token_variable),
        ("file-oidc", has("oidc_token_filepath")),
        ("azure-client-secret", has("azure_client_secret")),
        ("azure-msi", uses_msi),
        (workload_identity, false),
        ("google-id", has("google_service_account")),
    ];
    if let Some(selected) = attributes.get("auth_type") {
        let known = auth_types.map(|(auth_type, _)| auth_type);
        let found = known.into_iter().find(|known| known == selected);
        return found.map(Some).ok_or_else(|| {
            let known = known.join(", ");
            EnvironmentError(format!("DATABRICKS_AUTH_TYPE is `{selected}`; supported are {known}"))
        });
    }
    let configured: Vec<&'static str> = auth_types
        .into_iter()
        .filter(|(_, is_configured)| *is_configured)
        .map(|(name, _)| name)
        .collect();
    match configured.as_slice() {
        [] => {
            let pod = ["azure_federated_token_file", "azure_client_id", "azure_tenant_id"];
            Ok(pod.into_iter().all(has).then_some(workload_identity))
        }
        [only] => Ok(Some(only)),
        several => Err(EnvironmentError(format!(
            "the environment configures several credentials, {}; select one with DATABRICKS_AUTH_TYPE",
            several.join(" and ")
        ))),
    }
}

fn is_true(value: &str) -> bool {
    ["1", "true", "yes"].contains(&value.to_ascii_lowercase().as_str())
}

/// Builds the credential of an authentication type.
fn build(
    auth_type: &'static str,
    name: &str,
    attributes: &Attributes,
    environment: &Environment,
) -> Result<Credentials, EnvironmentError> {
    let need = |attribute: &str| {
        attributes.get(attribute).cloned().ok_or_else(|| {
            let variables = ATTRIBUTES.iter().find(|(name, _)| *name == attribute);
            let variable = variables.and_then(|(_, names)| names.first()).unwrap_or(&"");
            EnvironmentError(format!("{auth_type} requires {variable}"))
        })
    };
    let secret = |attribute: &str| {
        let text = need(attribute)?;
        clean_secret(&text).ok_or_else(|| EnvironmentError(format!("{attribute} is empty")))
    };
    // Ignored by the other types.
    let azure_environment = attributes
        .get("azure_environment")
        .filter(|_| auth_type.starts_with("azure-"))
        .map(|text| {
            text.parse().map_err(|error| EnvironmentError(format!("ARM_ENVIRONMENT: {error}")))
        })
        .transpose()?;
    let azure = AzureCloud {
        environment: azure_environment,
        workspace_resource_id: attributes.get("azure_workspace_resource_id").cloned(),
    };
    let client_id = || attributes.get("client_id").cloned();
    Ok(match auth_type {
        "pat" => Credentials::personal_access_token(name, secret("token")?),
        "oauth-m2m" => Credentials::oauth_m2m(name, need("client_id")?, secret("client_secret")?),
        "env-oidc" => {
            let variable = attributes.get("oidc_token_env").cloned();
            let variable = variable.unwrap_or_else(|| "DATABRICKS_OIDC_TOKEN".to_owned());
            let subject = SubjectToken::Variable(variable, Arc::clone(environment));
            Credentials::token_federation(name, client_id(), subject)
        }
        "file-oidc" => {
            let subject = SubjectToken::File(need("oidc_token_filepath")?.into());
            Credentials::token_federation(name, client_id(), subject)
        }
        "azure-client-secret" => Credentials::azure_client_secret(
            name,
            need("azure_tenant_id")?,
            need("azure_client_id")?,
            secret("azure_client_secret")?,
            azure,
        ),
        "azure-msi" => Credentials::azure_managed_identity(
            name,
            attributes.get("azure_client_id").cloned(),
            azure,
        ),
        "azure-workload-identity" => Credentials::azure_workload_identity(
            name,
            need("azure_tenant_id")?,
            need("azure_client_id")?,
            SubjectToken::File(need("azure_federated_token_file")?.into()),
            azure,
        ),
        _ => Credentials::google_id_token(name, attributes.get("google_service_account").cloned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<EnvironmentCredentials, EnvironmentError> {
        let variables: BTreeMap<String, String> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        EnvironmentCredentials::read(
            "the environment's",
            &(Arc::new(move |name: &str| variables.get(name).cloned()) as Environment),
        )
    }

    fn auth_type_of(variables: &[(&str, &str)]) -> Option<&'static str> {
        read(variables).unwrap().credentials.map(|credentials| credentials.auth_type())
    }

    const M2M: [(&str, &str); 2] =
        [("DATABRICKS_CLIENT_ID", "id"), ("DATABRICKS_CLIENT_SECRET", "s")];
    const ENTRA: [(&str, &str); 3] =
        [("ARM_CLIENT_ID", "i"), ("ARM_CLIENT_SECRET", "s"), ("ARM_TENANT_ID", "t")];

    #[test]
    fn variables_select_the_authentication_type() {
        assert_eq!(auth_type_of(&[]), None);
        assert_eq!(auth_type_of(&[("DATABRICKS_TOKEN", " ")]), None);
        assert_eq!(auth_type_of(&[("DATABRICKS_TOKEN", "t")]), Some("pat"));
        assert_eq!(auth_type_of(&M2M), Some("oauth-m2m"));
        assert_eq!(auth_type_of(&[("DATABRICKS_OIDC_TOKEN", "j")]), Some("env-oidc"));
        assert_eq!(auth_type_of(&[("DATABRICKS_OIDC_TOKEN_ENV", "X")]), Some("env-oidc"));
        assert_eq!(auth_type_of(&[("DATABRICKS_OIDC_TOKEN_FILEPATH", "/f")]), Some("file-oidc"));
        assert_eq!(auth_type_of(&ENTRA), Some("azure-client-secret"));
        assert_eq!(auth_type_of(&[("ARM_USE_MSI", "true")]), Some("azure-msi"));
        assert_eq!(
            auth_type_of(&[("DATABRICKS_GOOGLE_SERVICE_ACCOUNT", "a@b")]),
            Some("google-id")
        );
        let pod =
            [("AZURE_FEDERATED_TOKEN_FILE", "/f"), ("ARM_CLIENT_ID", "i"), ("ARM_TENANT_ID", "t")];
        assert_eq!(auth_type_of(&pod), Some("azure-workload-identity"));
        assert_eq!(auth_type_of(&[pod[0], ("DATABRICKS_TOKEN", "t")]), Some("pat"));
    }

    #[test]
    fn several_credentials_without_a_selection_are_an_error_that_names_them() {
        let both = [&M2M[..], &[("DATABRICKS_TOKEN", "t")]].concat();
        let error = read(&both).unwrap_err().to_string();
        assert!(error.contains("pat and oauth-m2m"), "{error}");
        let selected = [&both[..], &[("DATABRICKS_AUTH_TYPE", "oauth-m2m")]].concat();
        assert_eq!(auth_type_of(&selected), Some("oauth-m2m"));
    }

    #[test]
    fn error_names_the_missing_variable_or_the_unknown_value() {
        let missing = read(&M2M[1..]).unwrap_err().to_string();
        assert_eq!(missing, "oauth-m2m requires DATABRICKS_CLIENT_ID");
        let unknown_cloud = [&ENTRA[..], &[("ARM_ENVIRONMENT", "AzureGermanCloud")]].concat();
        let unknown_cloud = read(&unknown_cloud).unwrap_err().to_string();
        assert!(
            unknown_cloud.starts_with("ARM_ENVIRONMENT: not an Azure cloud"),
            "{unknown_cloud}"
        );
        let in_capitals = [&ENTRA[..], &[("ARM_ENVIRONMENT", "USGOVERNMENT")]].concat();
        assert_eq!(auth_type_of(&in_capitals), Some("azure-client-secret"));
        let unknown = read(&[("DATABRICKS_AUTH_TYPE", "basic")]).unwrap_err().to_string();
        assert!(unknown.contains("`basic`") && unknown.contains("file-oidc"), "{unknown}");
    }

    #[test]
    fn profile_is_read_if_selected_and_variables_take_precedence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profiles");
        std::fs::write(&path, "[team]\nhost = h1\nclient_id = i\nclient_secret = s\n").unwrap();
        let path = path.to_str().unwrap();
        let selected = [("DATABRICKS_CONFIG_FILE", path), ("DATABRICKS_CONFIG_PROFILE", "team")];
        let found = read(&selected).unwrap();
        assert_eq!(found.host.as_deref(), Some("h1"));
        assert_eq!(found.credentials.unwrap().auth_type(), "oauth-m2m");
        let overridden = [&selected[..], &[("DATABRICKS_HOST", "h2")]].concat();
        assert_eq!(read(&overridden).unwrap().host.as_deref(), Some("h2"));
        let absent = [selected[0], ("DATABRICKS_CONFIG_PROFILE", "other")];
        assert!(read(&absent).unwrap_err().to_string().ends_with("has no profile `other`"));
    }
}
