//! The standard variables and the profile file of Databricks' own tools (DA §4.4).

use std::{collections::BTreeMap, fmt, sync::Arc};

use secrecy::SecretString;

use super::{AzureCloud, Credentials, SubjectToken, flow::Authorities, profile};

/// Reads a variable; `std::env::var` but for tests.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What the environment says of one workspace.
#[derive(Debug, Clone)]
pub struct FromEnvironment {
    /// `DATABRICKS_HOST`, or the profile's.
    pub host: Option<String>,
    /// The credential, if there is one.
    pub credentials: Option<Credentials>,
}

/// Why the environment gives no credential: which variables, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthError(String);

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AuthError {}

/// An attribute of a profile, and the variables that set it, the first one that is set.
const ATTRIBUTES: [(&str, &[&str]); 16] = [
    ("host", &["DATABRICKS_HOST"]),
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
    // Set by the webhook of Azure's workload identity in every pod of such a service account.
    ("azure_federated_token_file", &["ARM_OIDC_TOKEN_FILE_PATH", "AZURE_FEDERATED_TOKEN_FILE"]),
    ("azure_login", &["AZURE_AUTHORITY_HOST"]),
    ("google_service_account", &["DATABRICKS_GOOGLE_SERVICE_ACCOUNT"]),
];

/// The kinds that can be chosen, as `DATABRICKS_AUTH_TYPE` names them.
const KINDS: [&str; 8] = [
    "pat",
    "oauth-m2m",
    "env-oidc",
    "file-oidc",
    "azure-client-secret",
    "azure-msi",
    "azure-workload-identity",
    "google-id",
];

/// Attributes by name, blanks and empty values left out.
type Attributes = BTreeMap<&'static str, String>;

impl FromEnvironment {
    /// Reads the variables, and the profile file when `DATABRICKS_CONFIG_PROFILE` or `DATABRICKS_CONFIG_FILE` asks for
    /// it; variables win. `name` is what the credential is called in logs.
    ///
    /// # Errors
    ///
    /// [`AuthError`] when the profile cannot be read, an attribute is missing, or two kinds of credential are there and
    /// `DATABRICKS_AUTH_TYPE` does not choose.
    pub fn read(name: &str, environment: &Environment) -> Result<Self, AuthError> {
        let variable = |name: &str| {
            environment(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let mut attributes = profile_of(&variable)?;
        for (attribute, variables) in ATTRIBUTES {
            if let Some(value) = variables.iter().find_map(|name| variable(name)) {
                attributes.insert(attribute, value);
            }
        }
        let host = attributes.get("host").cloned();
        let has_token_variable = variable("DATABRICKS_OIDC_TOKEN").is_some();
        let Some(kind) = choose(&attributes, has_token_variable)? else {
            return Ok(Self { host, credentials: None });
        };
        let credentials = build(kind, name, &attributes, environment)?;
        let authorities = Authorities {
            azure_login: attributes.get("azure_login").cloned(),
            azure_machine: variable("AZURE_POD_IDENTITY_AUTHORITY_HOST"),
            google_machine: variable("GCE_METADATA_HOST").map(|host| format!("http://{host}")),
            google_iam: None,
        };
        Ok(Self { host, credentials: Some(credentials.with_authorities(authorities)) })
    }
}

/// The attributes of the profile that is asked for.
fn profile_of(variable: &impl Fn(&str) -> Option<String>) -> Result<Attributes, AuthError> {
    let (profile, file) =
        (variable("DATABRICKS_CONFIG_PROFILE"), variable("DATABRICKS_CONFIG_FILE"));
    if profile.is_none() && file.is_none() {
        return Ok(Attributes::new());
    }
    let path = match (file, variable("HOME")) {
        (Some(file), _) => file,
        (None, Some(home)) => format!("{home}/.databrickscfg"),
        (None, None) => {
            return Err(AuthError(
                "DATABRICKS_CONFIG_PROFILE is set, but neither DATABRICKS_CONFIG_FILE nor HOME says where the profiles are".to_owned(),
            ));
        }
    };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| AuthError(format!("the profiles in {path} cannot be read: {error}")))?;
    let found = profile::attributes(&text, profile.as_deref()).ok_or_else(|| {
        let name = profile.as_deref().unwrap_or("DEFAULT");
        AuthError(format!("{path} has no profile `{name}`"))
    })?;
    Ok(ATTRIBUTES
        .iter()
        .filter_map(|(name, _)| Some((*name, found.get(*name)?.clone())))
        .filter(|(_, value)| !value.is_empty())
        .collect())
}

/// The kind that the attributes mean.
fn choose(
    attributes: &Attributes,
    has_token_variable: bool,
) -> Result<Option<&'static str>, AuthError> {
    let has = |name: &str| attributes.contains_key(name);
    if let Some(pinned) = attributes.get("auth_type") {
        return match KINDS.iter().find(|kind| *kind == pinned) {
            Some(kind) => Ok(Some(kind)),
            None => Err(AuthError(format!(
                "DATABRICKS_AUTH_TYPE is `{pinned}`; this server knows {}",
                KINDS.join(", ")
            ))),
        };
    }
    let uses_msi = attributes.get("azure_use_msi").is_some_and(|value| is_true(value));
    let there: Vec<&'static str> = [
        ("pat", has("token")),
        ("oauth-m2m", has("client_secret")),
        ("env-oidc", has("oidc_token_env") || has_token_variable),
        ("file-oidc", has("oidc_token_filepath")),
        ("azure-client-secret", has("azure_client_secret")),
        ("azure-msi", uses_msi),
        // A webhook sets its file in every pod, so it counts only when nothing else is there.
        ("google-id", has("google_service_account")),
    ]
    .into_iter()
    .filter_map(|(kind, is_there)| is_there.then_some(kind))
    .collect();
    match there.as_slice() {
        [] => {
            let is_azure = has("azure_federated_token_file")
                && has("azure_client_id")
                && has("azure_tenant_id");
            Ok(is_azure.then_some("azure-workload-identity"))
        }
        [kind] => Ok(Some(kind)),
        several => Err(AuthError(format!(
            "the environment has credentials of several kinds, {}; set DATABRICKS_AUTH_TYPE to the one that is meant",
            several.join(" and ")
        ))),
    }
}

