//! The command line, from parsed arguments to an exit code.

use std::sync::Arc;

use connector_service::{Failure, Server, ShutdownSignals, Telemetry, propagation_headers};
use databricks_connector::Propagate;
use tracing::{info, warn};

use crate::{Args, Command, Config, Environment, check, demo};

/// Does what the command line says, until it is done.
///
/// # Errors
///
/// [`Failure`], to be printed and turned into the exit code.
pub fn run(args: Args, environment: Environment) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::new(&error))?;
    let outcome = match args.command {
        Some(Command::Demo(demo)) => {
            runtime.block_on(demo::run(demo)).map_err(|error| Failure::new(error.as_ref()))
        }
        Some(Command::Check) => {
            let config = Config::new(&args.serve, &environment)?;
            drop(environment);
            runtime.block_on(check(config))
        }
        Some(Command::Serve) | None => {
            let config = Config::new(&args.serve, &environment)?;
            drop(environment);
            runtime.block_on(serve(config))
        }
    };
    // A name lookup in flight must not hold the end up.
    runtime.shutdown_background();
    outcome
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is what was asked for")]
async fn check(config: Config) -> Result<(), Failure> {
    let connector = crate::connectors::databricks(config.databricks)?;
    let (table, is_good) = check::run(&connector).await;
    for name in &config.misspelt {
        eprintln!("connector-server: no variable of this program is called {name}; see --help");
    }
    print!("{table}");
    if is_good {
        return Ok(());
    }
    Err(Failure::from_line("not every credential is good; see above"))
}

async fn serve(config: Config) -> Result<(), Failure> {
    let telemetry = Telemetry::install(&config.service)?;
    let outcome = serve_with_telemetry(config).await;
    telemetry.shutdown().await;
    outcome
}

async fn serve_with_telemetry(config: Config) -> Result<(), Failure> {
    let databricks = describe(&config.databricks);
    let propagate = config.service.traces.then(|| Arc::new(TraceHeaders) as Arc<dyn Propagate>);
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
        info!(namespaces, "Kubernetes Secrets of these namespaces serve tasks without a token");
    }
    for name in &config.misspelt {
        warn!(name, "no variable of this program has that name; see --help");
    }
    server.serve_until_signal(signals).await
}

/// Propagates the current trace to Databricks.
#[derive(Debug)]
struct TraceHeaders;

impl Propagate for TraceHeaders {
    fn headers(&self) -> Vec<(&'static str, String)> {
        propagation_headers()
    }
}

/// What a person at the terminal wants to see of the Databricks configuration: names, no secrets.
struct Described {
    workspace: String,
    credential: String,
    allowed_hosts: String,
    secret_namespaces: Option<String>,
}

fn describe(config: &databricks_connector::Config) -> Described {
    Described {
        workspace: match &config.instance {
            Some(instance) => host_of(instance).to_owned(),
            None => "none: each task names its own".to_owned(),
        },
        credential: match (&config.access_token, &config.access_token_file) {
            (Some(_), _) => crate::args::ACCESS_TOKEN.to_owned(),
            (None, Some(file)) => file.display().to_string(),
            (None, None) if config.workspaces.credentials() > 0 => {
                format!("{} of the connector's own", config.workspaces.credentials())
            }
            (None, None) => "none: each task brings its own".to_owned(),
        },
        allowed_hosts: match config.allowed_hosts.as_slice() {
            [] => "Databricks domains".to_owned(),
            more => format!("Databricks domains, {}", more.join(", ")),
        },
        secret_namespaces: config
            .namespace_secrets
            .as_ref()
            .map(|access| access.namespaces.to_string()),
    }
}

/// The host in what may have been pasted as a URL. A query may hold anything, so it is not shown.
fn host_of(instance: &str) -> &str {
    let rest = instance.split_once("://").map_or(instance, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_refused_command_line_is_one_line() {
        for (line, expected) in [
            (
                "x --port many",
                "invalid value 'many' for '--port <PORT>': invalid digit found in string; try --help",
            ),
            ("x --zzz 1", "unexpected argument '--zzz' found; try --help"),
            (
                "x --user-failures maybe",
                "invalid value 'maybe' for '--user-failures <WHAT>' \
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
    fn the_host_is_shown_without_what_was_pasted_around_it() {
        for instance in
            ["a.example", "https://a.example", "https://a.example/path?token=1", "a.example/#x"]
        {
            assert_eq!(host_of(instance), "a.example");
        }
    }
}
