//! The file of workspaces: TOML with a credential and rules for each workspace. It names files and variables that hold
//! secrets, and contains none itself.

use std::{fmt, fs, path::PathBuf, sync::Arc};

use databricks_client::{
    AzureCloud, ClientSecret, Credentials, Environment, EnvironmentCredentials, Host,
    InvalidAzureEnvironment, SubjectToken, clean_secret,
};
use indexmap::IndexMap;
use secrecy::SecretString;
use serde::Deserialize;

use super::warehouse::{SqlResults, Warehouse, Warehouses};
use crate::credentials::{
    own::{OwnCredential, OwnCredentials},
    task::bearer,
};

/// The workspaces that the operator lists.
#[derive(Debug, Clone, Default)]
pub struct Workspaces {
    pub(crate) own: OwnCredentials,
    /// The workspace of tasks that name none.
    pub(crate) default: Option<Host>,
    /// All hosts of the file, with or without a credential.
    pub(crate) hosts: Vec<Host>,
    /// The SQL warehouses, by workspace.
    pub(crate) warehouses: Warehouses,
}

/// Why the file cannot be used: the place, and the remedy. Quotes only names from the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspacesError(String);

impl fmt::Display for WorkspacesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WorkspacesError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Option<String>,
    #[serde(default)]
    // In the order of the file: the first entry of a host wins.
    workspace: IndexMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    host: String,
    #[serde(default)]
    projects: Vec<String>,
    #[serde(default)]
    domains: Vec<String>,
    /// The id of the SQL warehouse that reads system tables.
    sql_warehouse: Option<String>,
    #[serde(default)]
    sql_results: SqlResults,
    auth: Option<Auth>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "type", rename_all = "kebab-case")]
enum Auth {
    Pat {
        token_file: Option<PathBuf>,
        token_env: Option<String>,
    },
    OauthM2m {
        client_id: String,
        client_secret_file: Option<PathBuf>,
        client_secret_env: Option<String>,
    },
    FileOidc {
        client_id: Option<String>,
        token_file: PathBuf,
    },
    EnvOidc {
        client_id: Option<String>,
        token_env: String,
    },
    AzureClientSecret {
        tenant_id: String,
        client_id: String,
        client_secret_file: Option<PathBuf>,
        client_secret_env: Option<String>,
        environment: Option<String>,
        workspace_resource_id: Option<String>,
    },
    AzureMsi {
        client_id: Option<String>,
        environment: Option<String>,
        workspace_resource_id: Option<String>,
    },
    AzureWorkloadIdentity {
        tenant_id: String,
        client_id: String,
        token_file: PathBuf,
        environment: Option<String>,
        workspace_resource_id: Option<String>,
    },
    GoogleId {
        service_account: Option<String>,
    },
    /// The standard `DATABRICKS_*` and `ARM_*` variables, or the profile that they name.
    Environment {},
}

impl Workspaces {
    /// Parses the text of the file. `environment` returns the values of the variables that it names.
    ///
    /// # Errors
    ///
    /// [`WorkspacesError`] with the line, or with the workspace and what it lacks.
    pub fn parse(text: &str, environment: &Environment) -> Result<Self, WorkspacesError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
            // The error's `Display` quotes the line, which may contain a pasted token.
            WorkspacesError(format!("line {line}: {}", error.message()))
        })?;
        let mut workspaces = Self::default();
        for (name, entry) in &file.workspace {
            let at = |why: String| WorkspacesError(format!("workspace `{name}`: {why}"));
            let host = Host::parse(&entry.host).map_err(|error| at(format!("host: {error}")))?;
            if file.default.as_deref() == Some(name) {
                workspaces.default = Some(host.clone());
            }
            workspaces.hosts.push(host.clone());
            if let Some(id) = &entry.sql_warehouse {
                let warehouse = Warehouse::new(id, entry.sql_results)
                    .map_err(|why| at(format!("sql_warehouse: {why}")))?;
                workspaces.warehouses.insert(host.clone(), warehouse);
            }
            let Some(auth) = &entry.auth else { continue };
            let shown = format!("the connector's credential for workspace `{name}`");
            workspaces.own.push(OwnCredential {
                name: name.clone(),
                host,
                projects: entry.projects.clone(),
                domains: entry.domains.clone(),
                credentials: auth.credentials(&shown, environment).map_err(at)?,
            });
        }
        match file.default {
            Some(name) if workspaces.default.is_none() => {
                Err(WorkspacesError(format!("`default` names no workspace of this file: `{name}`")))
            }
            _ => Ok(workspaces),
        }
    }
}

