//! The configuration of the binary: validates flags and environment variables and reads the files that they name.
//!
//! The parts that any connector server has are validated by [`ServiceConfig`], values that only the connector can check,
//! such as host names, by [`crate::registry`].

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use connector_service::{ConfigError, ServiceConfig, args::comma_separated};
use databricks_connector::{CallLimits, LogOptions, ObjectStores, RunDefaults, Workspaces};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    args::{DatabricksArgs, Entrypoint, JobsApi, ServeArgs, UserFailures},
    environment::{self, Environment},
    namespace_secrets,
};

/// The crates whose debug logs and spans `LOG_LEVEL=DEBUG` enables, in addition to those of the server.
const CRATES: [&str; 4] =
    ["connector_server", "databricks_connector", "databricks_client", "task_storage"];

/// The mount path of the token for Flyte's v1 plugin (flyte-contract.md#connector-v1).
const MOUNTED_TOKEN: &str = "/etc/secrets/flyte_databricks_access_token";

/// Minimum length of the key of log page tokens, in bytes. A shorter one could be guessed from a token.
const MIN_LOG_TOKEN_KEY: usize = 16;

/// The configuration of the binary.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server.
    pub service: ServiceConfig,
    /// The Databricks connector.
    pub databricks: databricks_connector::Config,
    /// Variables with a prefix of this program that it does not know.
    pub unknown_variables: Vec<String>,
}

impl Config {
    /// Validates flags and environment variables.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first invalid value.
    pub fn new(args: &ServeArgs, environment: &Environment) -> Result<Self, ConfigError> {
        let service = ServiceConfig::new(&args.service, |name| environment.get(name), &CRATES)?;
        let mut databricks = databricks(&args.databricks, environment)?;
        databricks.call_timeout = service.default_timeout;
        Ok(Self { service, databricks, unknown_variables: environment.unknown_variables() })
    }
}

fn databricks(
    args: &DatabricksArgs,
    environment: &Environment,
) -> Result<databricks_connector::Config, ConfigError> {
    let list = |variable| -> Result<_, ConfigError> {
        Ok(environment.text(variable)?.as_deref().map(comma_separated))
    };
    // The flags are at least one.
    let count = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    let seconds = |number: u32| Duration::from_secs(number.into());
    let instance = environment.text(environment::INSTANCE)?;
    let access_token = environment.secret(environment::ACCESS_TOKEN)?;
    let stores = Arc::new(object_stores(environment, list(environment::OUTPUT_BUCKETS)?)?);
    Ok(databricks_connector::Config {
        workspaces: workspaces(args, environment, instance.as_deref())?,
        access_token_file: mounted_token(access_token.as_ref(), Path::new(MOUNTED_TOKEN)),
        access_token_hosts: list(environment::ACCESS_TOKEN_HOSTS)?.unwrap_or_default(),
        instance,
        access_token,
        sql_warehouse: match &args.sql_warehouse {
            Some(id) => Some(id.clone()),
            None => environment.text(environment::SQL_WAREHOUSE)?,
        },
        allowed_hosts: list(environment::ALLOWED_HOSTS)?.unwrap_or_default(),
        namespace_secrets: namespace_secrets::access(
            &list(environment::SECRET_NAMESPACES)?.unwrap_or_default(),
        )?,
        extra_root_certs_pem: environment
            .path(environment::SSL_CERT_FILE)
            .map(|path| {
                std::fs::read(&path).map_err(unreadable(environment::SSL_CERT_FILE.name, &path))
            })
            .transpose()?,
        run_defaults: run_defaults(environment)?,
        task_storage: Arc::<ObjectStores>::clone(&stores),
        logs: LogOptions {
            storage: stores,
            token_key: log_token_key(environment)?,
            ..LogOptions::default()
        },
        entrypoint: match args.entrypoint {
            Entrypoint::Git => databricks_connector::Entrypoint::Git,
            Entrypoint::Workspace => databricks_connector::Entrypoint::Workspace,
        },
        jobs_api: match args.jobs_api {
            JobsApi::V2_2 => databricks_connector::JobsApi::V2_2,
            JobsApi::V2_1 => databricks_connector::JobsApi::V2_1,
        },
        user_failures: match args.user_failures {
            UserFailures::Retryable => databricks_connector::UserFailures::Retryable,
            UserFailures::Permanent => databricks_connector::UserFailures::Permanent,
        },
        cluster_tags: !args.no_cluster_tags,
        require_error_file: args.require_error_file,
        max_output_bytes: max_output_bytes(args, environment)?,
        calls: CallLimits {
            max_concurrent: count(args.calls_at_once),
            reads_per_second: count(args.reads_per_second),
            writes_per_second: count(args.writes_per_second),
        },
        refusal_patience: seconds(args.refusal_patience),
        vanished_patience: seconds(args.vanished_patience),
        unreachable_patience: Some(seconds(args.unreachable_patience))
            .filter(|patience| !patience.is_zero()),
        ..databricks_connector::Config::default()
    })
}

