//! The `databricks-emulator` program: runs an emulator until SIGINT or SIGTERM.

#![forbid(unsafe_code)]

use clap::Parser;
use databricks_emulator::{
    DEFAULT_TOKEN, Emulator, ExecConfig, FaultPlan, FaultRule, Pace, Script,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// The exit code for invalid settings (`EX_USAGE` of sysexits).
const BAD_USAGE: u8 = 64;

/// A fake Databricks workspace on 127.0.0.1.
///
/// A submitted run goes through QUEUED, PENDING and RUNNING, and then ends as its script says; without a script it
/// succeeds. Nothing leaves this machine, and tasks are executed only with --exec-python.
#[derive(Parser)]
#[command(version, after_long_help = EXAMPLES)]
struct Args {
    /// Port for plain HTTP; 0 picks a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    http_port: u16,

    /// Port for HTTPS; 0 picks a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    https_port: u16,

    /// Accept this bearer token; repeatable. Other tokens get 403.
    #[arg(long = "token", value_name = "TOKEN", default_value = DEFAULT_TOKEN)]
    tokens: Vec<String>,

    /// Service principal that may request OAuth tokens at /oidc/v1/token; repeatable.
    #[arg(long = "principal", value_name = "ID=SECRET", value_parser = parse_pair)]
    principals: Vec<(String, String)>,

    /// JWK set of an issuer whose tokens are accepted in a token exchange.
    #[arg(long, value_name = "FILE")]
    trusted_jwks: Option<PathBuf>,

    /// Write the root certificate for HTTPS clients to this file, as PEM. It is new at every start.
    #[arg(long, value_name = "PATH")]
    certificate: Option<PathBuf>,

    /// Duration of each step of a run without a script, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    step_ms: u64,

    /// JSON file that maps run names to scripts. A script without `pace` moves one step at every runs/get.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,

    /// JSON file with faults to inject: `{"seed": 7, "rules": [...]}`.
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,

    /// A fault rule as JSON, after those of --faults; repeatable.
    #[arg(long = "fault", value_name = "JSON")]
    extra_faults: Vec<FaultRule>,

    /// Id of a SQL warehouse; repeatable.
    #[arg(long = "warehouse", value_name = "ID")]
    warehouses: Vec<String>,

    /// Execute runs without a script: a Python task whose file was imported into the workspace runs with this Python,
    /// other tasks fail. The files run with your permissions, without a sandbox.
    #[arg(long, value_name = "PATH")]
    exec_python: Option<PathBuf>,

    /// Environment variable of executed tasks; repeatable. They inherit only `HOME`, `JAVA_HOME`, `LANG`, `PATH` and
    /// `TMPDIR`.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair, requires = "exec_python")]
    exec_env: Vec<(String, String)>,

    /// Execute a serverless task in a new virtual environment that has only the dependencies of its `environments` entry,
    /// which pip installs.
    #[arg(long, requires = "exec_python")]
    exec_environments: bool,

    /// Folder of packages that such an environment has too, like `PySpark` on serverless compute.
    #[arg(long, value_name = "PATH", requires = "exec_environments")]
    exec_platform: Option<PathBuf>,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

const EXAMPLES: &str = r#"Examples:
  Start it on fixed ports and keep the certificate:
    databricks-emulator --http-port 8080 --https-port 8443 --certificate /tmp/emulator.pem

  Submit a run and read it:
    curl -H 'Authorization: Bearer dapi-emulator' \
      http://127.0.0.1:8080/api/2.2/jobs/runs/submit -d '{
        "run_name": "etl", "tasks": [{"task_key": "main",
          "existing_cluster_id": "0801-120000-abcdefgh",
          "spark_python_task": {"python_file": "dbfs:/etl.py"}}]}'
    curl -H 'Authorization: Bearer dapi-emulator' \
      'http://127.0.0.1:8080/api/2.2/jobs/runs/get?run_id=514594995218126'

  A file for --script: runs named "etl" are queued for 6 s, take 2 s for each further step, and fail:
    {"etl": {"pace": {"elapsed_ms": 2000},
             "steps": [{"state": "QUEUED", "message": "no slot", "hold": 3},
                       {"state": "PENDING"}, {"state": "RUNNING"}],
             "outcome": {"failed": {"error": "ValueError: no such table",
                                    "error_trace": "Traceback ..."}},
             "logs": "reading table\n"}}
  Other outcomes: "success", "timedout", "canceled", "skipped",
    {"internal_error": {"message": "..."}},
    {"termination": {"life_cycle_state": "TERMINATED", "result_state": "FAILED",
                     "code": "CLUSTER_ERROR", "type": "CLOUD_FAILURE", "message": "..."}}
  Other paces: {"per_poll": 1}, "manual" (then: curl -X POST .../emulator/v1/runs/RUN_ID/advance)

  Drop the response of the first submit, and reject one call in ten with 429:
    databricks-emulator --fault '{"on": ["submit_run"], "times": 1, "fault": "drop_after"}' \
      --fault '{"name": "busy", "on": "calls", "probability": 0.1,
                "fault": {"rate_limited": {"seconds": 1}}}'
  A rule has "on": "calls", "connections" (HTTPS) or a list such as ["get_run", "cancel_run"],
    and optionally "run_name" or "run_id". It injects its "fault" always, "times" times or with
    a "probability"; or it has a "script" of faults:
    {"on": ["get_run"], "script": [null, "drop_before", {"earlier_state": 1}, "run_deleted"]}
  Faults of calls: "drop_before", "drop_after", {"delay_before_ms": 50}, {"delay_after_ms": 50},
    {"cut_body": 10}, {"slow_body": {"piece": 8, "pause_ms": 20}},
    {"content_type": "text/html"}, {"redirect": "/login.html"},
    {"rate_limited": "unsaid"} or {"rate_limited": {"seconds": 1}} or {... {"date_in": 2}},
    {"token_clock": {"ahead_seconds": 60}} or {"token_clock": {"behind_seconds": 60}},
    {"answer": {"status": 503, "body": {"error_code": "..."}, "headers": [["name", "value"]]}}
  Faults of get_run, get_run_output and cancel_run: also "run_deleted", and of the first two
    {"earlier_state": 1}
  Faults of connections: "closed", "not_tls", "untrusted_certificate", "expired_certificate"

  Execute tasks with a local Python and an additional variable:
    databricks-emulator --exec-python .venv/bin/python --exec-env SPARK_LOCAL_IP=127.0.0.1

  Admin API, without a token:
    PUT    /emulator/v1/scripts/RUN_NAME   set the script of runs with this name
    PUT    /emulator/v1/warehouses/ID      add a SQL warehouse
    POST   /emulator/v1/statements         set the result of SQL statements:
                                           {"containing": "...", "script": {...}}
    GET    /emulator/v1/statements         list SQL statements
    PUT    /emulator/v1/faults             replace all fault rules, as in --faults
    POST   /emulator/v1/faults             add a fault rule, as in --fault
    GET    /emulator/v1/faults             count injected faults by rule
    DELETE /emulator/v1/faults/NAME        remove a fault rule
    GET    /emulator/v1/requests           list requests
    GET    /emulator/v1/runs               list runs
    POST   /emulator/v1/runs/RUN_ID/advance  move a run one step
    DELETE /emulator/v1/runs/RUN_ID        delete a run

