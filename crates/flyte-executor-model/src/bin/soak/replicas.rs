//! The replicas: server processes that are started, killed and drained.

use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The timeout of starting and of draining a replica.
const REPLICA_TIMEOUT: Duration = Duration::from_secs(40);

/// Raises the servers' limits of workspace calls: with shorter executor intervals calls are more frequent than the defaults
/// allow.
const RATE_LIMITS: [&str; 6] =
    ["--reads-per-second", "100000", "--writes-per-second", "100000", "--calls-at-once", "1000"];

/// How to start a replica.
#[derive(Debug)]
pub(crate) struct ReplicaConfig {
    pub(crate) program: PathBuf,
    /// The workspace, as `host:port`.
    pub(crate) workspace: String,
    pub(crate) token: String,
    /// The file with the workspace's root certificate.
    pub(crate) root_cert: PathBuf,
    /// The folder for the replicas' logs.
    pub(crate) logs: PathBuf,
    /// Seconds until the server cancels an abandoned run.
    pub(crate) abandon_grace: u64,
    /// Additional flags of the server.
    pub(crate) server_flags: Vec<String>,
}

/// A server process.
#[derive(Debug)]
pub(crate) struct Replica {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl ReplicaConfig {
    /// Starts a process and waits until it listens.
    pub(crate) async fn start(&self) -> io::Result<Replica> {
        let mut child = Command::new(&self.program)
            .args(["--host", "127.0.0.1", "--port", "0", "--prometheus-port", "0"])
            .args(["--log-format", "json"])
            .args(["--abandon-grace", &self.abandon_grace.to_string()])
            .args(RATE_LIMITS)
            .args(&self.server_flags)
            .env_clear()
            .env("FLYTE_DATABRICKS_INSTANCE", &self.workspace)
            .env("FLYTE_DATABRICKS_ACCESS_TOKEN", &self.token)
            .env("FLYTE_DATABRICKS_ALLOWED_HOSTS", &self.workspace)
            .env("SSL_CERT_FILE", &self.root_cert)
            .env("RUST_LOG", "warn,connector_service::server=info,databricks_connector=info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot start {}: {error}", self.program.display()),
                )
            })?;
        let stderr =
            child.stderr.take().ok_or_else(|| io::Error::other("a replica has no stderr"))?;
        let mut lines = BufReader::new(stderr).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(address) = address_in(&line) {
                    return Ok(address);
                }
            }
            Err(io::Error::other("a replica exited before it listened"))
        };
        let address = timeout(REPLICA_TIMEOUT, listening).await.map_err(|_elapsed| {
            io::Error::other(format!("a replica did not listen within {REPLICA_TIMEOUT:?}"))
        })??;
        let mut log = File::create(self.logs.join(format!("{}.log", address.port()))).await?;
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if log.write_all(line.as_bytes()).await.is_err()
                    || log.write_all(b"\n").await.is_err()
                {
                    break;
                }
            }
            // Missing last log lines are not an error.
            drop(log.flush().await);
        });
        Ok(Replica { child, address })
    }
}

/// Returns the address of the log line of the gRPC listener.
fn address_in(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    if line.get("message")?.as_str()? != "gRPC listener" {
        return None;
    }
    line.get("address")?.as_str()?.parse().ok()
}

impl Replica {
    /// Kills it with SIGKILL.
    pub(crate) async fn kill(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Drains it with SIGTERM and waits for its exit.
    pub(crate) async fn drain(mut self) -> io::Result<ExitStatus> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::other("a replica exited by itself"))?;
        kill_process(id, Signal::TERM)?;
        timeout(REPLICA_TIMEOUT, self.child.wait()).await.map_err(|_elapsed| {
            io::Error::other(format!("a replica did not drain within {REPLICA_TIMEOUT:?}"))
        })?
    }
}
