//! Environment variables of the Databricks connector: their names, help texts and values.
//!
//! A variable is defined once, as a constant in this module, and used in [`crate::config`]. Variables that any connector
//! server has belong to [`connector_service::args`].

use std::{collections::BTreeMap, ffi::OsString, fmt, path::PathBuf, sync::Arc};

use connector_service::{
    ConfigError,
    args::{VARIABLES as SERVICE_VARIABLES, Variable, path, text, variables_help},
};
use secrecy::SecretString;

connector_service::variables! {
    /// In the order of the help text.
    VARIABLES;
    INSTANCE = "FLYTE_DATABRICKS_INSTANCE",
        "workspace of tasks that name none, such as adb-1.2.azuredatabricks.net";
    ACCESS_TOKEN = "FLYTE_DATABRICKS_ACCESS_TOKEN",
        "the connector's own token, for tasks without a credential; if unset, read from /etc/secrets/flyte_databricks_access_token";
    ACCESS_TOKEN_HOSTS = "FLYTE_DATABRICKS_ACCESS_TOKEN_HOSTS",
        "workspaces that this token is sent to, comma-separated [default: FLYTE_DATABRICKS_INSTANCE]";
    WORKSPACES = "FLYTE_DATABRICKS_WORKSPACES", "same as --workspaces; the flag wins";
    // Read by `databricks_connector` itself.
    STANDARD = "DATABRICKS_*, ARM_*",
        "one more workspace and its credential, as in Databricks' own tools, profiles included";
    SQL_WAREHOUSE = "FLYTE_DATABRICKS_SQL_WAREHOUSE", "same as --sql-warehouse; the flag wins";
    MAX_OUTPUT_BYTES = "FLYTE_DATABRICKS_MAX_OUTPUT_BYTES",
        "same as --max-output-bytes; the flag wins";
    ALLOWED_HOSTS = "FLYTE_DATABRICKS_ALLOWED_HOSTS",
        "host[:port] patterns allowed in addition to Databricks' domains, comma-separated; * matches one label or a port";
    SECRET_NAMESPACES = "FLYTE_DATABRICKS_SECRET_NAMESPACES",
        "namespaces whose Kubernetes Secrets `databricks-token` are used for tasks without a token, comma-separated; * for all; requires a build with `--features kubernetes` [default: none]";
    RUN_DEFAULTS = "FLYTE_DATABRICKS_RUN_DEFAULTS",
        "defaults for every run: a JSON object such as {\"queue\": {\"enabled\": true}}, or the path of a file with one";
    SSL_CERT_FILE = "SSL_CERT_FILE",
        "PEM file with root certificates to trust for outgoing TLS, in addition to the system's";
    // Read by the HTTP client itself.
    PROXY = "HTTPS_PROXY, NO_PROXY", "proxy for outgoing requests, and the hosts that bypass it";
    OUTPUT_BUCKETS = "FLYTE_OUTPUT_BUCKETS",
        "the only buckets from which error.pb, outputs.pb and delivered logs are read, comma-separated [default: all buckets, and local files]";
    LOG_TOKEN_KEY = "FLYTE_LOG_TOKEN_KEY",
        "secret of at least 16 characters, the same on every replica, that protects the tokens of log pages against forgery";
    S3_ENDPOINT = "FLYTE_AWS_ENDPOINT",
        "endpoint of an S3-compatible store, as for Flyte's runtime; AWS_* and the variables of other clouds work too";
    S3_ACCESS_KEY_ID = "FLYTE_AWS_ACCESS_KEY_ID", "access key ID for this store";
    S3_SECRET_ACCESS_KEY = "FLYTE_AWS_SECRET_ACCESS_KEY", "secret access key for this store";
}

fn all_variables() -> impl Iterator<Item = &'static Variable> {
    VARIABLES.iter().chain(SERVICE_VARIABLES)
}

/// Returns the section of `--help` that lists all variables.
pub(crate) fn help() -> String {
    variables_help(all_variables())
}

/// Looks up a variable by name.
type Lookup<T> = Arc<dyn Fn(&str) -> Option<T> + Send + Sync>;

/// Access to environment variables: those of the process, or of a test.
///
/// Credentials read their variables again long after startup, so values are not copied.
#[derive(Clone)]
pub struct Environment {
    get: Lookup<OsString>,
    /// The names of all variables that are set.
    names: Vec<String>,
}

impl Environment {
    /// Returns the variables of this process.
    pub fn of_process() -> Self {
        Self {
            get: Arc::new(|name| std::env::var_os(name)),
            names: std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect(),
        }
    }

