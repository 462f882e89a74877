//! A test in a process of its own, because the environment is the process's.

use std::process::Command;

/// Names the server that the test is to call; set in the test's own process alone.
const SERVER: &str = "DATABRICKS_CLIENT_TEST_SERVER";

/// What else the client reads, set to nothing unless the test sets it.
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

/// The server to call, in the process that [`run`] starts.
#[expect(clippy::disallowed_methods, reason = "this is how the two processes find each other")]
pub(crate) fn server() -> Option<String> {
    std::env::var(SERVER).ok()
}

/// Runs the test of this name again, in a process that [`server`] tells apart and with this environment.
#[track_caller]
pub(crate) fn run(test: &str, server: &str, environment: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(SERVER, server);
    for name in READ {
        command.env_remove(name);
    }
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