Exits with code 0 on SIGINT and SIGTERM. RUST_LOG=debug logs each request to stderr, without
bodies and tokens.
"#;

/// An error that ends the process.
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Renders an error and its causes in one line.
    fn new(code: u8, what: &str, error: &dyn Error) -> Self {
        let mut message = format!("{what}: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        Self { code, message }
    }

    fn usage(what: &str, error: &dyn Error) -> Self {
        Self::new(BAD_USAGE, what, error)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            #[expect(clippy::print_stderr, reason = "the error of a command line program")]
            {
                eprintln!("databricks-emulator: {}", failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}

async fn run(args: Args) -> Result<(), Failure> {
    let scripts: BTreeMap<String, Script> = match &args.script {
        Some(path) => read_file("--script", path, |text| serde_json::from_str(text))?,
        None => BTreeMap::new(),
    };
    let pace = Pace::Elapsed(Duration::from_millis(args.step_ms));
    let mut builder = Emulator::builder()
        .http_port(args.http_port)
        .https_port(args.https_port)
        .default_script(Script::success().with_pace(pace));
    if let Some(path) = &args.faults {
        builder = builder.faults(read_file("--faults", path, str::parse::<FaultPlan>)?);
    }
    for token in &args.tokens {
        builder = builder.token(token);
    }
    for (id, secret) in &args.principals {
        builder = builder.service_principal(id, secret);
    }
    if let Some(path) = &args.trusted_jwks {
        let keys = read_file("--trusted-jwks", path, str::parse::<String>)?;
        builder = builder.trust_issuer(keys, None);
    }
    for warehouse in &args.warehouses {
        builder = builder.warehouse(warehouse);
    }
    if let Some(python) = &args.exec_python {
        let environment = args.exec_env.iter().cloned().collect();
        builder = builder.exec(ExecConfig {
            environment,
            serverless_environments: args.exec_environments,
            platform_packages: args.exec_platform.clone(),
            ..ExecConfig::new(python)
        });
    }
    // Before the addresses are printed, so that no signal is lost.
    let shutdown =
        shutdown_signal().map_err(|error| Failure::new(1, "cannot listen for signals", &error))?;
    let emulator =
        builder.start().await.map_err(|error| Failure::new(1, "cannot start", &error))?;
    for rule in &args.extra_faults {
        emulator.inject(rule.clone());
    }
    for (run_name, script) in scripts {
        emulator.set_script(&run_name, script);
    }
    if let Some(path) = &args.certificate {
        std::fs::write(path, emulator.certificate_pem()).map_err(|error| {
            Failure::usage(&format!("--certificate {}", path.display()), &error)
        })?;
    }
    print_addresses(&emulator, &args);
    shutdown.await;
    emulator.shutdown().await;
    Ok(())
}

/// Reads and parses the file of a flag.
fn read_file<T, E: Error + 'static>(
    flag: &str,
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, Failure> {
    let what = format!("{flag} {}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| Failure::usage(&what, &error))?;
    parse(&text).map_err(|error| Failure::usage(&what, &error))
}

/// Prints the addresses. A closed stdout is not an error.
fn print_addresses(emulator: &Emulator, args: &Args) {
    let root = match &args.certificate {
        Some(path) => format!("trust {}", path.display()),
        None => "write its root certificate with --certificate PATH".to_owned(),
    };
    let token = match args.tokens.as_slice() {
        [token] if token == DEFAULT_TOKEN => format!("Token {token}"),
        tokens => format!("Token as configured ({} accepted)", tokens.len()),
    };
    let (http, https) = (emulator.http_url(), emulator.https_host());
    let text = format!(
        "HTTP  {http}  (admin API: {http}/emulator/v1/runs)\nHTTPS https://{https}  ({root})\n{token}\n\
         Stop with Ctrl-C or SIGTERM.\n"
    );
    if let Err(error) = std::io::stdout().lock().write_all(text.as_bytes()) {
        tracing::debug!(%error, "cannot print the addresses");
    }
    tracing::info!(http, https, "listening");
}

/// Returns the wait for a signal that ends the process. A signal counts from this call on.
#[cfg(unix)]
fn shutdown_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "fallible on Unix")]
fn shutdown_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "cannot listen for Ctrl-C");
        }
    })
}
