//! `databricks-emulator`: the emulator as a process, until it is told to stop.

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

/// The exit code for settings that cannot be used, as in sysexits.
const BAD_USAGE: u8 = 64;

/// A fake Databricks workspace on 127.0.0.1.
///
/// What is submitted to it becomes a run that goes QUEUED, PENDING, RUNNING and then ends as its script says; without
/// one it succeeds. Nothing leaves this machine, and nothing is executed unless --exec-python says so.
#[derive(Parser)]
#[command(version, after_long_help = EXAMPLES)]
struct Args {
    /// Port for plain HTTP; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    http_port: u16,

    /// Port for HTTPS; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    https_port: u16,

    /// A bearer token to accept; repeat for more. Any other is answered 403.
    #[arg(long = "token", value_name = "TOKEN", default_value = DEFAULT_TOKEN)]
    tokens: Vec<String>,

    /// A service principal that may ask for OAuth tokens at /oidc/v1/token; repeat for more.
    #[arg(long = "principal", value_name = "ID=SECRET", value_parser = variable)]
    principals: Vec<(String, String)>,

    /// A file with the JWK set of an issuer whose tokens are taken in exchange.
    #[arg(long, value_name = "FILE")]
    trusted_jwks: Option<PathBuf>,

    /// Write the certificate that HTTPS clients have to trust to this file, as PEM. It is new at every start.
    #[arg(long, value_name = "PATH")]
    certificate: Option<PathBuf>,

    /// How long each step of a run without a script lasts, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    step_ms: u64,

    /// A JSON file that maps run names to scripts. A script without `pace` moves one step at every runs/get.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,

    /// A JSON file of what goes wrong: `{"seed": 7, "rules": [...]}`.
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,

    /// One thing that goes wrong, as JSON, after those of --faults; repeat for more.
    #[arg(long = "fault", value_name = "JSON")]
    extra_faults: Vec<FaultRule>,

    /// An SQL warehouse that takes statements; repeat for more.
    #[arg(long = "warehouse", value_name = "ID")]
    warehouses: Vec<String>,

    /// Execute runs really, but for those with a script: a Python task whose file was imported into the workspace runs
    /// with this Python, and any other fails. The files run as you, without any fence.
    #[arg(long, value_name = "PATH")]
    exec_python: Option<PathBuf>,

    /// A variable of what is executed; repeat for more. Of this program's own it gets `HOME`, `JAVA_HOME`, `LANG`,
    /// `PATH` and `TMPDIR` alone.
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable, requires = "exec_python")]
    exec_env: Vec<(String, String)>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a name, `=` and a value are expected".to_owned()),
    }
}

const EXAMPLES: &str = r#"Examples:
  Start it on fixed ports and keep the certificate:
    databricks-emulator --http-port 8080 --https-port 8443 --certificate /tmp/emulator.pem

  Submit a run and look at it:
    curl -H 'Authorization: Bearer dapi-emulator' \
      http://127.0.0.1:8080/api/2.2/jobs/runs/submit -d '{
        "run_name": "etl", "tasks": [{"task_key": "main",
          "existing_cluster_id": "0801-120000-abcdefgh",
          "spark_python_task": {"python_file": "dbfs:/etl.py"}}]}'
    curl -H 'Authorization: Bearer dapi-emulator' \
      'http://127.0.0.1:8080/api/2.2/jobs/runs/get?run_id=514594995218126'

  A file for --script, in which runs named "etl" wait, run for 2 s a step, and fail:
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

  Lose the answer of the first submit, and let one call in ten be refused for a second:
    databricks-emulator --fault '{"on": ["submit_run"], "times": 1, "fault": "drop_after"}' \
      --fault '{"name": "busy", "on": "calls", "probability": 0.1,
                "fault": {"rate_limited": {"seconds": 1}}}'
  A rule is "on" "calls", "connections" (of HTTPS) or a list such as ["get_run", "cancel_run"],
    perhaps of one "run_name" or "run_id". It strikes always, "times" times, with a "probability"
    by the seed, or as a "script" says:
    {"on": ["get_run"], "script": [null, "drop_before", {"earlier_state": 1}, "run_deleted"]}
  Faults of calls: "drop_before", "drop_after", {"delay_before_ms": 50}, {"delay_after_ms": 50},
    {"cut_body": 10}, {"slow_body": {"piece": 8, "pause_ms": 20}},
    {"content_type": "text/html"}, {"redirect": "/login.html"},
    {"rate_limited": "unsaid"} or {"seconds": 1} or {"date_in": 2},
    {"token_clock": {"ahead_seconds": 60}} or {"behind_seconds": 60},
    {"answer": {"status": 503, "body": {"error_code": "..."}, "headers": [["name", "value"]]}}
  Faults of calls about runs: also "run_deleted", and of reads {"earlier_state": 1}
  Faults of connections: "closed", "not_tls", "untrusted_certificate", "expired_certificate"

  Execute tasks with a Python of this machine, with one more variable:
    databricks-emulator --exec-python .venv/bin/python --exec-env SPARK_LOCAL_IP=127.0.0.1

  While it runs, without a token:
    PUT    /emulator/v1/scripts/RUN_NAME   a script, for runs of that name from now on
    PUT    /emulator/v1/warehouses/ID      one more SQL warehouse
    POST   /emulator/v1/statements         what comes of SQL statements:
                                           {"containing": "...", "script": {...}}
    GET    /emulator/v1/statements         the statements so far
    PUT    /emulator/v1/faults             what goes wrong from now on, as in --faults;
                                           forgets all before
    POST   /emulator/v1/faults             one more rule, as in --fault
    GET    /emulator/v1/faults             how often each struck
    DELETE /emulator/v1/faults/NAME        no more of this rule
    GET    /emulator/v1/requests           what was asked of it
    GET    /emulator/v1/runs               what became of it
    DELETE /emulator/v1/runs/RUN_ID        forget a run, as retention does

