//! The `check` subcommand, run as a process.

use std::{path::Path, process::Command};

use databricks_emulator::Emulator;

/// Returns standard output, standard error and exit code. No other environment variable is set.
fn check(file: Option<&Path>, variables: &[(&str, &str)]) -> (String, String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connector-server"));
    command.arg("check").env_clear().envs(variables.iter().copied());
    if let Some(file) = file {
        command.arg("--workspaces").arg(file);
    }
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_file_and_environment_are_verified() {
    let emulator =
        Emulator::builder().service_principal("principal", "canary-secret").start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("workspaces.toml");
    let host = emulator.http_url();
    let text = format!(
        "[workspace.prod]\nhost = \"{host}\"\n\
         auth = {{ type = \"oauth-m2m\", client_id = \"principal\", client_secret_env = \"SECRET\" }}\n"
    );
    std::fs::write(&file, text).unwrap();
    let variables = [
        ("SECRET", "canary-secret"),
        ("DATABRICKS_HOST", host.as_str()),
        ("DATABRICKS_TOKEN", "dapi-canary"),
    ];
    let (table, line, code) = check(Some(&file), &variables);
    assert_eq!(code, 1, "{table}{line}");
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1], ["prod", &host, "oauth-m2m", "someone@example.com", "yes"]);
    assert_eq!(rows[2], ["environment", &host, "pat", "rejected", "unknown"]);
    assert!(table.contains("Invalid access token; check that the token is valid"), "{table}");
    assert!(!format!("{table}{line}").contains("canary"), "{table}{line}");
    assert!(line.contains("credentials cannot be used"), "{line}");

    let (_, _, code) = check(Some(&file), &variables[..1]);
    assert_eq!(code, 0);
    assert!(emulator.runs().is_empty());
}

#[test]
fn unknown_variable_is_reported() {
    let (_, line, code) = check(None, &[("FLYTE_DATABRICKS_INSTANCES", "a.cloud.databricks.com")]);
    assert_eq!(code, 0);
    assert!(line.contains("FLYTE_DATABRICKS_INSTANCES") && line.contains("--help"), "{line}");
}

#[test]
fn configuration_without_credentials_is_valid() {
    let (table, _, code) = check(None, &[]);
    assert_eq!(code, 0);
    assert!(table.contains("each task needs its own"), "{table}");
}

#[test]
fn token_without_host_and_invalid_file_are_reported_in_one_line() {
    let (_, line, code) = check(None, &[("FLYTE_DATABRICKS_ACCESS_TOKEN", "dapi-canary")]);
    assert_eq!((code, line.lines().count()), (64, 1), "{line}");
    assert!(line.contains("FLYTE_DATABRICKS_ACCESS_TOKEN_HOSTS"), "{line}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("workspaces.toml");
    std::fs::write(&file, "[workspace.x]\nhost = \"h\"\ntoken = \"dapi-canary\"\n").unwrap();
    let (_, line, code) = check(Some(&file), &[]);
    assert_eq!((code, line.lines().count()), (64, 1), "{line}");
    assert!(line.contains("line 3: unknown field `token`") && !line.contains("canary"), "{line}");
}
