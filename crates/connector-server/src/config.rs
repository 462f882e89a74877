//! The validated configuration.

use std::{error::Error as StdError, fmt, path::Path, sync::Arc, time::Duration};

use clap::ValueEnum as _;
use secrecy::{ExposeSecret as _, SecretString};

use databricks_connector::{LogReading, ObjectStores, RunDefaults};

use crate::{
    Callers, HealthAccess, Limits, Tls,
    args::{self, Entrypoint, Environment, JobsApi, LogFormat, NotText, ServeArgs, UserFailures},
    namespace_secrets,
};

mod credentials;
mod door;
mod sight;
mod workspaces;

/// Everything the binary needs to serve. [`Config::new`] is the only way to one from the command line.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where and how to serve.
    pub server: ServerConfig,
    /// The Databricks connector.
    pub databricks: databricks_connector::Config,
    /// The log.
    pub log: LogConfig,
    /// Whether traces are exported, as `OTEL_*` say.
    pub traces: bool,
    /// End after that time, if at all.
    pub ends_after: Option<Duration>,
    /// Whether plaintext was asked for.
    pub plaintext: bool,
    /// Flags that were given and mean nothing here.
    pub ignored: Vec<&'static str>,
    /// Variables that look like ours and that nothing reads.
    pub misspelt: Vec<String>,
}

/// Where and how to serve. Every value of these types is a valid one.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The interface: an address or a name. None: all interfaces, IPv4 and IPv6.
    pub host: Option<String>,
    /// The port for gRPC; 0 takes a free one.
    pub grpc_port: u16,
    /// The port for Prometheus, /livez and /readyz; 0 takes a free one.
    pub prometheus_port: u16,
    /// Whether gRPC reflection is offered.
    pub reflection: bool,
    /// How long a call may take whose caller set no `grpc-timeout`.
    pub default_timeout: Duration,
    /// TLS of the gRPC port. None: plaintext.
    pub tls: Option<Tls>,
    /// Who may call.
    pub callers: Callers,
    /// Who may ask the gRPC health service.
    pub health: HealthAccess,
    /// How much the gRPC port takes at once.
    pub limits: Limits,
    /// How often files are looked at for new certificates and tokens.
    pub reload_every: Duration,
    /// How long work is kept that was started for a caller who was told that it was not.
    pub abandon_grace: Duration,
    /// How long calls in flight may take to finish after a stop was asked for.
    pub drain_grace: Duration,
    /// How long a stop, within that time, waits for somebody who reads the metrics to read those of the last calls.
    pub last_scrape: Duration,
    /// Whether `/status` is served.
    pub status: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            host: None,
            grpc_port: 8000,
            prometheus_port: 9090,
            reflection: true,
            default_timeout: Duration::from_mins(1),
            tls: None,
            callers: Callers::default(),
            health: HealthAccess::default(),
            limits: Limits::default(),
            reload_every: Duration::from_secs(5),
            abandon_grace: Duration::from_secs(30),
            // Below the 30 s after which Kubernetes kills.
            drain_grace: Duration::from_secs(25),
            // Most are scraped as often as that.
            last_scrape: Duration::from_secs(15),
            status: false,
        }
    }
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// How its lines look.
    pub format: LogFormat,
    /// Which lines are written, as a tracing filter.
    pub filter: String,
}

