//! The binary: its flags, its exit codes, and the line it ends with.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{Ipv4Addr, TcpListener},
    process::{Child, ChildStderr, Command, Output, Stdio},
};

use flyteidl2::connector::async_connector_service_client::AsyncConnectorServiceClient;
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

fn binary(flags: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connector-server"));
    command.args(flags.split_whitespace()).env_clear().envs(variables.iter().copied());
    command
}

fn run(flags: &str, variables: &[(&str, &str)]) -> (i32, String) {
    let Output { status, stderr, .. } = binary(flags, variables).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

/// The exit code and the one line that a refused start ends with.
fn refused(flags: &str, variables: &[(&str, &str)]) -> (i32, String) {
    let (code, text) = run(flags, variables);
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    assert_eq!(lines.next(), None, "more than one line: {text}");
    (code, line)
}

/// A binary that serves on free ports, killed when the test is over.
pub struct Serving {
    child: Child,
    stderr: BufReader<ChildStderr>,
    pub grpc: String,
    pub http: String,
    /// The log line that describes the gRPC listener.
    pub listener: Value,
    /// The log as far as it was read.
    pub read: String,
}

/// A line with that message as its JSON would be, as far as tests ask.
fn line_for_people(line: &str, message: &str) -> Value {
    let field = |name| line.split_whitespace().find_map(|word| word.strip_prefix(name));
    if line.contains(message) {
        serde_json::json!({"message": message, "address": field("address=")})
    } else {
        Value::Null
    }
}

const FREE_PORTS: &str = "--host 127.0.0.1 --port 0 --prometheus-port 0";

/// The same, with lines as JSON.
const FREE_PORTS_AND_JSON: &str = "--host 127.0.0.1 --port 0 --prometheus-port 0 --log-format json";

impl Serving {
    pub fn start(flags: &str, variables: &[(&str, &str)]) -> Self {
        let says_how = flags.contains("--log-format");
        let ports = if says_how { FREE_PORTS } else { FREE_PORTS_AND_JSON };
        let mut child =
            binary(&format!("{ports} {flags}"), variables).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut serving = Self {
            child,
            stderr,
            grpc: String::new(),
            http: String::new(),
            listener: Value::Null,
            read: String::new(),
        };
        serving.listener = serving.line("gRPC listener");
        serving.grpc = serving.listener["address"].as_str().unwrap().to_owned();
        serving.http = serving.address("HTTP listener for metrics, /livez and /readyz");
        serving
    }

    /// Reads the log up to the line with that message.
    pub fn line(&mut self, message: &str) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.stderr.read_line(&mut line).unwrap(),
                0,
                "the log ended before `{message}`"
            );
            self.read.push_str(&line);
            let line = if line.starts_with('{') {
                serde_json::from_str(&line).unwrap()
            } else {
                line_for_people(&line, message)
            };
            if line["message"] == message {
                return line;
            }
        }
    }

    fn address(&mut self, message: &str) -> String {
        self.line(message)["address"].as_str().unwrap().to_owned()
    }

    pub async fn channel(&self) -> Channel {
        Endpoint::new(format!("http://{}", self.grpc)).unwrap().connect().await.unwrap()
    }

    pub async fn tasks(&self) -> AsyncConnectorServiceClient<Channel> {
        AsyncConnectorServiceClient::new(self.channel().await)
    }

    pub async fn page(&self, path: &str) -> u16 {
        reqwest::get(format!("http://{}{path}", self.http)).await.unwrap().status().as_u16()
    }

    /// The most memory that it ever had, in MiB.
    #[cfg(target_os = "linux")]
    pub fn most_memory(&self) -> u64 {
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

    /// The same, while somebody else reads the rest of its log, which comes as one text when it has ended.
    pub fn reading(mut self) -> (Self, std::thread::JoinHandle<String>) {
        let (nothing, _) = std::io::pipe().unwrap();
        let nothing: ChildStderr = std::os::fd::OwnedFd::from(nothing).into();
        let mut stderr = std::mem::replace(&mut self.stderr, BufReader::new(nothing));
        let mut log = self.read.clone();
        let reader = std::thread::spawn(move || {
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        (self, reader)
    }

    /// The exit code and the rest of the log.
    pub fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_no_call_up() {
    let emulator = databricks_emulator::Emulator::builder().token("dapi-1").start().await.unwrap();
    let serving = Serving::start(
        "",
        &[("FLYTE_DATABRICKS_ALLOWED_HOSTS", "127.0.0.1:*"), ("RUST_LOG", "trace")],
    );
    let mut tasks = serving.tasks().await;
    let meta = format!(r#"{{"databricks_instance": "{}", "run_id": "7"}}"#, emulator.http_url());
    // Far more than a pipe holds.
    for _ in 0..300 {
        let request = flyteidl2::connector::GetTaskRequest {
            resource_meta: meta.clone().into_bytes(),
            task_category: Some(flyteidl2::connector::TaskCategory {
                name: "databricks".to_owned(),
                version: 0,
            }),
            ..Default::default()
        };
        tasks.get_task(request).await.unwrap();
    }
    serving.signal("TERM");
    let (code, rest) = serving.end();
    assert_eq!(code, Some(0));
    assert!(rest.len() > 64 * 1024, "{} bytes were waiting", rest.len());
}

#[test]
fn bad_configuration_is_one_line_that_names_the_flag_or_variable_and_exit_64() {
    for (flags, variables, expected) in [
        ("--port many", &[][..], "invalid value 'many' for '--port <PORT>'"),
        ("--port 99999", &[], "invalid value '99999' for '--port <PORT>'"),
        ("--prot 1", &[], "unexpected argument '--prot' found"),
        ("--user-failures maybe", &[], "invalid value 'maybe' for '--user-failures <WHAT>'"),
        (
            "--port 7000 --prometheus_port 7000",
            &[],
            "--prometheus-port: 7000 is the port of --port already",
        ),
        ("--host 192.0.2.1 --port 0", &[], "--host: `192.0.2.1` is not an address of this machine"),
        ("", &[("LOG_LEVEL", "loud")], "LOG_LEVEL: `loud` is none of"),
        ("", &[("LOG_FORMAT", "xml")], "LOG_FORMAT: `xml` is neither human nor json"),
        ("", &[("RUST_LOG", "a=b=c")], "RUST_LOG: is not a tracing filter"),
        (
            "",
            &[("SSL_CERT_FILE", "/nowhere/ca.pem")],
            "SSL_CERT_FILE: /nowhere/ca.pem cannot be read: No such file",
        ),
        ("serve", &[("FLYTE_DATABRICKS_INSTANCE", "user@host")], "FLYTE_DATABRICKS_INSTANCE: "),
        ("--workspaces /nowhere", &[], "--workspaces: /nowhere cannot be read: No such file"),
        (
            "",
            &[("FLYTE_DATABRICKS_WORKSPACES", "/nowhere")],
            "FLYTE_DATABRICKS_WORKSPACES: /nowhere cannot be read: No such file",
        ),
    ] {
        let (code, line) = refused(flags, variables);
        assert_eq!(code, 64, "{line}");
        assert!(line.starts_with(&format!("connector-server: {expected}")), "{line}");
    }
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let variables = [
        ("FLYTE_DATABRICKS_INSTANCE", ""),
        ("FLYTE_DATABRICKS_ACCESS_TOKEN", " "),
        ("FLYTE_DATABRICKS_ALLOWED_HOSTS", ""),
        ("SSL_CERT_FILE", ""),
        ("LOG_FORMAT", ""),
        ("LOG_LEVEL", ""),
        ("RUST_LOG", ""),
    ];
    let (code, text) = run(&format!("{FREE_PORTS_AND_JSON} --timeout 0"), &variables);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("none: each task names its own"), "{text}");
}

#[test]
fn a_taken_port_is_one_clear_line_and_exit_1() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let host = "--host 127.0.0.1";
    for (flags, flag) in [
        (format!("{host} --port {port} --prometheus-port 0"), "--port"),
        (format!("{host} --port 0 --prometheus-port {port}"), "--prometheus-port"),
        (format!("--port {port} --prometheus-port 0"), "--port"),
    ] {
        let (code, line) = refused(&flags, &[]);
        assert_eq!(code, 1, "{line}");
        let expected = format!(
            "port {port} is already in use: choose another with {flag}, or stop what listens there"
        );
        assert_eq!(line, format!("connector-server: {expected}"));
    }
}

#[test]
fn the_flags_of_c0_are_taken_and_timeout_ends_with_exit_0() {
    let flags =
        "--worker 10 --timeout 0 --prometheus_port 0 --port 0 --host localhost --modules m1 m2";
    let (code, text) = run(flags, &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("--worker --modules"), "{text}");
    let (code, text) =
        run("--modules m1 --modules m2 serve --port 0 --prometheus-port 0 --timeout 0", &[]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_start_says_where_it_listens_and_what_is_configured_without_the_token() {
    let variables = [
        ("FLYTE_DATABRICKS_INSTANCE", "https://adb-1.2.azuredatabricks.net/?o=1"),
        ("FLYTE_DATABRICKS_ACCESS_TOKEN", "dapi-canary"),
    ];
    let (code, text) = run(&format!("{FREE_PORTS_AND_JSON} --timeout 0"), &variables);
    assert_eq!(code, 0, "{text}");
    let line = text.lines().find(|line| line.contains("Databricks configured")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["workspace"], "adb-1.2.azuredatabricks.net");
    assert_eq!(line["credential"], "FLYTE_DATABRICKS_ACCESS_TOKEN");
    assert!(!text.contains("canary"), "{text}");
}

#[test]
fn log_level_quiets_the_log_and_log_format_shapes_it() {
    let quiet = [("LOG_LEVEL", "WARNING")];
    let flags = format!("{FREE_PORTS} --timeout 0 --plaintext");
    assert_eq!(run(&flags, &quiet), (0, String::new()));
    let (_, human) = run("--host 127.0.0.1 --port 0 --prometheus-port 0 --timeout 0", &[]);
    assert!(human.contains(" INFO ") && !human.contains('{'), "{human}");
}

#[test]
fn plaintext_that_nobody_chose_is_one_warning() {
    let quiet = [("LOG_LEVEL", "WARNING")];
    let (code, text) = run(&format!("{FREE_PORTS} --timeout 0"), &quiet);
    assert_eq!((code, text.lines().count()), (0, 1), "{text}");
    assert!(text.contains("plaintext") && text.contains("--tls-cert"), "{text}");
}

#[test]
fn a_signal_drains_and_ends_with_exit_0() {
    for signal in ["TERM", "INT"] {
        let mut serving = Serving::start("", &[]);
        serving.signal(signal);
        assert_eq!(serving.line("shutdown requested")["signal"], format!("SIG{signal}"));
        let (code, rest) = serving.end();
        assert_eq!(code, Some(0), "{rest}");
        assert!(rest.contains("stopped: all calls are complete"), "{rest}");
    }
}

#[test]
fn version_and_help_are_printed_with_exit_0() {
    let version = binary("--version", &[]).output().unwrap();
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(
        String::from_utf8(version.stdout).unwrap(),
        format!("connector-server {}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = binary("--help", &[]).output().unwrap();
    let help_text = String::from_utf8(help.stdout).unwrap();
    assert_eq!(help.status.code(), Some(0));
    for word in [
        "--port",
        "--prometheus-port",
        "prometheus_port",
        "--modules",
        "demo",
        "FLYTE_DATABRICKS_INSTANCE",
    ] {
        assert!(help_text.contains(word), "{word} is not in\n{help_text}");
    }
}

#[cfg(not(feature = "otel"))]
#[test]
fn traces_are_refused_at_the_start_by_a_program_that_was_built_without_them() {
    let (code, line) = refused("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")]);
    assert_eq!(code, 64);
    assert!(line.contains("--features otel"), "{line}");
}
