//! Runs the emulator and the server as processes for the duration of a check.

use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use xshell::{Shell, cmd};

/// The token that the emulator accepts.
pub(super) const TOKEN: &str = "dapi-interop";

/// A service principal of the emulator: `<client id>=<secret>`.
pub(super) const PRINCIPAL: &str = "interop-principal=interop-secret";

/// The emulator's SQL warehouse.
pub(super) const WAREHOUSE: &str = "1234567890abcdef";

/// Scripts of the emulator's runs, by run name.
const SCRIPTS: &str = "xtask/interop/scripts.json";

/// Maximum start-up time of a program.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum shutdown time of a program. The server finishes its running calls first.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The running emulator and server. Dropping this stops both.
pub(super) struct Programs {
    /// `host:port` of the server's gRPC listener.
    pub(super) server: String,
    /// `host:port` of the server's metrics.
    pub(super) metrics: String,
    /// `host:port` of the emulator's HTTPS listener, as a task names the workspace.
    pub(super) workspace: String,
    /// Path of the emulator's certificate, which its clients must trust.
    pub(super) certificate: String,
    // Dropped in this order: the server stops before the workspace that it calls.
    _server: Program,
    _workspace: Program,
    logs: [PathBuf; 2],
}

/// Extra flags and variables of one check.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Setup<'a> {
    pub(super) workspace_flags: &'a [(&'a str, &'a str)],
    pub(super) server_flags: &'a [(&'a str, &'a str)],
    pub(super) server_variables: &'a [(&'a str, &'a str)],
}

impl Programs {
    /// Builds and starts both programs, and waits until they accept connections.
    pub(super) fn start(sh: &Shell, setup: Setup<'_>) -> Result<Self> {
        cmd!(sh, "cargo build --package databricks-emulator --package connector-server").run()?;
        let folder = folder(sh)?;

        let certificate = folder.join("workspace.pem").to_string_lossy().into_owned();
        let shared = [
            ("--token", TOKEN),
            ("--principal", PRINCIPAL),
            ("--warehouse", WAREHOUSE),
            ("--script", SCRIPTS),
            ("--certificate", certificate.as_str()),
        ];
        let mut emulator = Program::start(
            sh,
            &built(&folder, "databricks-emulator"),
            &folder,
            &[&shared, setup.workspace_flags].concat(),
            &[],
        )?;
        // It prints its address once it listens and the certificate is written.
        let workspace =
            emulator.wait_for(|program| address_after(&program.output(), "HTTPS https://"))?;

        let [grpc, prometheus] = free_ports()?;
        let (port, prometheus_port) = (grpc.to_string(), prometheus.to_string());
        let flags =
            [("--host", "127.0.0.1"), ("--port", &port), ("--prometheus-port", &prometheus_port)];
        let variables = [
            ("FLYTE_DATABRICKS_INSTANCE", workspace.as_str()),
            ("FLYTE_DATABRICKS_ACCESS_TOKEN", TOKEN),
            ("FLYTE_DATABRICKS_SQL_WAREHOUSE", WAREHOUSE),
            ("FLYTE_DATABRICKS_ALLOWED_HOSTS", &workspace),
            ("SSL_CERT_FILE", &certificate),
            ("NO_PROXY", "localhost,127.0.0.1"),
        ];
        let mut server = Program::start(
            sh,
            &built(&folder, "connector-server"),
            &folder,
            &[&flags, setup.server_flags].concat(),
            &[&variables, setup.server_variables].concat(),
        )?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, grpc));
        server.wait_for(|_| TcpStream::connect(address).is_ok().then_some(()))?;

        Ok(Self {
            server: address.to_string(),
            metrics: SocketAddr::from((Ipv4Addr::LOCALHOST, prometheus)).to_string(),
            workspace,
            certificate: certificate.clone(),
            logs: [server.log.clone(), emulator.log.clone()],
            _server: server,
            _workspace: emulator,
        })
    }

    /// Prints the last lines of both logs.
    pub(super) fn show_logs(&self, sh: &Shell) {
        for log in &self.logs {
            println!(
                "-- the end of {}\n{}",
                log.display(),
                last_lines(&sh.read_file(log).unwrap_or_default())
            );
        }
    }
}

