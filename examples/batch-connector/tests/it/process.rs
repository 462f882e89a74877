//! The binary as a child process, with TLS.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

/// A certificate for `localhost`, and the files that the server reads.
pub struct Identity {
    folder: tempfile::TempDir,
    certificate: String,
}

impl Identity {
    pub fn new() -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tls.crt"), cert.pem()).unwrap();
        std::fs::write(folder.path().join("tls.key"), signing_key.serialize_pem()).unwrap();
        Self { folder, certificate: cert.pem() }
    }

    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

/// A server process. Dropping it kills the process.
pub struct Server {
    child: Child,
    /// `None` while a thread reads it.
    log: Option<BufReader<ChildStderr>>,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
}

impl Server {
    /// Starts the server on free ports and waits until it listens.
    pub fn start(service: SocketAddr, identity: Option<&Identity>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_batch-connector"));
        command.args(["--host", "127.0.0.1", "--port", "0", "--prometheus-port", "0"]);
        command.args(["--log-format", "json", "--url", &format!("http://{service}")]);
        match identity {
            Some(identity) => {
                command.arg("--tls-cert").arg(identity.file("tls.crt"));
                command.arg("--tls-key").arg(identity.file("tls.key"));
            }
            None => {
                command.arg("--plaintext");
            }
        }
        let mut child = command.env_clear().stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let grpc = address(&mut log, "gRPC listener");
        let http = address(&mut log, "HTTP listener for metrics, /livez and /readyz");
        Self { child, log: Some(log), grpc, http }
    }

    pub async fn tls_channel(&self, identity: &Identity) -> Channel {
        let authority = Certificate::from_pem(&identity.certificate);
        let tls = ClientTlsConfig::new().ca_certificate(authority).domain_name("localhost");
        let endpoint = Endpoint::new(format!("https://{}", self.grpc)).unwrap();
        endpoint.tls_config(tls).unwrap().connect().await.unwrap()
    }

    pub async fn page(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("http://{}{path}", self.http)).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub fn terminate(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// Waits until the process ends. Returns the exit code and the rest of the log.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.log.as_mut().unwrap().read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }

    /// Reads the log in a thread, so that a full pipe never stops the server.
    pub fn discard_log(&mut self) {
        let mut log = self.log.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads the log until a line with this message. Returns its address.
fn address(log: &mut BufReader<ChildStderr>, message: &str) -> SocketAddr {
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        if line["message"] == message {
            return line["address"].as_str().unwrap().parse().unwrap();
        }
    }
    panic!("the log ended before `{message}`");
}
