//! The validated configuration.

use std::{path::Path, sync::Arc};

use connector_service::{ConfigError, ServiceConfig, args::comma_separated};
use databricks_connector::{LogReading, ObjectStores, RunDefaults};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    args::{self, Entrypoint, Environment, JobsApi, ServeArgs, UserFailures},
    namespace_secrets,
};

mod credentials;
mod workspaces;

/// The crates of this program whose debug logs and spans matter.
const CRATES: [&str; 3] = ["connector_server", "databricks_connector", "databricks_client"];

/// Everything the binary needs to serve. [`Config::new`] is the only way to one from the command line.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server.
    pub service: ServiceConfig,
    /// The Databricks connector.
    pub databricks: databricks_connector::Config,
    /// Variables that look like ours and that nothing reads.
    pub misspelt: Vec<String>,
}

impl Config {
    /// Checks what was typed. Reads the files that `SSL_CERT_FILE` and `FLYTE_DATABRICKS_RUN_DEFAULTS` name.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first value that cannot be used. What only the connector can judge, such as a host
    /// name, is checked by [`crate::registry`].
    pub fn new(args: &ServeArgs, environment: &Environment) -> Result<Self, ConfigError> {
        let service = ServiceConfig::new(&args.service, &environment.service, &CRATES)?;
        let stores = Arc::new(object_stores(environment));
        let databricks = databricks_connector::Config {
            instance: environment.instance.clone(),
            access_token: environment.access_token.clone(),
            sql_warehouse: environment.sql_warehouse.clone(),
            allowed_hosts: environment
                .allowed_hosts
                .as_deref()
                .map(comma_separated)
                .unwrap_or_default(),
            namespace_secrets: namespace_secrets::access(
                &environment.secret_namespaces.as_deref().map(comma_separated).unwrap_or_default(),
            )?,
            extra_roots_pem: environment.ssl_cert_file.as_deref().map(read_roots).transpose()?,
            entrypoint: match args.entrypoint {
                Entrypoint::Git => databricks_connector::Entrypoint::Git,
                Entrypoint::Workspace => databricks_connector::Entrypoint::Workspace,
            },
            jobs_api: match args.jobs_api {
                JobsApi::V2_2 => databricks_connector::JobsApi::V2_2,
                JobsApi::V2_1 => databricks_connector::JobsApi::V2_1,
            },
            run_defaults: environment
                .run_defaults
                .as_deref()
                .map(run_defaults)
                .transpose()?
                .unwrap_or_default(),
            cluster_tags: !args.no_cluster_tags,
            task_files: Arc::<ObjectStores>::clone(&stores),
            logs: LogReading {
                files: stores,
                token_key: log_token_key(environment)?,
                ..LogReading::default()
            },
            require_error_file: args.require_error_file,
            user_failures: match args.user_failures {
                UserFailures::Retryable => databricks_connector::UserFailures::Retryable,
                UserFailures::Permanent => databricks_connector::UserFailures::Permanent,
            },
            call_timeout: service.default_timeout,
            ..databricks_connector::Config::default()
        };
        let databricks = workspaces::limited(&args.workspaces, databricks);
        let databricks = credentials::configured(args, environment, databricks)?;
        Ok(Self { service, databricks, misspelt: environment.misspelt.clone() })
    }
}

/// Where the files of Flyte's runtime are looked for.
fn object_stores(environment: &Environment) -> ObjectStores {
    let stores = ObjectStores::new().with_s3(
        environment.s3_endpoint.clone(),
        environment.s3_access_key_id.clone(),
        environment.s3_secret_access_key.clone(),
    );
    match environment.output_buckets.as_deref().map(comma_separated) {
        Some(buckets) => stores.only(buckets),
        None => stores,
    }
}

/// What seals log tokens. A short key could be guessed from a token.
fn log_token_key(environment: &Environment) -> Result<Option<SecretString>, ConfigError> {
    match &environment.log_token_key {
        Some(key) if key.expose_secret().len() < MIN_KEY => {
            let message = format!("has fewer than {MIN_KEY} characters; give a long random one");
            Err(ConfigError::new(args::LOG_TOKEN_KEY, message))
        }
        key => Ok(key.clone()),
    }
}