fn is_true(value: &str) -> bool {
    ["1", "true", "yes"].contains(&value.to_ascii_lowercase().as_str())
}

/// A credential of that kind.
fn build(
    kind: &'static str,
    name: &str,
    attributes: &Attributes,
    environment: &Environment,
) -> Result<Credentials, AuthError> {
    let need = |attribute: &str| {
        attributes.get(attribute).cloned().ok_or_else(|| {
            let variables = ATTRIBUTES.iter().find(|(name, _)| *name == attribute);
            let variable = variables.and_then(|(_, names)| names.first()).unwrap_or(&"");
            AuthError(format!("{kind} needs {variable}"))
        })
    };
    let secret = |attribute: &str| need(attribute).map(SecretString::from);
    // It says nothing of the other kinds, which may stand beside it.
    let environment_of_azure = attributes
        .get("azure_environment")
        .filter(|_| kind.starts_with("azure-"))
        .map(|text| text.parse().map_err(|none| AuthError(format!("ARM_ENVIRONMENT: {none}"))))
        .transpose()?;
    let azure = AzureCloud {
        environment: environment_of_azure,
        workspace_resource_id: attributes.get("azure_workspace_resource_id").cloned(),
    };
    let client_id = || attributes.get("client_id").cloned();
    Ok(match kind {
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

    fn read(variables: &[(&str, &str)]) -> Result<FromEnvironment, AuthError> {
        let variables: BTreeMap<String, String> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        FromEnvironment::read(
            "the environment's",
            &(Arc::new(move |name: &str| variables.get(name).cloned()) as Environment),
        )
    }

    fn kind(variables: &[(&str, &str)]) -> Option<&'static str> {
        read(variables).unwrap().credentials.map(|credentials| credentials.auth_type())
    }

    const M2M: [(&str, &str); 2] =
        [("DATABRICKS_CLIENT_ID", "id"), ("DATABRICKS_CLIENT_SECRET", "s")];
    const ENTRA: [(&str, &str); 3] =
        [("ARM_CLIENT_ID", "i"), ("ARM_CLIENT_SECRET", "s"), ("ARM_TENANT_ID", "t")];

    #[test]
    fn each_kind_is_known_by_its_variables() {
        assert_eq!(kind(&[]), None);
        assert_eq!(kind(&[("DATABRICKS_TOKEN", " ")]), None);
        assert_eq!(kind(&[("DATABRICKS_TOKEN", "t")]), Some("pat"));
        assert_eq!(kind(&M2M), Some("oauth-m2m"));
        assert_eq!(kind(&[("DATABRICKS_OIDC_TOKEN", "j")]), Some("env-oidc"));
        assert_eq!(kind(&[("DATABRICKS_OIDC_TOKEN_ENV", "X")]), Some("env-oidc"));
        assert_eq!(kind(&[("DATABRICKS_OIDC_TOKEN_FILEPATH", "/f")]), Some("file-oidc"));
        assert_eq!(kind(&ENTRA), Some("azure-client-secret"));
        assert_eq!(kind(&[("ARM_USE_MSI", "true")]), Some("azure-msi"));
        assert_eq!(kind(&[("DATABRICKS_GOOGLE_SERVICE_ACCOUNT", "a@b")]), Some("google-id"));
        let pod =
            [("AZURE_FEDERATED_TOKEN_FILE", "/f"), ("ARM_CLIENT_ID", "i"), ("ARM_TENANT_ID", "t")];
        assert_eq!(kind(&pod), Some("azure-workload-identity"));
        assert_eq!(kind(&[pod[0], ("DATABRICKS_TOKEN", "t")]), Some("pat"));
    }

    #[test]
    fn two_kinds_without_a_choice_are_an_error_that_names_both() {
        let both = [&M2M[..], &[("DATABRICKS_TOKEN", "t")]].concat();
        let error = read(&both).unwrap_err().to_string();
        assert!(error.contains("pat and oauth-m2m"), "{error}");
        let pinned = [&both[..], &[("DATABRICKS_AUTH_TYPE", "oauth-m2m")]].concat();
        assert_eq!(kind(&pinned), Some("oauth-m2m"));
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        let missing = read(&M2M[1..]).unwrap_err().to_string();
        assert_eq!(missing, "oauth-m2m needs DATABRICKS_CLIENT_ID");
        let of_no_cloud = [&ENTRA[..], &[("ARM_ENVIRONMENT", "AzureGermanCloud")]].concat();
        let of_no_cloud = read(&of_no_cloud).unwrap_err().to_string();
        assert!(of_no_cloud.starts_with("ARM_ENVIRONMENT: none of"), "{of_no_cloud}");
        let in_capitals = [&ENTRA[..], &[("ARM_ENVIRONMENT", "USGOVERNMENT")]].concat();
        assert_eq!(kind(&in_capitals), Some("azure-client-secret"));
        let unknown = read(&[("DATABRICKS_AUTH_TYPE", "basic")]).unwrap_err().to_string();
        assert!(unknown.contains("`basic`") && unknown.contains("file-oidc"), "{unknown}");
    }

    #[test]
    fn a_profile_is_read_when_it_is_asked_for_and_variables_win() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profiles");
        std::fs::write(&path, "[team]\nhost = h1\nclient_id = i\nclient_secret = s\n").unwrap();
        let path = path.to_str().unwrap();
        let asked = [("DATABRICKS_CONFIG_FILE", path), ("DATABRICKS_CONFIG_PROFILE", "team")];
        let found = read(&asked).unwrap();
        assert_eq!(found.host.as_deref(), Some("h1"));
        assert_eq!(found.credentials.unwrap().auth_type(), "oauth-m2m");
        let over = [&asked[..], &[("DATABRICKS_HOST", "h2")]].concat();
        assert_eq!(read(&over).unwrap().host.as_deref(), Some("h2"));
        let absent = [asked[0], ("DATABRICKS_CONFIG_PROFILE", "other")];
        assert!(read(&absent).unwrap_err().to_string().ends_with("has no profile `other`"));
    }
}