/// A value that cannot be used. Shown as one line that names the flag or variable.
#[derive(Debug)]
pub struct ConfigError {
    name: &'static str,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ConfigError {
    /// The flag or variable of that name has a bad value, because of that.
    pub(crate) fn new(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, message: message.into(), source: None }
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The flag or variable.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

impl StdError for ConfigError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<NotText> for ConfigError {
    fn from(error: NotText) -> Self {
        Self::new(error.name, "is not valid UTF-8")
    }
}

impl Config {
    /// Checks what was typed. Reads the files that `SSL_CERT_FILE` and `FLYTE_DATABRICKS_RUN_DEFAULTS` name.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first value that cannot be used. What only the connector can judge, such as a host
    /// name, is checked by [`crate::registry`].
    pub fn new(args: &ServeArgs, environment: &Environment) -> Result<Self, ConfigError> {
        let host = args.host.as_deref().map(str::trim).filter(|host| !host.is_empty());
        if args.port != 0 && args.port == args.prometheus_port {
            let port = args.port;
            return Err(ConfigError::new(
                "--prometheus-port",
                format!("{port} is the port of --port already"),
            ));
        }
        let server = ServerConfig {
            host: host.map(str::to_owned),
            grpc_port: args.port,
            prometheus_port: args.prometheus_port,
            reflection: !args.no_reflection,
            tls: door::tls(&args.door, &environment.door)?,
            callers: door::callers(&args.door, &environment.door)?,
            health: door::health(&args.door),
            limits: door::limits(&args.door)?,
            default_timeout: workspaces::call_timeout(&args.workspaces),
            abandon_grace: Duration::from_secs(args.abandon_grace),
            last_scrape: Duration::from_secs(args.sight.last_scrape.into()),
            status: sight::status(&args.sight, environment)?,
            ..ServerConfig::default()
        };
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
            ..databricks_connector::Config::default()
        };
        let databricks = workspaces::limited(&args.workspaces, databricks);
        let databricks = credentials::configured(args, environment, databricks)?;
        let mut ignored = Vec::new();
        if args.worker.is_some() {
            ignored.push("--worker");
        }
        if !args.modules.is_empty() {
            ignored.push("--modules");
        }
        Ok(Self {
            server,
            databricks,
            log: log_config(args, environment)?,
            traces: environment.traces,
            plaintext: args.door.plaintext,
            ends_after: args.timeout.map(Duration::from_secs),
            ignored,
            misspelt: environment.misspelt.clone(),
        })
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

fn comma_separated(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

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

fn log_config(args: &ServeArgs, environment: &Environment) -> Result<LogConfig, ConfigError> {
    let format = match (args.log_format, environment.log_format.as_deref()) {
        (Some(format), _) => format,
        (None, None) => LogFormat::Human,
        (None, Some(text)) => LogFormat::from_str(text, true).map_err(|_clap| {
            ConfigError::new(args::LOG_FORMAT, format!("`{text}` is neither human nor json"))
        })?,
    };
    let filter = match (environment.rust_log.as_deref(), environment.log_level.as_deref()) {
        (Some(filter), _) => {
            tracing_subscriber::EnvFilter::try_new(filter).map_err(|error| {
                ConfigError::new(args::RUST_LOG, "is not a tracing filter").with_source(error)
            })?;
            filter.to_owned()
        }
        (None, Some(level)) => filter_of_level(level).ok_or_else(|| {
            let message =
                format!("`{level}` is none of DEBUG, INFO, WARNING, ERROR, CRITICAL, nor a number");
            ConfigError::new(args::LOG_LEVEL, message)
        })?,
        (None, None) => DEFAULT_FILTER.to_owned(),
    };
    Ok(LogConfig { format, filter })
}

const DEFAULT_FILTER: &str = "info";

/// Python's levels as a filter. Below INFO only our own crates speak up: those of HTTP and TLS would drown them.
fn filter_of_level(level: &str) -> Option<String> {
    let number: u32 = match level.to_ascii_uppercase().as_str() {
        "CRITICAL" | "FATAL" | "ERROR" => 40,
        "WARNING" | "WARN" => 30,
        "INFO" => 20,
        "DEBUG" => 10,
        "NOTSET" => 0,
        digits => digits.parse().ok()?,
    };
    let ours = |level: &str| {
        let crates =
            ["connector_server", "connector_core", "databricks_connector", "databricks_client"];
        crates.iter().fold("info".to_owned(), |filter, name| format!("{filter},{name}={level}"))
    };
    Some(match number {
        31.. => "error".to_owned(),
        21..=30 => "warn".to_owned(),
        11..=20 => DEFAULT_FILTER.to_owned(),
        1..=10 => ours("debug"),
        0 => ours("trace"),
    })
}

#[cfg(test)]
mod tests {
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
    fn nothing_typed_gives_the_ports_of_c0_on_all_interfaces() {
        let config = config("", &Environment::default()).unwrap();
        assert_eq!((config.server.grpc_port, config.server.prometheus_port), (8000, 9090));
        assert_eq!(config.server.host, None);
        assert!(config.server.reflection);
        assert_eq!(config.log, LogConfig { format: LogFormat::Human, filter: "info".to_owned() });
        assert!(config.ignored.is_empty());
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
    fn the_two_ports_differ_unless_both_are_free_choices() {
        let error = config("--port 9090", &Environment::default()).unwrap_err();
        assert_eq!(error.to_string(), "--prometheus-port: 9090 is the port of --port already");
        assert!(config("--port 0 --prometheus-port 0", &Environment::default()).is_ok());
    }

    #[test]
    fn python_levels_become_filters() {
        for (level, filter) in [
            ("CRITICAL", "error"),
            ("error", "error"),
            ("WARNING", "warn"),
            ("warn", "warn"),
            ("30", "warn"),
            ("25", "warn"),
            ("INFO", "info"),
            ("20", "info"),
        ] {
            assert_eq!(filter_of_level(level).as_deref(), Some(filter), "{level}");
        }
        assert!(filter_of_level("DEBUG").unwrap().starts_with("info,connector_server=debug,"));
        assert!(filter_of_level("NOTSET").unwrap().contains("databricks_client=trace"));
        assert_eq!(filter_of_level("loud"), None);
    }

    #[test]
    fn rust_log_wins_over_log_level_and_the_flag_over_log_format() {
        let environment = Environment {
            log_level: Some("ERROR".to_owned()),
            rust_log: Some("h2=trace".to_owned()),
            log_format: Some("json".to_owned()),
            ..Environment::default()
        };
        assert_eq!(config("", &environment).unwrap().log.filter, "h2=trace");
        assert_eq!(config("", &environment).unwrap().log.format, LogFormat::Json);
        assert_eq!(
            config("--log-format human", &environment).unwrap().log.format,
            LogFormat::Human
        );
    }

    #[test]
    fn a_bad_value_is_one_line_that_names_the_variable() {
        let bad = |environment: Environment| config("", &environment).unwrap_err();
        let level =
            bad(Environment { log_level: Some("loud".to_owned()), ..Environment::default() });
        assert_eq!(level.name(), "LOG_LEVEL");
        assert!(level.to_string().starts_with("LOG_LEVEL: `loud` is none of"), "{level}");
        let format =
            bad(Environment { log_format: Some("xml".to_owned()), ..Environment::default() });
        assert_eq!(format.to_string(), "LOG_FORMAT: `xml` is neither human nor json");
        assert_eq!(
            bad(Environment { rust_log: Some("a=b=c".to_owned()), ..Environment::default() })
                .name(),
            "RUST_LOG"
        );
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
    fn allowed_hosts_are_split_at_commas() {
        assert_eq!(comma_separated(" a.example:443, ,*.b ,"), ["a.example:443", "*.b"]);
    }

    #[test]
    fn flags_that_mean_nothing_are_remembered() {
        assert_eq!(
            config("--worker 3 --modules a b", &Environment::default()).unwrap().ignored,
            ["--worker", "--modules"]
        );
    }
}