impl Workspaces {
    /// Adds the credential of the standard variables (databricks-api.md#credential-order), for `DATABRICKS_HOST`, else for
    /// `instance`. Entries of the file win. Ignores a credential without a host.
    ///
    /// # Errors
    ///
    /// [`WorkspacesError`] when the variables hold two kinds of credential, or an incomplete one.
    pub fn with_standard_variables(
        mut self,
        environment: &Environment,
        instance: Option<&str>,
    ) -> Result<Self, WorkspacesError> {
        let shown = "the connector's credential from the standard variables";
        let found = EnvironmentCredentials::read(shown, environment)
            .map_err(|error| WorkspacesError(error.to_string()))?;
        let host = match found.host.as_deref() {
            Some(host) => {
                let host = Host::parse(host)
                    .map_err(|error| WorkspacesError(format!("DATABRICKS_HOST: {error}")))?;
                self.hosts.push(host.clone());
                self.default.get_or_insert_with(|| host.clone());
                Some(host)
            }
            // `Settings` rejects an invalid one.
            None => instance.and_then(|instance| Host::parse(instance).ok()),
        };
        let Some(host) = host else { return Ok(self) };
        if let Some(credentials) = found.credentials {
            self.own.push(OwnCredential {
                name: "environment".to_owned(),
                host,
                projects: Vec::new(),
                domains: Vec::new(),
                credentials,
            });
        }
        Ok(self)
    }

    /// Returns the number of credentials.
    pub fn credential_count(&self) -> usize {
        self.own.iter().count()
    }

    /// Adds the connector's own token for each of those hosts. It wins over all others.
    pub(crate) fn with_token(&mut self, name: &str, hosts: Vec<Host>, credentials: &Credentials) {
        let mut own = OwnCredentials::default();
        for host in hosts {
            own.push(OwnCredential {
                name: name.to_owned(),
                host,
                projects: Vec::new(),
                domains: Vec::new(),
                credentials: credentials.clone(),
            });
        }
        for other in self.own.iter() {
            own.push(other.clone());
        }
        self.own = own;
    }
}

impl Auth {
    fn credentials(&self, name: &str, environment: &Environment) -> Result<Credentials, String> {
        let azure = |environment: &Option<String>, resource: &Option<String>| {
            let environment = environment.as_deref().map(str::parse).transpose();
            Ok::<_, String>(AzureCloud {
                environment: environment
                    .map_err(|none: InvalidAzureEnvironment| format!("`environment` is {none}"))?,
                workspace_resource_id: resource.clone(),
            })
        };
        Ok(match self {
            Self::Pat { token_file: Some(file), token_env: None } => {
                Credentials::token_file(name, file)
            }
            Self::Pat { token_file: None, token_env: Some(variable) } => {
                let token = environment(variable).map(SecretString::from);
                token
                    .and_then(|token| bearer(name, &token))
                    .ok_or_else(|| format!("the variable {variable} is not set"))?
            }
            Self::Pat { .. } => {
                return Err("give either `token_file` or `token_env`".to_owned());
            }
            Self::OauthM2m { client_id, client_secret_file, client_secret_env } => {
                let secret =
                    secret(client_secret_file.as_ref(), client_secret_env.as_ref(), environment)?;
                Credentials::oauth_m2m(name, client_id, secret)
            }
            Self::FileOidc { client_id, token_file } => Credentials::token_federation(
                name,
                client_id.clone(),
                SubjectToken::File(token_file.clone()),
            ),
            Self::EnvOidc { client_id, token_env } => {
                let subject = SubjectToken::Variable(token_env.clone(), Arc::clone(environment));
                Credentials::token_federation(name, client_id.clone(), subject)
            }
            Self::AzureClientSecret {
                tenant_id,
                client_id,
                client_secret_file,
                client_secret_env,
                environment: cloud,
                workspace_resource_id,
            } => Credentials::azure_client_secret(
                name,
                tenant_id,
                client_id,
                secret(client_secret_file.as_ref(), client_secret_env.as_ref(), environment)?,
                azure(cloud, workspace_resource_id)?,
            ),
            Self::AzureMsi { client_id, environment: cloud, workspace_resource_id } => {
                let cloud = azure(cloud, workspace_resource_id)?;
                Credentials::azure_managed_identity(name, client_id.clone(), cloud)
            }
            Self::AzureWorkloadIdentity {
                tenant_id,
                client_id,
                token_file,
                environment: cloud,
                workspace_resource_id,
            } => Credentials::azure_workload_identity(
                name,
                tenant_id,
                client_id,
                SubjectToken::File(token_file.clone()),
                azure(cloud, workspace_resource_id)?,
            ),
            Self::GoogleId { service_account } => {
                Credentials::google_id_token(name, service_account.clone())
            }
            Self::Environment {} => EnvironmentCredentials::read(name, environment)
                .map_err(|error| error.to_string())?
                .credentials
                .ok_or("the environment has no credential for it")?,
        })
    }
}

