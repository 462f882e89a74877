//! The `databricks-emulator` program.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_databricks-emulator");

fn temporary(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Kills the program at the end of the test.
struct RunningProgram(Child);

impl Drop for RunningProgram {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(unix)]
#[tokio::test]
async fn prints_its_addresses_and_stops_on_sigterm() {
    let certificate = temporary("emulator.pem");
    let script = temporary("scripts.json");
    std::fs::write(&script, r#"{"etl": {"outcome": "skipped", "steps": []}}"#).unwrap();
    let mut program = Command::new(PROGRAM);
    program
        .args(["--token", "t-1", "--certificate"])
        .arg(&certificate)
        .arg("--script")
        .arg(&script);
    let mut program = RunningProgram(program.stdout(Stdio::piped()).spawn().unwrap());
    let lines: Vec<String> = BufReader::new(program.0.stdout.take().unwrap())
        .lines()
        .take(4)
        .collect::<Result<_, _>>()
        .unwrap();
    let word = |line: usize| lines[line].split_whitespace().nth(1).unwrap();
    assert!(word(0).starts_with("http://127.0.0.1:"), "{lines:?}");
    assert!(!lines.concat().contains("t-1"), "{lines:?}");

    let root = reqwest::Certificate::from_pem(&std::fs::read(certificate).unwrap()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
    let submit = client.post(format!("{}/api/2.2/jobs/runs/submit", word(1))).bearer_auth("t-1");
    let response = submit.json(&crate::client::named("etl")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let runs = client.get(format!("{}/emulator/v1/runs", word(0))).send().await.unwrap();
    assert_eq!(runs.json::<serde_json::Value>().await.unwrap()[0]["life_cycle"], "SKIPPED");
    drop(client);

    assert!(
        Command::new("kill")
            .args(["-TERM", &program.0.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    // On another thread: the client's connections need this one to close.
    let exit = tokio::task::spawn_blocking(move || program.0.wait().unwrap());
    assert_eq!(exit.await.unwrap().code(), Some(0));
}

#[cfg(unix)]
#[test]
fn runs_with_a_closed_stdout() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut program = Command::new(PROGRAM);
    program.env("RUST_LOG", "info").stdout(writer).stderr(Stdio::piped());
    let mut program = RunningProgram(program.spawn().unwrap());
    let mut output = String::new();
    BufReader::new(program.0.stderr.take().unwrap()).read_line(&mut output).unwrap();
    assert!(output.contains("listening"), "{output}");
    let id = program.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(program.0.wait().unwrap().code(), Some(0));
}

#[test]
fn invalid_script_file_is_reported_in_one_line_with_exit_code_64() {
    let script = temporary("bad.json");
    std::fs::write(&script, r#"{"etl": {"outcom": "success"}}"#).unwrap();
    let output = Command::new(PROGRAM).arg("--script").arg(&script).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("--script") && stderr.contains("outcom"), "{stderr}");
}

#[tokio::test]
async fn fault_file_and_flags_inject_faults_in_order() {
    let plan = temporary("faults.json");
    let rule =
        r#"{"on": ["list_runs"], "times": 1, "fault": {"answer": {"status": 503, "body": {}}}}"#;
    std::fs::write(&plan, format!(r#"{{"rules": [{rule}]}}"#)).unwrap();
    let mut program = Command::new(PROGRAM);
    program.arg("--faults").arg(&plan).args(["--fault", &rule.replace("503", "504")]);
    let mut program = RunningProgram(program.stdout(Stdio::piped()).spawn().unwrap());
    let mut first = String::new();
    BufReader::new(program.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let client = crate::client::Client::at(first.split_whitespace().nth(1).unwrap());
    for expected in [503, 504, 200] {
        assert_eq!(client.get("/api/2.2/jobs/runs/list").await.0, expected);
    }
}

#[test]
fn invalid_fault_is_reported_with_its_place() {
    let plan = temporary("bad-faults.json");
    std::fs::write(&plan, r#"{"rules": [{"on": "calls", "script": [null, "drop"]}]}"#).unwrap();
    let output = Command::new(PROGRAM).arg("--faults").arg(&plan).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{stderr}");
    assert!(stderr.contains("rules[0].script[1]: unknown variant `drop`"), "{stderr}");
    let output = Command::new(PROGRAM).args(["--fault", r#"{"on": "all"}"#]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && stderr.contains("the rule.on: "), "{stderr}");
}

#[cfg(unix)]
#[tokio::test]
async fn executes_tasks_with_the_given_python_and_variables() {
    use serde_json::{Value, json};

    let mut program = Command::new(PROGRAM);
    // A shell instead of Python: it takes a file and its arguments too.
    program.args(["--step-ms", "1", "--exec-python", "/bin/sh", "--exec-env", "OF_EXEC=a=b"]);
    let mut program = RunningProgram(program.stdout(Stdio::piped()).spawn().unwrap());
    let mut first = String::new();
    // Kept open until the end, so that the program can print the other lines.
    let mut output = BufReader::new(program.0.stdout.take().unwrap());
    output.read_line(&mut first).unwrap();
    let url = first.split_whitespace().nth(1).unwrap();
    let client = crate::client::Client::at(url);

    let path = "/Users/someone@example.com/task.sh";
    // echo "[$OF_EXEC]"
    let import = json!({"path": path, "format": "AUTO", "content": "ZWNobyAiWyRPRl9FWEVDXSI="});
    assert_eq!(client.post("/api/2.0/workspace/import", &import).await.0, 200);
    let task = json!({"task_key": "main", "existing_cluster_id": "c",
                      "spark_python_task": {"python_file": path}});
    let run: Value = client.executed_run(client.submit(&json!({"tasks": [task]})).await).await;
    let task_output = client.output(run["tasks"][0]["run_id"].as_i64().unwrap()).await.1;
    assert_eq!(task_output["logs"], "[a=b]\n");
    drop(output);
}

#[test]
fn exec_env_needs_a_name_and_exec_python() {
    for arguments in [&["--exec-python", "sh", "--exec-env", "=x"][..], &["--exec-env", "K=V"]] {
        let output = Command::new(PROGRAM).args(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("--exec-"), "{stderr}");
    }
}

#[test]
fn help_shows_flags_and_examples() {
    let help =
        String::from_utf8(Command::new(PROGRAM).arg("--help").output().unwrap().stdout).unwrap();
    for expected in ["--http-port", "--certificate", "curl", "/emulator/v1/scripts/"] {
        assert!(help.contains(expected), "{expected}");
    }
}
