//! The command line, from parsed arguments to an exit code.

use std::{error::Error as StdError, fmt, pin::pin, sync::Arc, time::Duration};

use databricks_connector::Propagate;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    App, Args, BindError, Command, Config, ConfigError, Environment, NotText, ServerConfig, check,
    demo,
    shutdown::{StopSignal, StopSignals},
    status::chain,
    telemetry,
    traces::{self, Traces},
};

/// `EX_USAGE` of sysexits.h: the operator must change a flag or a variable.
const USAGE: u8 = 64;

/// Why the program could not go on: one line, and an exit code.
#[derive(Debug)]
pub struct Failure {
    line: String,
    exit_code: u8,
}

impl Failure {
    /// A command line that clap refused, in one line, with what clap says of the ways out: possible values, and what is
    /// spelled nearly so.
    pub fn usage(error: &clap::Error) -> Self {
        let text = error.to_string();
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let mut line =
            first.strip_prefix("error: ").unwrap_or(first).trim_end_matches('.').to_owned();
        for more in lines.take_while(|more| !more.starts_with("Usage:")).map(str::trim) {
            if more.starts_with('[') {
                line = format!("{line} {more}");
            } else if let Some(tip) = more.strip_prefix("tip: ") {
                line = format!("{line}; {tip}");
            }
        }
        Self { line: format!("{line}; try --help"), exit_code: USAGE }
    }

    fn other(error: &dyn StdError) -> Self {
        Self { line: chain(error), exit_code: 1 }
    }

    /// 64 for bad configuration, 1 for everything else, 128 and the signal's number after a second signal.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl StdError for Failure {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { line: chain(&error), exit_code: USAGE }
    }
}

impl From<NotText> for Failure {
    fn from(error: NotText) -> Self {
        ConfigError::from(error).into()
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        let exit_code = if matches!(error, BindError::Host { .. }) { USAGE } else { 1 };
        Self { line: chain(&error), exit_code }
    }
}

/// Does what the command line says, until it is done.
///
/// # Errors
///
/// [`Failure`], to be printed and turned into the exit code.
pub fn run(args: Args, environment: Environment) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::other(&error))?;
    let outcome = match args.command {
        Some(Command::Demo(demo)) => {
            runtime.block_on(demo::run(demo)).map_err(|error| Failure::other(error.as_ref()))
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
    Err(Failure { line: "not every credential is good; see above".to_owned(), exit_code: 1 })
}

async fn serve(config: Config) -> Result<(), Failure> {
    let traces = config.traces.then(traces::start).transpose()?;
    let _written_to_the_end = telemetry::init(&config.log, traces.as_ref());
    let propagate = traces.as_ref().map(Traces::propagate);
    let outcome = serve_traced(config, propagate).await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    outcome
}

async fn serve_traced(
    config: Config,
    propagate: Option<Arc<dyn Propagate>>,
) -> Result<(), Failure> {
    let databricks = describe(&config.databricks);
    let registry =
        crate::registry(databricks_connector::Config { propagate, ..config.databricks })?;
    let mut signals = StopSignals::install().map_err(|error| Failure::other(&error))?;
    let door = Entrance::of(&config.server, config.plaintext);
    let app = App::bind(config.server, registry.clone()).await?;

    info!(version = env!("CARGO_PKG_VERSION"), "starting the Flyte connector server");
    for connector in registry.connectors() {
        let types = connector.task_types();
        let types: Vec<String> = types.iter().map(ToString::to_string).collect();
        info!(connector = connector.name(), task_types = types.join(", "), "connector registered");
    }
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
    if !config.ignored.is_empty() {
        info!(flags = config.ignored.join(" "), "flags of c0 that mean nothing here");
    }
    door.tell();
    info!(address = %app.grpc_address(), "listening for gRPC");
    info!(address = %app.prometheus_address(), "listening for Prometheus, /livez and /readyz");

    let stop = CancellationToken::new();
    let mut running = pin!(app.run(stop.clone().cancelled_owned()));
    tokio::select! {
        ended = &mut running => return ended.map_err(|error| Failure::other(&error)),
        signal = signals.next() => info!(signal = signal.name(), "asked to stop"),
        () = elapsed(config.ends_after) => info!("the time of --timeout is over"),
    }
    stop.cancel();
    tokio::select! {
        ended = &mut running => ended.map_err(|error| Failure::other(&error)),
        again = signals.next() => Err(second_signal(again)),
    }
}

fn second_signal(signal: StopSignal) -> Failure {
    let line = format!(
        "stopped at once by a second signal, {}: calls in flight were cut off",
        signal.name()
    );
    Failure { line, exit_code: signal.exit_code() }
}

async fn elapsed(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// How the gRPC port is guarded.
struct Entrance {
    transport: &'static str,
    callers: &'static str,
    /// Whether somebody chose plaintext, if that is what it is.
    chosen: bool,
}

impl Entrance {
    fn of(server: &ServerConfig, plaintext: bool) -> Self {
        let transport = match &server.tls {
            None => "plaintext",
            Some(tls) if tls.verifies_clients() => "TLS, clients show a certificate",
            Some(_) => "TLS",
        };
        let chosen = plaintext || server.tls.is_some();
        Self { transport, callers: server.callers.described(), chosen }
    }

    fn tell(&self) {
        info!(transport = self.transport, callers = self.callers, "gRPC door");
        if !self.chosen {
            warn!(
                "gRPC is served in plaintext, as Flyte's own settings expect: \
                 set --tls-cert and --tls-key, or say --plaintext if that is meant"
            );
        }
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
