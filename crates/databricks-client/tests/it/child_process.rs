//! Runs a test in a child process with its own environment.

use std::process::Command;

/// The server that the test calls. Set only in the child process.
const SERVER: &str = "DATABRICKS_CLIENT_TEST_SERVER";

/// Variables that the client reads. Removed unless the test sets them.
const READ: [&str; 10] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Returns the server to call. None in the parent process.
#[expect(clippy::disallowed_methods, reason = "passes the server to the child process")]
pub(crate) fn server() -> Option<String> {
    std::env::var(SERVER).ok()
}

/// Runs the test with this name in a child process with this environment.
#[track_caller]
pub(crate) fn run(test: &str, server: &str, environment: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(SERVER, server);
    for name in READ {
        command.env_remove(name);
    }
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{stdout}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