/// Returns the largest outputs that Flyte downloads, in bytes.
fn max_output_bytes(
    args: &DatabricksArgs,
    environment: &Environment,
) -> Result<usize, ConfigError> {
    let variable = environment::MAX_OUTPUT_BYTES;
    let bytes = match (args.max_output_bytes, environment.text(variable)?) {
        (Some(bytes), _) => Some(bytes),
        (None, Some(text)) => {
            Some(text.parse().ok().filter(|bytes| *bytes > 0).ok_or_else(|| {
                ConfigError::new(variable.name, "is not a number of bytes from 1 to 4294967295")
            })?)
        }
        (None, None) => None,
    };
    let default = databricks_connector::Config::default().max_output_bytes;
    Ok(bytes.map_or(default, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)))
}

/// Returns the workspaces and credentials of the file and of the standard variables.
fn workspaces(
    args: &DatabricksArgs,
    environment: &Environment,
    instance: Option<&str>,
) -> Result<Workspaces, ConfigError> {
    let variables = environment.reader();
    let variable = environment.path(environment::WORKSPACES);
    let file = match (&args.workspaces, &variable) {
        (Some(path), _) => Some(("--workspaces", path)),
        (None, Some(path)) => Some((environment::WORKSPACES.name, path)),
        (None, None) => None,
    };
    let workspaces = match file {
        None => Workspaces::default(),
        Some((name, path)) => {
            let text = std::fs::read_to_string(path).map_err(unreadable(name, path))?;
            Workspaces::parse(&text, &variables).map_err(|error| {
                ConfigError::new(name, format!("{} is invalid", path.display())).with_source(error)
            })?
        }
    };
    workspaces
        .with_standard_variables(&variables, instance)
        .map_err(|error| ConfigError::new("DATABRICKS_*", error.to_string()))
}

/// Returns the path of the mounted token, if it exists and no variable overrides it.
fn mounted_token(access_token: Option<&SecretString>, path: &Path) -> Option<PathBuf> {
    (access_token.is_none() && path.is_file()).then(|| path.to_owned())
}

fn object_stores(
    environment: &Environment,
    buckets: Option<Vec<String>>,
) -> Result<ObjectStores, ConfigError> {
    let stores = ObjectStores::new().with_s3(
        environment.text(environment::S3_ENDPOINT)?,
        environment.secret(environment::S3_ACCESS_KEY_ID)?,
        environment.secret(environment::S3_SECRET_ACCESS_KEY)?,
    );
    Ok(match buckets {
        Some(buckets) => stores.with_allowed_buckets(buckets),
        None => stores,
    })
}

fn log_token_key(environment: &Environment) -> Result<Option<SecretString>, ConfigError> {
    let key = environment.secret(environment::LOG_TOKEN_KEY)?;
    if key.as_ref().is_some_and(|key| key.expose_secret().len() < MIN_LOG_TOKEN_KEY) {
        let message =
            format!("is shorter than {MIN_LOG_TOKEN_KEY} characters; use a long random key");
        return Err(ConfigError::new(environment::LOG_TOKEN_KEY.name, message));
    }
    Ok(key)
}

/// Parses the JSON object in the variable, or in the file that the variable names.
fn run_defaults(environment: &Environment) -> Result<RunDefaults, ConfigError> {
    let name = environment::RUN_DEFAULTS.name;
    let Some(value) = environment.text(environment::RUN_DEFAULTS)? else {
        return Ok(RunDefaults::default());
    };
    if value.starts_with(['{', '[']) {
        return value.parse().map_err(|error| ConfigError::new(name, format!("{error}")));
    }
    let text = std::fs::read_to_string(&value).map_err(unreadable(name, Path::new(&value)))?;
    text.parse().map_err(|error| ConfigError::new(name, format!("{value}: {error}")))
}