/// Returns the path of a built program, given the directory for files of the checks.
pub(super) fn built(folder: &Path, name: &str) -> PathBuf {
    folder.with_file_name("debug").join(name)
}

/// Returns the directory for files of the checks, below the target directory.
pub(super) fn folder(sh: &Shell) -> Result<PathBuf> {
    let metadata = MetadataCommand::new().current_dir(sh.current_dir()).no_deps().exec()?;
    let folder = metadata.target_directory.into_std_path_buf().join("interop");
    sh.create_dir(&folder)?;
    Ok(folder)
}

/// A child process. Dropping it stops the process.
pub(super) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts a program. Its output goes to `<name>.log` in `folder`. A flag with an empty value is passed without one.
    pub(super) fn start(
        sh: &Shell,
        program: &Path,
        folder: &Path,
        flags: &[(&str, &str)],
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let name = program
            .file_name()
            .context("the program has no file name")?
            .to_string_lossy()
            .into_owned();
        let log = folder.join(format!("{name}.log"));
        let output =
            File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(program)
            .args(
                flags.iter().flat_map(|(flag, value)| [flag, value]).filter(|arg| !arg.is_empty()),
            )
            .envs(variables.iter().copied())
            .current_dir(sh.current_dir())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, log })
    }

    /// Returns the output so far.
    fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `ready` returns a value. Fails with the log if the program exits first.
    pub(super) fn wait_for<T>(&mut self, ready: impl Fn(&Self) -> Option<T>) -> Result<T> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} exited early ({status}):\n{}", self.name, last_lines(&self.output()));
            }
            if let Some(value) = ready(self) {
                return Ok(value);
            }
            if started.elapsed() > START_TIMEOUT {
                bail!(
                    "{} is not ready after {} s:\n{}",
                    self.name,
                    START_TIMEOUT.as_secs(),
                    last_lines(&self.output())
                );
            }
            pause();
        }
    }
}

impl Program {
    /// Sends SIGTERM, so that the program can stop its own children. True if it exited in time.
    fn terminate(&mut self) -> bool {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        if !sent.is_ok_and(|status| status.success()) {
            return false;
        }
        let started = Instant::now();
        while started.elapsed() < STOP_TIMEOUT {
            match self.child.try_wait() {
                Ok(None) => pause(),
                Ok(Some(_)) => return true,
                Err(_) => return false,
            }
        }
        false
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Reap it first: the process id of an exited program can be reused.
        if matches!(self.child.try_wait(), Ok(Some(_))) || self.terminate() {
            return;
        }
        println!("{} did not exit after SIGTERM; killing it", self.name);
        let killed = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = killed {
            println!("cannot kill {}: {error}", self.name);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "no runtime is blocked here, and there is no event to wait for"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// Returns two ports that were free a moment ago.
pub(super) fn free_ports() -> Result<[u16; 2]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1");
    let (first, second) = (bind()?, bind()?);
    Ok([first.local_addr()?.port(), second.local_addr()?.port()])
}

/// Returns the word after `mark`, once its line is complete.
fn address_after(text: &str, mark: &str) -> Option<String> {
    let (_, rest) = text.split_once(mark)?;
    let (line, _) = rest.split_once('\n')?;
    Some(line.split_whitespace().next()?.to_owned())
}

/// Returns the last 30 lines.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_read_from_complete_line_only() {
        let output = "HTTP  http://127.0.0.1:1  (x)\nHTTPS https://localhost:18443  (trust /x)\n";
        assert_eq!(address_after(output, "HTTPS https://").as_deref(), Some("localhost:18443"));
        assert_eq!(address_after("HTTPS https://localhost:184", "HTTPS https://"), None);
        assert_eq!(address_after("", "HTTPS https://"), None);
    }

    #[test]
    fn last_lines_are_bounded() {
        let long = ["first"; 10].into_iter().chain(["last"; 30]).collect::<Vec<_>>().join("\n");
        assert_eq!(last_lines(&long), ["last"; 30].join("\n"));
        assert_eq!(last_lines("a\n"), "a");
    }
}