/// Returns the secret in a file or a variable, of which exactly one must be named. A file is read again at each use; it is
/// checked now so that errors appear at the start.
fn secret(
    file: Option<&PathBuf>,
    variable: Option<&String>,
    environment: &Environment,
) -> Result<ClientSecret, String> {
    let text = match (file, variable) {
        (Some(file), None) => fs::read_to_string(file)
            .map_err(|error| format!("{} cannot be read: {error}", file.display()))?,
        (None, Some(variable)) => {
            environment(variable).ok_or_else(|| format!("the variable {variable} is not set"))?
        }
        _ => return Err("give either `client_secret_file` or `client_secret_env`".to_owned()),
    };
    match (clean_secret(&text), file) {
        (None, _) => Err("the client secret is empty".to_owned()),
        (Some(_), Some(file)) => Ok(ClientSecret::file(file)),
        (Some(secret), None) => Ok(secret.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Workspaces, String> {
        let environment: Environment =
            Arc::new(|name| (name == "SECRET").then(|| "canary".to_owned()));
        Workspaces::parse(text, &environment).map_err(|error| error.to_string())
    }

    #[test]
    fn entries_keep_order_of_file() {
        let entry = |name| {
            format!(
                "[workspace.{name}]\nhost = \"h\"\nauth = {{ type = \"pat\", token_env = \"SECRET\" }}\n"
            )
        };
        let workspaces = parse(&["z", "m", "a"].map(entry).concat()).unwrap();
        let names: Vec<&str> = workspaces.own.iter().map(|own| own.name.as_str()).collect();
        assert_eq!(names, ["z", "m", "a"]);
    }

    #[test]
    fn every_kind_of_credential_is_parsed() {
        for (auth, kind) in [
            ("type = \"pat\"\ntoken_env = \"SECRET\"", "pat"),
            ("type = \"pat\"\ntoken_file = \"/f\"", "pat"),
            (
                "type = \"oauth-m2m\"\nclient_id = \"i\"\nclient_secret_env = \"SECRET\"",
                "oauth-m2m",
            ),
            ("type = \"file-oidc\"\ntoken_file = \"/f\"", "file-oidc"),
            ("type = \"env-oidc\"\ntoken_env = \"X\"", "env-oidc"),
            (
                "type = \"azure-client-secret\"\ntenant_id = \"t\"\nclient_id = \"i\"\nclient_secret_env = \"SECRET\"",
                "azure-client-secret",
            ),
            ("type = \"azure-msi\"", "azure-msi"),
            (
                "type = \"azure-workload-identity\"\ntenant_id = \"t\"\nclient_id = \"i\"\ntoken_file = \"/f\"",
                "azure-workload-identity",
            ),
            ("type = \"google-id\"", "google-id"),
        ] {
            let text = format!(
                "default = \"prod\"\n[workspace.prod]\nhost = \"https://dbc-1.cloud.databricks.com/?o=1\"\n[workspace.prod.auth]\n{auth}\n"
            );
            let found = parse(&text).unwrap_or_else(|error| panic!("{kind}: {error}"));
            let own = found.own.iter().next().unwrap();
            assert_eq!((own.credentials.auth_type(), own.name.as_str()), (kind, "prod"));
            assert_eq!(found.default.as_ref().unwrap().as_str(), "dbc-1.cloud.databricks.com");
            assert!(!format!("{found:?}").contains("canary"));
        }
    }

    #[test]
    fn warehouse_of_workspace_is_parsed() {
        let text = "[workspace.a]\nhost = \"a.cloud.databricks.com\"\nsql_warehouse = \"12ab\"\nsql_results = \"links\"\n\
                    [workspace.b]\nhost = \"b.cloud.databricks.com\"\n";
        let found = parse(text).unwrap().warehouses;
        let warehouses: Vec<_> =
            found.iter().map(|(host, it)| (host.as_str(), it.id.as_str(), it.results)).collect();
        assert_eq!(warehouses, [("a.cloud.databricks.com", "12ab", SqlResults::Links)]);
    }

    #[test]
    fn error_names_place_and_quotes_no_value() {
        let head = "[workspace.prod]\nhost = \"dbc-1.cloud.databricks.com\"\n";
        for (text, expected) in [
            (format!("{head}token = \"dapi-canary\"\n"), "line 3: unknown field `token`"),
            (format!("{head}auth = {{ type = \"basic\" }}\n"), "unknown variant `basic`"),
            (
                format!("{head}auth = {{ type = \"azure-msi\", environment = \"usgov\" }}\n"),
                "workspace `prod`: `environment` is not an Azure cloud",
            ),
            (
                format!("{head}auth = {{ type = \"pat\" }}\n"),
                "workspace `prod`: give either `token_file` or `token_env`",
            ),
            (
                format!("{head}auth = {{ type = \"pat\", token_env = \"ABSENT\" }}\n"),
                "workspace `prod`: the variable ABSENT is not set",
            ),
            (
                format!(
                    "{head}auth = {{ type = \"oauth-m2m\", client_id = \"i\", client_secret_file = \"/no\" }}\n"
                ),
                "workspace `prod`: /no cannot be read",
            ),
            ("[workspace.x]\nhost = \"a@b\"\n".to_owned(), "workspace `x`: host: "),
            (
                format!("default = \"dev\"\n{head}"),
                "`default` names no workspace of this file: `dev`",
            ),
            ("[workspace".to_owned(), "line 1: "),
            (
                format!("{head}sql_warehouse = \"/sql/1.0/warehouses/1\"\n"),
                "workspace `prod`: sql_warehouse: not the id of a SQL warehouse",
            ),
            (
                format!("{head}sql_warehouse = \"1\"\nsql_results = \"arrow\"\n"),
                "unknown variant `arrow`",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(expected) && !error.contains("canary"), "{error}");
        }
    }
}
