//! Several workspaces in one TOML file, each with its credential and its rules. It names files and variables that hold
//! secrets, and never holds one.

use std::{fmt, fs, path::PathBuf, sync::Arc};

use databricks_client::{
    AzureCloud, ClientSecret, Credentials, Environment, EnvironmentCredentials, Host,
    InvalidAzureEnvironment, SubjectToken,
};
use indexmap::IndexMap;
use secrecy::SecretString;
use serde::Deserialize;

use super::warehouse::{SqlResults, Warehouse, Warehouses};
use crate::credentials::{OwnCredential, OwnCredentials, bearer};

/// The workspaces that the operator lists.
#[derive(Debug, Clone, Default)]
pub struct Workspaces {
    pub(crate) own: OwnCredentials,
    /// The workspace of tasks that name none.
    pub(crate) default: Option<Host>,
    /// Every host of the file, with a credential or without.
    pub(crate) hosts: Vec<Host>,
    /// The SQL warehouses of those that have one.
    pub(crate) warehouses: Warehouses,
}

/// Why the file cannot be used: where, and what to do. It quotes nothing of the file but names.
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
    // In the order of the file, which decides between several for one host.
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
    /// The id of a SQL warehouse, for what system tables tell of a run.
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
    /// Reads the text of the file. `environment` gives the variables that it names.
    ///
    /// # Errors
    ///
    /// [`WorkspacesError`] with the line, or with the workspace and what it lacks.
    pub fn parse(text: &str, environment: &Environment) -> Result<Self, WorkspacesError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
            // The error's own text quotes the line, which may hold a token that somebody pasted.
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
    /// The same with what the standard variables say (DA §4.4), after the file's own: for `DATABRICKS_HOST`, else for
    /// `instance`. A credential that no host goes with is left alone.
    ///
    /// # Errors
    ///
    /// [`WorkspacesError`] when two kinds of credential are there, or one that lacks something.
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
            // Whether that one is an address is told elsewhere.
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

    /// How many credentials there are.
    pub fn credentials(&self) -> usize {
        self.own.iter().count()
    }

    /// The connector's own token, for each of those hosts, before all others.
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

/// A secret from the file or the variable that is named, of which there is exactly one. A file is read again each time;
/// it must be good from the start, when somebody is there to see that it is not.
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
    match (text.trim(), file) {
        ("", _) => Err("the client secret is empty".to_owned()),
        (_, Some(file)) => Ok(ClientSecret::file(file)),
        (text, None) => Ok(SecretString::from(text.to_owned()).into()),
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
    fn the_first_of_the_file_comes_first_whatever_it_is_called() {
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
    fn every_kind_of_credential_can_be_written_down() {
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
    fn a_workspace_may_have_a_warehouse() {
        let text = "[workspace.a]\nhost = \"a.cloud.databricks.com\"\nsql_warehouse = \"12ab\"\nsql_results = \"links\"\n\
                    [workspace.b]\nhost = \"b.cloud.databricks.com\"\n";
        let found = parse(text).unwrap().warehouses;
        let told: Vec<_> =
            found.iter().map(|(host, it)| (host.as_str(), it.id.as_str(), it.results)).collect();
        assert_eq!(told, [("a.cloud.databricks.com", "12ab", SqlResults::Links)]);
    }

    #[test]
    fn what_is_wrong_is_told_by_place_and_without_what_stands_there() {
        let head = "[workspace.prod]\nhost = \"dbc-1.cloud.databricks.com\"\n";
        for (text, expected) in [
            (format!("{head}token = \"dapi-canary\"\n"), "line 3: unknown field `token`"),
            (format!("{head}auth = {{ type = \"basic\" }}\n"), "unknown variant `basic`"),
            (
                format!("{head}auth = {{ type = \"azure-msi\", environment = \"usgov\" }}\n"),
                "workspace `prod`: `environment` is none of Azure's clouds",
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