It stops on SIGINT and SIGTERM with exit code 0. RUST_LOG=debug shows each call on stderr, never
a body or a token.
"#;

/// What ends the process, and with which code.
struct Failure {
    code: u8,
    said: String,
}

impl Failure {
    fn usage(what: &str, error: &dyn Error) -> Self {
        Self { code: BAD_USAGE, said: chain(what, error) }
    }
}

/// An error and its causes in one line.
fn chain(what: &str, error: &dyn Error) -> String {
    let mut said = format!("{what}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            #[expect(clippy::print_stderr, reason = "the last word of a command line program")]
            {
                eprintln!("databricks-emulator: {}", failure.said);
            }
            ExitCode::from(failure.code)
        }
    }
}

async fn run(args: Args) -> Result<(), Failure> {
    let scripts = args.script.as_deref().map_or_else(|| Ok(BTreeMap::new()), read_scripts)?;
    let pace = Pace::Elapsed(Duration::from_millis(args.step_ms));
    let mut builder = Emulator::builder()
        .http_port(args.http_port)
        .https_port(args.https_port)
        .default_script(Script::success().with_pace(pace));
    if let Some(path) = &args.faults {
        builder = builder.faults(read_faults(path)?);
    }
    for token in &args.tokens {
        builder = builder.token(token);
    }
    for (id, secret) in &args.principals {
        builder = builder.service_principal(id, secret);
    }
    if let Some(path) = &args.trusted_jwks {
        let keys = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(&format!("--trusted-jwks {}", path.display()), &error)
        })?;
        builder = builder.trust_issuer(keys, None);
    }
    for warehouse in &args.warehouses {
        builder = builder.warehouse(warehouse);
    }
    if let Some(python) = &args.exec_python {
        let environment = args.exec_env.iter().cloned().collect();
        builder = builder.exec(ExecConfig { environment, ..ExecConfig::new(python) });
    }
    // Before the ports are told, so that no signal comes too early.
    let mut stop = Stop::listen()
        .map_err(|error| Failure { code: 1, said: chain("cannot wait for signals", &error) })?;
    let emulator = builder
        .start()
        .await
        .map_err(|error| Failure { code: 1, said: chain("cannot start", &error) })?;
    for rule in &args.extra_faults {
        emulator.inject(rule.clone());
    }
    for (run_name, script) in scripts {
        emulator.script(&run_name, script);
    }
    if let Some(path) = &args.certificate {
        std::fs::write(path, emulator.certificate_pem()).map_err(|error| {
            Failure::usage(&format!("--certificate {}", path.display()), &error)
        })?;
    }
    announce(&emulator, &args);
    stop.wait().await;
    emulator.shutdown().await;
    Ok(())
}

fn read_scripts(path: &Path) -> Result<BTreeMap<String, Script>, Failure> {
    let what = format!("--script {}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| Failure::usage(&what, &error))?;
    serde_json::from_str(&text).map_err(|error| Failure::usage(&what, &error))
}

fn read_faults(path: &Path) -> Result<FaultPlan, Failure> {
    let what = format!("--faults {}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| Failure::usage(&what, &error))?;
    text.parse().map_err(|error| Failure::usage(&what, &error))
}

/// Says where it listens. Nobody has to read it.
fn announce(emulator: &Emulator, args: &Args) {
    let trusted = match &args.certificate {
        Some(path) => format!("trust {}", path.display()),
        None => "its certificate comes with --certificate PATH".to_owned(),
    };
    let token = match args.tokens.as_slice() {
        [token] if token == DEFAULT_TOKEN => format!("Token {token}"),
        tokens => format!("Token as given ({} accepted)", tokens.len()),
    };
    let (http, https) = (emulator.http_url(), emulator.https_host());
    let text = format!(
        "HTTP  {http}  (its calls: {http}/emulator/v1/runs)\nHTTPS https://{https}  ({trusted})\n{token}\n\
         Stop with Ctrl-C or SIGTERM.\n"
    );
    if let Err(error) = std::io::stdout().lock().write_all(text.as_bytes()) {
        tracing::debug!(%error, "nobody reads where it listens");
    }
    tracing::info!(http, https, "listening");
}

/// The signals that end the process.
#[cfg(unix)]
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Stop {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The signal that ends the process.
#[cfg(not(unix))]
struct Stop;

#[cfg(not(unix))]
impl Stop {
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn wait(&mut self) {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "cannot wait for Ctrl-C");
        }
    }
}
