//! The binary as a child process.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{Ipv4Addr, TcpListener},
    process::{Child, ChildStderr, Command, Stdio},
    thread::JoinHandle,
};

use flyteidl2::connector::async_connector_service_client::AsyncConnectorServiceClient;
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};

pub const FREE_PORTS: &str = "--host 127.0.0.1 --port 0 --prometheus-port 0";

/// Returns a port that was free a moment ago, for programs that cannot choose one themselves.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Returns a command with only these environment variables.
pub fn command(flags: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connector-server"));
    command.args(flags.split_whitespace()).env_clear().envs(variables.iter().copied());
    command
}

/// A server process on free ports. Dropping it kills the process.
pub struct ServerProcess {
    child: Child,
    /// `None` while another thread reads the log.
    stderr: Option<BufReader<ChildStderr>>,
    pub grpc: String,
    pub http: String,
    /// The log line that describes the gRPC listener.
    pub listener: Value,
    /// The part of the log that has been read.
    pub log: String,
}

impl ServerProcess {
    /// Starts the server and waits until it listens. Logs JSON unless `flags` contain `--log-format`.
    pub fn start(flags: &str, variables: &[(&str, &str)]) -> Self {
        let format = if flags.contains("--log-format") { "" } else { "--log-format json" };
        let mut child = command(&format!("{FREE_PORTS} {format} {flags}"), variables)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().map(BufReader::new);
        let mut process = Self {
            child,
            stderr,
            grpc: String::new(),
            http: String::new(),
            listener: Value::Null,
            log: String::new(),
        };
        process.listener = process.wait_for_line("gRPC listener");
        process.grpc = process.listener["address"].as_str().unwrap().to_owned();
        let http = process.wait_for_line("HTTP listener for metrics, /livez and /readyz");
        http["address"].as_str().unwrap().clone_into(&mut process.http);
        process
    }

    /// Starts a server that may call workspaces on this machine over HTTP.
    pub fn start_for_local_workspaces(flags: &str) -> Self {
        Self::start(flags, &[("FLYTE_DATABRICKS_ALLOWED_HOSTS", "127.0.0.1:*")])
    }

    /// Reads the log until a line with this message. Returns its fields.
    pub fn wait_for_line(&mut self, message: &str) -> Value {
        loop {
            let mut line = String::new();
            let length = self.stderr.as_mut().unwrap().read_line(&mut line).unwrap();
            assert_ne!(length, 0, "the log ended before `{message}`:\n{}", self.log);
            self.log.push_str(&line);
            let fields = if line.starts_with('{') {
                serde_json::from_str(&line).unwrap()
            } else {
                human_fields(&line, message)
            };
            if fields["message"] == message {
                return fields;
            }
        }
    }

    pub async fn channel(&self) -> Channel {
        Endpoint::new(format!("http://{}", self.grpc)).unwrap().connect().await.unwrap()
    }

    pub async fn tasks(&self) -> AsyncConnectorServiceClient<Channel> {
        AsyncConnectorServiceClient::new(self.channel().await)
    }

    pub async fn http_status(&self, path: &str) -> u16 {
        reqwest::get(format!("http://{}{path}", self.http)).await.unwrap().status().as_u16()
    }

    /// Returns the peak resident memory in MiB.
    #[cfg(target_os = "linux")]
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Reads the rest of the log in a thread, which returns the whole log when the process has ended.
    pub fn read_log_in_background(mut self) -> (Self, JoinHandle<String>) {
        let mut stderr = self.stderr.take().unwrap();
        let mut log = self.log.clone();
        let reader = std::thread::spawn(move || {
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        (self, reader)
    }

    /// Waits until the process ends. Returns the exit code and the rest of the log.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stderr.as_mut().unwrap().read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns message and address of a human-readable log line.
fn human_fields(line: &str, message: &str) -> Value {
    if !line.contains(message) {
        return Value::Null;
    }
    let address = line.split_whitespace().find_map(|word| word.strip_prefix("address="));
    json!({"message": message, "address": address})
}