    /// Reads the value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<OsString> {
        (self.get)(name)
    }

    /// Reads a text variable, trimmed. `None` if unset or blank.
    pub(crate) fn text(&self, variable: Variable) -> Result<Option<String>, ConfigError> {
        text(|name| self.get(name), variable)
    }

    pub(crate) fn secret(&self, variable: Variable) -> Result<Option<SecretString>, ConfigError> {
        Ok(self.text(variable)?.map(SecretString::from))
    }

    /// Reads a path variable, which need not be UTF-8. `None` if unset or empty.
    pub(crate) fn path(&self, variable: Variable) -> Option<PathBuf> {
        path(|name| self.get(name), variable)
    }

    /// Returns a reader for credentials.
    pub(crate) fn reader(&self) -> Lookup<String> {
        let get = Arc::clone(&self.get);
        Arc::new(move |name| get(name)?.into_string().ok())
    }

    /// Returns the variables with a prefix of this program that it does not know, sorted.
    ///
    /// Skips the variables that Kubernetes sets for a Service of that name.
    pub(crate) fn unknown_variables(&self) -> Vec<String> {
        let has_prefix = |name: &str| {
            ["FLYTE_DATABRICKS_", "FLYTE_CONNECTOR_"].iter().any(|prefix| name.starts_with(prefix))
        };
        let is_of_service = |name: &str| {
            name.ends_with("_SERVICE_HOST")
                || name.contains("_SERVICE_PORT")
                || name.ends_with("_PORT")
                || name.contains("_PORT_")
        };
        let is_known = |name: &str| all_variables().any(|variable| variable.name == name);
        let mut names = self.names.clone();
        names.retain(|name| has_prefix(name) && !is_of_service(name) && !is_known(name));
        names.sort_unstable();
        names
    }
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables: BTreeMap<String, OsString> =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self {
            names: variables.keys().cloned().collect(),
            get: Arc::new(move |name| variables.get(name).cloned()),
        }
    }
}

impl fmt::Debug for Environment {
    /// Shows no values, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_every_variable() {
        let help = help();
        for variable in all_variables() {
            assert!(help.contains(variable.name), "{} is missing", variable.name);
        }
    }

    #[test]
    fn blank_variables_count_as_unset_and_values_are_trimmed() {
        let environment = Environment::from_iter([
            (INSTANCE.name, " adb-1.azuredatabricks.net\n"),
            (ACCESS_TOKEN.name, " \n"),
            (SSL_CERT_FILE.name, ""),
        ]);
        let instance = environment.text(INSTANCE).unwrap();
        assert_eq!(instance.as_deref(), Some("adb-1.azuredatabricks.net"));
        assert!(environment.secret(ACCESS_TOKEN).unwrap().is_none());
        assert!(environment.path(SSL_CERT_FILE).is_none());
    }

    #[test]
    fn unknown_variables_are_found_except_those_of_kubernetes_services() {
        let environment = Environment::from_iter(
            [
                "FLYTE_DATABRICKS_INSTANCE",
                "FLYTE_DATABRICKS_INSTANCES",
                "FLYTE_CONNECTOR_TLS_CRT",
                "FLYTE_CONNECTOR_SERVICE_HOST",
                "FLYTE_CONNECTOR_SERVICE_PORT_GRPC",
                "FLYTE_CONNECTOR_PORT",
                "FLYTE_CONNECTOR_PORT_8000_TCP_ADDR",
                "FLYTE_INTERNAL_EXECUTION_PROJECT",
                "PATH",
            ]
            .map(|name| (name, "x")),
        );
        assert_eq!(
            environment.unknown_variables(),
            ["FLYTE_CONNECTOR_TLS_CRT", "FLYTE_DATABRICKS_INSTANCES"]
        );
    }

    #[test]
    fn debug_shows_no_values() {
        let environment = Environment::from_iter([(ACCESS_TOKEN.name, "dapi-canary")]);
        assert!(!format!("{environment:?}").contains("canary"));
    }

    #[cfg(unix)]
    #[test]
    fn invalid_utf8_is_reported_without_the_value() {
        use std::os::unix::ffi::OsStringExt as _;
        let get = |_: &str| Some(OsString::from_vec(vec![b'd', 0xff]));
        let environment = Environment { get: Arc::new(get), names: Vec::new() };
        let error = environment.text(ACCESS_TOKEN).unwrap_err();
        assert_eq!(error.to_string(), "FLYTE_DATABRICKS_ACCESS_TOKEN: is not valid UTF-8");
    }
}