/// Maps the error of reading the file that the flag or variable `name` names.
fn unreadable(name: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ConfigError {
    move |error| {
        ConfigError::new(name, format!("{} cannot be read", path.display())).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::Args;

    fn config(line: &str, environment: &Environment) -> Result<Config, ConfigError> {
        let words = std::iter::once("connector-server").chain(line.split_whitespace());
        Config::new(&Args::try_parse_from(words).unwrap().serve, environment)
    }

    fn from_flags(line: &str) -> databricks_connector::Config {
        config(line, &Environment::from_iter::<[(&str, &str); 0]>([])).unwrap().databricks
    }

    fn from_variable(name: &'static str, value: &str) -> Result<Config, ConfigError> {
        config("", &Environment::from_iter([(name, value)]))
    }

    #[test]
    fn flags_have_the_defaults_of_the_connector() {
        let (flags, default) = (from_flags(""), databricks_connector::Config::default());
        assert_eq!(flags.calls, default.calls);
        assert_eq!(flags.refusal_patience, default.refusal_patience);
        assert_eq!(flags.vanished_patience, default.vanished_patience);
        assert_eq!(flags.unreachable_patience, default.unreachable_patience);
        assert_eq!(flags.call_timeout, default.call_timeout);
        assert_eq!(flags.jobs_api, databricks_connector::JobsApi::V2_2);
    }

    #[test]
    fn flags_set_limits_and_grace_periods() {
        let config = from_flags(
            "--reads-per-second 1 --writes-per-second 2 --calls-at-once 3 --refusal-patience 4 \
             --vanished-patience 5 --unreachable-patience 6 --call-timeout 7 --jobs-api 2.1",
        );
        let calls = [
            config.calls.reads_per_second,
            config.calls.writes_per_second,
            config.calls.max_concurrent,
        ];
        assert_eq!(calls.map(NonZeroU32::get), [1, 2, 3]);
        assert_eq!(config.refusal_patience, Duration::from_secs(4));
        assert_eq!(config.vanished_patience, Duration::from_secs(5));
        assert_eq!(config.unreachable_patience, Some(Duration::from_secs(6)));
        assert_eq!(config.call_timeout, Duration::from_secs(7));
        assert_eq!(config.jobs_api, databricks_connector::JobsApi::V2_1);
    }

    #[test]
    fn sql_warehouse_flag_wins_over_variable() {
        let environment = Environment::from_iter([("FLYTE_DATABRICKS_SQL_WAREHOUSE", "v")]);
        let warehouse =
            |line, environment| config(line, environment).unwrap().databricks.sql_warehouse;
        assert_eq!(warehouse("--sql-warehouse f", &environment).as_deref(), Some("f"));
        assert_eq!(warehouse("", &environment).as_deref(), Some("v"));
        assert_eq!(warehouse("", &Environment::from_iter::<[(&str, &str); 0]>([])), None);
    }

    #[test]
    fn output_limit_is_that_of_the_flag_else_of_the_variable() {
        let environment = Environment::from_iter([("FLYTE_DATABRICKS_MAX_OUTPUT_BYTES", "5")]);
        let limit =
            |line, environment| config(line, environment).unwrap().databricks.max_output_bytes;
        assert_eq!(limit("--max-output-bytes 7", &environment), 7);
        assert_eq!(limit("", &environment), 5);
        assert_eq!(from_flags("").max_output_bytes, 2_097_152);
        for invalid in ["0", "-1", "x", "2MB"] {
            let error = from_variable("FLYTE_DATABRICKS_MAX_OUTPUT_BYTES", invalid).unwrap_err();
            assert_eq!(error.name(), "FLYTE_DATABRICKS_MAX_OUTPUT_BYTES");
        }
    }

    #[test]
    fn short_log_token_key_is_rejected_and_not_shown() {
        let error = from_variable("FLYTE_LOG_TOKEN_KEY", "canary").unwrap_err();
        assert_eq!(error.name(), "FLYTE_LOG_TOKEN_KEY");
        assert!(!error.to_string().contains("canary"), "{error}");
        let valid = from_variable("FLYTE_LOG_TOKEN_KEY", "0123456789abcdef").unwrap();
        assert!(valid.databricks.logs.token_key.is_some());
    }

    #[test]
    fn unreadable_file_is_reported_with_its_variable() {
        let error = from_variable("SSL_CERT_FILE", "/nowhere/ca.pem").unwrap_err();
        assert_eq!(error.to_string(), "SSL_CERT_FILE: /nowhere/ca.pem cannot be read");
    }

    #[test]
    fn run_defaults_are_an_object_or_a_path() {
        let parsed = |value: &str| from_variable("FLYTE_DATABRICKS_RUN_DEFAULTS", value);
        let object = r#"{"queue": {"enabled": true}}"#;
        let expected: RunDefaults = object.parse().unwrap();
        assert_eq!(parsed(object).unwrap().databricks.run_defaults, expected);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("defaults.json");
        let path = path.to_str().unwrap();
        std::fs::write(path, object).unwrap();
        assert_eq!(parsed(path).unwrap().databricks.run_defaults, expected);

        let error = |value: &str| parsed(value).unwrap_err().to_string();
        assert_eq!(
            error(r#"{"queue": true}"#),
            "FLYTE_DATABRICKS_RUN_DEFAULTS: `queue` must be an object, but is a boolean"
        );
        assert_eq!(error("/nowhere"), "FLYTE_DATABRICKS_RUN_DEFAULTS: /nowhere cannot be read");
        std::fs::write(path, "{\n").unwrap();
        let expected =
            format!("FLYTE_DATABRICKS_RUN_DEFAULTS: {path}: is not JSON: line 2, column 0");
        assert_eq!(error(path), expected);
    }

    #[test]
    fn mounted_token_is_used_unless_a_variable_is_set() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let token = SecretString::from("dapi");
        assert_eq!(mounted_token(None, file.path()).as_deref(), Some(file.path()));
        assert_eq!(mounted_token(Some(&token), file.path()), None);
        assert_eq!(mounted_token(None, Path::new("/nowhere")), None);
    }
}
