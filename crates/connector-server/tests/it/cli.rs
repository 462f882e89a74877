//! Command line, configuration errors, exit codes and the startup log of the binary.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::Output,
};

use flyteidl2::connector::GetTaskRequest;
use serde_json::Value;

use crate::{
    process::{FREE_PORTS, ServerProcess, command},
    workspace::task_category,
};

fn run(flags: &str, variables: &[(&str, &str)]) -> (i32, String) {
    let Output { status, stderr, .. } = command(flags, variables).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

/// Runs a start that fails. Returns the exit code and the only line of the log.
fn run_failing(flags: &str, variables: &[(&str, &str)]) -> (i32, String) {
    let (code, text) = run(flags, variables);
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    assert_eq!(lines.next(), None, "more than one line: {text}");
    (code, line)
}

/// Runs a server that stops after startup, with JSON logs. Returns the log.
fn startup_log(flags: &str, variables: &[(&str, &str)]) -> String {
    let (code, log) =
        run(&format!("{FREE_PORTS} --log-format json --timeout 0 {flags}"), variables);
    assert_eq!(code, 0, "{log}");
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_log_does_not_block_calls() {
    let emulator = databricks_emulator::Emulator::builder().token("dapi-1").start().await.unwrap();
    let process = ServerProcess::start(
        "",
        &[("FLYTE_DATABRICKS_ALLOWED_HOSTS", "127.0.0.1:*"), ("RUST_LOG", "trace")],
    );
    let mut tasks = process.tasks().await;
    let meta = format!(r#"{{"databricks_instance": "{}", "run_id": "7"}}"#, emulator.http_url());
    // Logs far more than a pipe holds.
    for _ in 0..300 {
        let request = GetTaskRequest {
            resource_meta: meta.clone().into_bytes(),
            task_category: Some(task_category()),
            ..GetTaskRequest::default()
        };
        tasks.get_task(request).await.unwrap();
    }
    process.signal("TERM");
    let (code, rest) = process.wait();
    assert_eq!(code, Some(0));
    assert!(rest.len() > 64 * 1024, "only {} bytes of log", rest.len());
}

#[test]
fn invalid_configuration_is_one_line_with_flag_or_variable_and_exit_code_64() {
    for (flags, variables, expected) in [
        ("--port many", &[][..], "invalid value 'many' for '--port <PORT>'"),
        ("--port 99999", &[], "invalid value '99999' for '--port <PORT>'"),
        ("--prot 1", &[], "unexpected argument '--prot' found"),
        ("--user-failures maybe", &[], "invalid value 'maybe' for '--user-failures <MODE>'"),
        (
            "--port 7000 --prometheus_port 7000",
            &[],
            "--prometheus-port: 7000 is also the value of --port",
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
        let (code, line) = run_failing(flags, variables);
        assert_eq!(code, 64, "{line}");
        assert!(line.starts_with(&format!("connector-server: {expected}")), "{line}");
    }
}

#[test]
fn empty_variable_counts_as_unset() {
    let variables = [
        ("FLYTE_DATABRICKS_INSTANCE", ""),
        ("FLYTE_DATABRICKS_ACCESS_TOKEN", " "),
        ("FLYTE_DATABRICKS_ALLOWED_HOSTS", ""),
        ("SSL_CERT_FILE", ""),
        ("LOG_FORMAT", ""),
        ("LOG_LEVEL", ""),
        ("RUST_LOG", ""),
    ];
    let log = startup_log("", &variables);
    assert!(log.contains("none: set by each task"), "{log}");
}

#[test]
fn port_in_use_is_one_line_and_exit_code_1() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let host = "--host 127.0.0.1";
    for (flags, flag) in [
        (format!("{host} --port {port} --prometheus-port 0"), "--port"),
        (format!("{host} --port 0 --prometheus-port {port}"), "--prometheus-port"),
        (format!("--port {port} --prometheus-port 0"), "--port"),
    ] {
        let (code, line) = run_failing(&flags, &[]);
        assert_eq!(code, 1, "{line}");
        let expected = format!(
            "port {port} is already in use: choose another with {flag}, or stop the process that listens there"
        );
        assert_eq!(line, format!("connector-server: {expected}"));
    }
}

#[test]
fn flags_of_c0_are_accepted_and_timeout_ends_with_exit_code_0() {
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
fn startup_log_shows_configuration_without_the_token() {
    let variables = [
        ("FLYTE_DATABRICKS_INSTANCE", "https://adb-1.2.azuredatabricks.net/?o=1"),
        ("FLYTE_DATABRICKS_ACCESS_TOKEN", "dapi-canary"),
    ];
    let log = startup_log("", &variables);
    let line = log.lines().find(|line| line.contains("Databricks configured")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["workspace"], "adb-1.2.azuredatabricks.net");
    assert_eq!(line["credential"], "FLYTE_DATABRICKS_ACCESS_TOKEN");
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn log_level_and_log_format_apply() {
    let quiet = [("LOG_LEVEL", "WARNING")];
    let flags = format!("{FREE_PORTS} --timeout 0 --plaintext");
    assert_eq!(run(&flags, &quiet), (0, String::new()));
    let (_, human) = run(&format!("{FREE_PORTS} --timeout 0"), &[]);
    assert!(human.contains(" INFO ") && !human.contains('{'), "{human}");
}

#[test]
fn unconfirmed_plaintext_is_one_warning() {
    let quiet = [("LOG_LEVEL", "WARNING")];
    let (code, text) = run(&format!("{FREE_PORTS} --timeout 0"), &quiet);
    assert_eq!((code, text.lines().count()), (0, 1), "{text}");
    assert!(text.contains("plaintext") && text.contains("--tls-cert"), "{text}");
}

#[test]
fn signal_ends_the_server_with_exit_code_0() {
    for signal in ["TERM", "INT"] {
        let mut process = ServerProcess::start("", &[]);
        process.signal(signal);
        let line = process.wait_for_line("shutdown requested");
        assert_eq!(line["signal"], format!("SIG{signal}"));
        let (code, rest) = process.wait();
        assert_eq!(code, Some(0), "{rest}");
        assert!(rest.contains("stopped: all calls are complete"), "{rest}");
    }
}

#[test]
fn version_and_help_are_printed_with_exit_code_0() {
    let version = command("--version", &[]).output().unwrap();
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(
        String::from_utf8(version.stdout).unwrap(),
        format!("connector-server {}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = command("--help", &[]).output().unwrap();
    let help_text = String::from_utf8(help.stdout).unwrap();
    assert_eq!(help.status.code(), Some(0));
    for word in
        ["--port", "--prometheus-port", "prometheus_port", "--modules", "FLYTE_DATABRICKS_INSTANCE"]
    {
        assert!(help_text.contains(word), "{word} is not in\n{help_text}");
    }
    assert_eq!(help_text.contains("demo"), cfg!(feature = "demo"), "{help_text}");
}

#[cfg(not(feature = "demo"))]
#[test]
fn demo_is_rejected_by_a_binary_without_demo() {
    let (code, line) = run_failing("demo", &[]);
    assert_eq!(code, 64);
    assert!(line.contains("unrecognized subcommand 'demo'"), "{line}");
}

#[cfg(not(feature = "otel"))]
#[test]
fn traces_are_rejected_by_a_binary_without_otel() {
    let (code, line) = run_failing("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")]);
    assert_eq!(code, 64);
    assert!(line.contains("--features otel"), "{line}");
}
