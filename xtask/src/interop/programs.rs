//! Our real programs, started for the length of one run: the fake workspace and the server.

use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use xshell::{Shell, cmd};

/// The one token that the fake workspace accepts here.
pub(super) const TOKEN: &str = "dapi-interop";

/// A service principal of the fake workspace: its id and its secret.
pub(super) const PRINCIPAL: &str = "interop-principal=interop-secret";

/// Its SQL warehouse.
pub(super) const WAREHOUSE: &str = "1234567890abcdef";

/// What the runs of the fake workspace do, by run name.
const SCRIPTS: &str = "xtask/interop/scripts.json";

/// No start takes longer, by far.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a program may take to end once it is asked to; the server lets calls in flight finish.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(30);

/// Both programs, up and listening. They end when this is dropped.
pub(super) struct Programs {
    /// `host:port` of the server's gRPC.
    pub(super) server: String,
    /// Where it serves its metrics.
    pub(super) pages: String,
    /// `host:port` of the workspace's HTTPS, as a task names it.
    pub(super) workspace: String,
    /// The file of the certificate that the workspace's clients have to trust.
    pub(super) certificate: String,
    /// Held for their drop: the server goes before the workspace it calls.
    _server: Program,
    _workspace: Program,
    logs: [PathBuf; 2],
}

/// What one part asks of the programs, beside what all parts do.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Setup<'a> {
    pub(super) workspace_flags: &'a [(&'a str, &'a str)],
    pub(super) server_flags: &'a [(&'a str, &'a str)],
    pub(super) server_variables: &'a [(&'a str, &'a str)],
}

impl Programs {
    /// Builds and starts both, and waits until they take connections.
    pub(super) fn start(sh: &Shell, setup: Setup<'_>) -> Result<Self> {
        cmd!(sh, "cargo build --package databricks-emulator --package connector-server").run()?;
        let folder = folder(sh)?;
        let built = |name: &str| folder.with_file_name("debug").join(name);

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
            &built("databricks-emulator"),
            &folder,
            &[&shared, setup.workspace_flags].concat(),
            &[],
        )?;
        // It says where it listens once it does, and once the certificate is written.
        let workspace =
            emulator.wait_for(|program| address_after(&program.said(), "HTTPS https://"))?;

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
            &built("connector-server"),
            &folder,
            &[&flags, setup.server_flags].concat(),
            &[&variables, setup.server_variables].concat(),
        )?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, grpc));
        server.wait_for(|_| TcpStream::connect(address).is_ok().then_some(()))?;

        Ok(Self {
            server: address.to_string(),
            pages: SocketAddr::from((Ipv4Addr::LOCALHOST, prometheus)).to_string(),
            workspace,
            certificate: certificate.clone(),
            logs: [server.log.clone(), emulator.log.clone()],
            _server: server,
            _workspace: emulator,
        })
    }

    /// Prints the last lines that both programs wrote.
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

/// The folder for what the parts write: below the target folder, beside what Cargo built.
pub(super) fn folder(sh: &Shell) -> Result<PathBuf> {
    let metadata = MetadataCommand::new().current_dir(sh.current_dir()).no_deps().exec()?;
    let folder = metadata.target_directory.into_std_path_buf().join("interop");
    sh.create_dir(&folder)?;
    Ok(folder)
}

/// One process. Dropping it ends it.
pub(super) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts a program, whose output goes to a file of its name in `folder`. A flag without a value has an empty one.
    pub(super) fn start(
        sh: &Shell,
        program: &Path,
        folder: &Path,
        flags: &[(&str, &str)],
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let name =
            program.file_name().context("a program without a name")?.to_string_lossy().into_owned();
        let log = folder.join(format!("{name}.log"));
        let output =
            File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
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
            .with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { name, child, log })
    }

    /// What it wrote so far.
    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `ready` answers. A program that ended before is told with what it wrote.
    pub(super) fn wait_for<T>(&mut self, ready: impl Fn(&Self) -> Option<T>) -> Result<T> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended early ({status}):\n{}", self.name, last_lines(&self.said()));
            }
            if let Some(answer) = ready(self) {
                return Ok(answer);
            }
            if started.elapsed() > PATIENCE {
                bail!(
                    "{} is not ready after {} s:\n{}",
                    self.name,
                    PATIENCE.as_secs(),
                    last_lines(&self.said())
                );
            }
            pause();
        }
    }
}

impl Program {
    /// Asks it to end, as what it started would be left behind if it were killed. Whether it did.
    fn ended_when_asked(&mut self) -> bool {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        if !asked.is_ok_and(|status| status.success()) {
            return false;
        }
        let started = Instant::now();
        while started.elapsed() < PATIENCE_AT_THE_END {
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
        // One that has ended already is reaped here; its number may be another's.
        if matches!(self.child.try_wait(), Ok(Some(_))) || self.ended_when_asked() {
            return;
        }
        println!("{} did not end when it was asked to, and is killed", self.name);
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            println!("{} could not be ended: {error}", self.name);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "there is no runtime here to block, and no event to wait for"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// Two ports that were free a moment ago.
pub(super) fn free_ports() -> Result<[u16; 2]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1");
    let (first, second) = (bind()?, bind()?);
    Ok([first.local_addr()?.port(), second.local_addr()?.port()])
}

/// The word behind `mark`, once the line is complete.
fn address_after(text: &str, mark: &str) -> Option<String> {
    let (_, rest) = text.split_once(mark)?;
    let (line, _) = rest.split_once('\n')?;
    Some(line.split_whitespace().next()?.to_owned())
}

/// The end of a log.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_a_whole_line_only() {
        let said = "HTTP  http://127.0.0.1:1  (x)\nHTTPS https://localhost:18443  (trust /x)\n";
        assert_eq!(address_after(said, "HTTPS https://").as_deref(), Some("localhost:18443"));
        assert_eq!(address_after("HTTPS https://localhost:184", "HTTPS https://"), None);
        assert_eq!(address_after("", "HTTPS https://"), None);
    }

    #[test]
    fn the_end_of_a_log_is_short() {
        let long = ["first"; 10].into_iter().chain(["last"; 30]).collect::<Vec<_>>().join("\n");
        assert_eq!(last_lines(&long), ["last"; 30].join("\n"));
        assert_eq!(last_lines("a\n"), "a");
    }
}
