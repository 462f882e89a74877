//! Runs the subcommands.

use std::sync::Arc;

use connector_service::{Failure, Server, ShutdownSignals, Telemetry, propagation_headers};
use databricks_connector::TracePropagator;
use tracing::{info, warn};

#[cfg(feature = "demo")]
use crate::demo;
use crate::{Args, Command, Config, Environment, check, connectors, environment};

/// Runs the subcommand to its end.
///
/// # Errors
///
/// [`Failure`], which has the error line and the exit code.
pub fn run(args: Args, environment: &Environment) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::new(&error))?;
    let Args { serve: flags, command } = args;
    let result = match command {
        #[cfg(feature = "demo")]
        Some(Command::Demo(demo)) => {
            runtime.block_on(demo::run(demo)).map_err(|error| Failure::new(error.as_ref()))
        }
        Some(Command::Check) => runtime.block_on(check(Config::new(&flags, environment)?)),
        Some(Command::Serve) | None => runtime.block_on(serve(Config::new(&flags, environment)?)),
    };
    // Does not wait for blocking tasks, such as a DNS lookup.
    runtime.shutdown_background();
    result
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "prints the report")]
async fn check(config: Config) -> Result<(), Failure> {
    let connector = connectors::databricks(config.databricks)?;
    let (report, is_usable) = check::run(&connector).await;
    for name in &config.unknown_variables {
        eprintln!("connector-server: unknown variable {name}; see --help");
    }
    print!("{report}");
    if is_usable {
        return Ok(());
    }
    Err(Failure::from_line("some credentials cannot be used; see above"))
}

async fn serve(config: Config) -> Result<(), Failure> {
    let telemetry = Telemetry::install(&config.service)?;
    let result = serve_with_telemetry(config).await;
    telemetry.shutdown().await;
    result
}

async fn serve_with_telemetry(config: Config) -> Result<(), Failure> {
    let databricks = Summary::new(&config.databricks);
    let propagate =
        config.service.traces.then(|| Arc::new(TraceHeaders) as Arc<dyn TracePropagator>);
    let registry =
        crate::registry(databricks_connector::Config { propagate, ..config.databricks })?;
    let signals = ShutdownSignals::install().map_err(|error| Failure::new(&error))?;
    let server = Server::builder(registry).config(config.service).bind().await?;

    info!(version = env!("CARGO_PKG_VERSION"), "starting the Flyte connector server");
    info!(
        workspace = databricks.workspace,
        credential = databricks.credential,
        allowed_hosts = databricks.allowed_hosts,
        "Databricks configured"
    );
    if let Some(namespaces) = databricks.secret_namespaces {
        info!(namespaces, "tasks without a token use Kubernetes Secrets of these namespaces");
    }
    for name in &config.unknown_variables {
        warn!(name, "unknown environment variable; see --help");
    }
    server.serve_until_signal(signals).await
}

/// Adds the current trace context to requests to Databricks.
#[derive(Debug)]
struct TraceHeaders;

impl TracePropagator for TraceHeaders {
    fn headers(&self) -> Vec<(&'static str, String)> {
        propagation_headers()
    }
}

/// The Databricks configuration as logged at startup. Names credentials, but holds none.
struct Summary {
    workspace: String,
    credential: String,
    allowed_hosts: String,
    secret_namespaces: Option<String>,
}

impl Summary {
    fn new(config: &databricks_connector::Config) -> Self {
        Self {
            workspace: match &config.instance {
                Some(instance) => host_of(instance).to_owned(),
                None => "none: set by each task".to_owned(),
            },
            credential: match (&config.access_token, &config.access_token_file) {
                (Some(_), _) => environment::ACCESS_TOKEN.name.to_owned(),
                (None, Some(file)) => file.display().to_string(),
                (None, None) => match config.workspaces.credential_count() {
                    0 => "none: set by each task".to_owned(),
                    1 => "1 configured credential".to_owned(),
                    count => format!("{count} configured credentials"),
                },
            },
            allowed_hosts: match config.allowed_hosts.as_slice() {
                [] => "Databricks domains".to_owned(),
                hosts => format!("Databricks domains, {}", hosts.join(", ")),
            },
            secret_namespaces: config
                .namespace_secrets
                .as_ref()
                .map(|access| access.namespaces.to_string()),
        }
    }
}

/// Returns the host of a URL. Drops the query, which may contain anything.
fn host_of(instance: &str) -> &str {
    let rest = instance.split_once("://").map_or(instance, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn rejected_command_line_is_reported_in_one_line() {
        for (line, expected) in [
            (
                "x --port many",
                "invalid value 'many' for '--port <PORT>': invalid digit found in string; try --help",
            ),
            ("x --zzz 1", "unexpected argument '--zzz' found; try --help"),
            (
                "x --user-failures maybe",
                "invalid value 'maybe' for '--user-failures <MODE>' \
                 [possible values: retryable, permanent]; try --help",
            ),
            (
                "x serv",
                "unrecognized subcommand 'serv'; a similar subcommand exists: 'serve'; try --help",
            ),
            (
                "x --prometheus-prt 1",
                "unexpected argument '--prometheus-prt' found; a similar argument exists: \
                 '--prometheus-port'; try --help",
            ),
        ] {
            let failure =
                Failure::usage(&Args::try_parse_from(line.split_whitespace()).unwrap_err());
            assert_eq!((failure.to_string().as_str(), failure.exit_code()), (expected, 64));
        }
    }

    #[test]
    fn host_is_shown_without_scheme_path_and_query() {
        for instance in
            ["a.example", "https://a.example", "https://a.example/path?token=1", "a.example/#x"]
        {
            assert_eq!(host_of(instance), "a.example");
        }
    }
}