/// The shortest key of log tokens, in bytes.
const MIN_KEY: usize = 16;

/// From the object itself, or from the file that holds it.
fn run_defaults(given: &str) -> Result<RunDefaults, ConfigError> {
    let wrong = |message: String| ConfigError::new(args::RUN_DEFAULTS, message);
    if given.starts_with(['{', '[']) {
        return given.parse().map_err(|error| wrong(format!("{error}")));
    }
    let text = std::fs::read_to_string(given)
        .map_err(|error| wrong(format!("{given} cannot be read")).with_source(error))?;
    text.parse().map_err(|error| wrong(format!("{given}: {error}")))
}

fn read_roots(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|error| {
        ConfigError::new(args::SSL_CERT_FILE, format!("{} cannot be read", path.display()))
            .with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use super::*;
    use crate::Args;

    fn config(line: &str, environment: &Environment) -> Result<Config, ConfigError> {
        let args = Args::try_parse_from(
            std::iter::once("connector-server").chain(line.split_whitespace()),
        )
        .unwrap();
        Config::new(&args.serve, environment)
    }

    #[test]
    fn a_key_of_log_tokens_that_could_be_guessed_is_refused() {
        let with = |key: &str| {
            let key = Some(SecretString::from(key.to_owned()));
            config("", &Environment { log_token_key: key, ..Environment::default() })
        };
        let error = with("short").unwrap_err();
        assert_eq!(error.name(), "FLYTE_LOG_TOKEN_KEY");
        assert!(!error.to_string().contains("short"), "{error}");
        assert!(with("0123456789abcdef").unwrap().databricks.logs.token_key.is_some());
    }

    #[test]
    fn a_bad_value_is_one_line_that_names_the_variable() {
        let bad = |environment: Environment| config("", &environment).unwrap_err();
        let roots = bad(Environment {
            ssl_cert_file: Some("/nowhere/ca.pem".into()),
            ..Environment::default()
        });
        assert_eq!(roots.to_string(), "SSL_CERT_FILE: /nowhere/ca.pem cannot be read");
    }

    #[test]
    fn run_defaults_are_an_object_or_the_path_of_one() {
        let given = |text: &str| {
            let run_defaults = Some(text.to_owned());
            config("", &Environment { run_defaults, ..Environment::default() })
        };
        let object = r#"{"queue": {"enabled": true}}"#;
        let expected: RunDefaults = object.parse().unwrap();
        assert_eq!(given(object).unwrap().databricks.run_defaults, expected);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("defaults.json");
        let path = path.to_str().unwrap();
        std::fs::write(path, object).unwrap();
        assert_eq!(given(path).unwrap().databricks.run_defaults, expected);

        let said = |text: &str| given(text).unwrap_err().to_string();
        assert_eq!(
            said(r#"{"queue": true}"#),
            "FLYTE_DATABRICKS_RUN_DEFAULTS: `queue` must be an object, but is a boolean"
        );
        assert_eq!(said("/nowhere"), "FLYTE_DATABRICKS_RUN_DEFAULTS: /nowhere cannot be read");
        std::fs::write(path, "{\n").unwrap();
        let stale = format!("FLYTE_DATABRICKS_RUN_DEFAULTS: {path}: is not JSON: line 2, column 0");
        assert_eq!(said(path), stale);
    }

    #[test]
    fn the_version_of_the_jobs_api_can_be_chosen() {
        let chosen =
            |line: &str| config(line, &Environment::default()).unwrap().databricks.jobs_api;
        assert_eq!(chosen(""), databricks_connector::JobsApi::V2_2);
        assert_eq!(chosen("--jobs-api 2.1"), databricks_connector::JobsApi::V2_1);
        assert!(Args::try_parse_from(["connector-server", "--jobs-api", "2.0"]).is_err());
    }

    #[test]
    fn call_timeout_applies_to_the_server_and_the_connector() {
        let timeouts = |line| {
            let config = config(line, &Environment::default()).unwrap();
            (config.service.default_timeout, config.databricks.call_timeout)
        };
        let default = databricks_connector::Config::default().call_timeout;
        assert_eq!(timeouts(""), (default, default));
        let seconds = Duration::from_secs(7);
        assert_eq!(timeouts("--call-timeout 7"), (seconds, seconds));
    }
}
