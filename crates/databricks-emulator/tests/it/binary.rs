//! The program.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_databricks-emulator");

fn temporary(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A started program, which does not outlive its test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(unix)]
#[tokio::test]
async fn it_tells_where_it_listens_and_stops_on_sigterm() {
    let certificate = temporary("emulator.pem");
    let script = temporary("scripts.json");
    std::fs::write(&script, r#"{"etl": {"outcome": "skipped", "steps": []}}"#).unwrap();
    let mut program = Command::new(PROGRAM);
    program
        .args(["--token", "t-1", "--certificate"])
        .arg(&certificate)
        .arg("--script")
        .arg(&script);
    let mut started = Started(program.stdout(Stdio::piped()).spawn().unwrap());
    let lines: Vec<String> = BufReader::new(started.0.stdout.take().unwrap())
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
    let answer = submit.json(&crate::client::named("etl")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let runs = client.get(format!("{}/emulator/v1/runs", word(0))).send().await.unwrap();
    assert_eq!(runs.json::<serde_json::Value>().await.unwrap()[0]["life_cycle"], "SKIPPED");
    drop(client);

    assert!(
        Command::new("kill")
            .args(["-TERM", &started.0.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    // Off this thread, which the client's connections need for their goodbye.
    let ended = tokio::task::spawn_blocking(move || started.0.wait().unwrap());
    assert_eq!(ended.await.unwrap().code(), Some(0));
}

#[cfg(unix)]
#[test]
fn it_runs_although_nobody_reads_what_it_says() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut program = Command::new(PROGRAM);
    program.env("RUST_LOG", "info").stdout(writer).stderr(Stdio::piped());
    let mut started = Started(program.spawn().unwrap());
    let mut said = String::new();
    BufReader::new(started.0.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("listening"), "{said}");
    let id = started.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(started.0.wait().unwrap().code(), Some(0));
}

#[test]
fn bad_settings_are_one_line_and_exit_64() {
    let script = temporary("bad.json");
    std::fs::write(&script, r#"{"etl": {"outcom": "success"}}"#).unwrap();
    let output = Command::new(PROGRAM).arg("--script").arg(&script).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("--script") && said.contains("outcom"), "{said}");
}

#[tokio::test]
async fn it_fails_calls_as_its_file_and_its_flags_say() {
    let plan = temporary("faults.json");
    let rule =
        r#"{"on": ["list_runs"], "times": 1, "fault": {"answer": {"status": 503, "body": {}}}}"#;
    std::fs::write(&plan, format!(r#"{{"rules": [{rule}]}}"#)).unwrap();
    let mut program = Command::new(PROGRAM);
    program.arg("--faults").arg(&plan).args(["--fault", &rule.replace("503", "504")]);
    let mut started = Started(program.stdout(Stdio::piped()).spawn().unwrap());
    let mut first = String::new();
    BufReader::new(started.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let client = crate::client::Client::at(first.split_whitespace().nth(1).unwrap());
    for expected in [503, 504, 200] {
        assert_eq!(client.get("/api/2.2/jobs/runs/list").await.0, expected);
    }
}

#[test]
fn a_fault_that_makes_no_sense_is_refused_with_its_place() {
    let plan = temporary("bad-faults.json");
    std::fs::write(&plan, r#"{"rules": [{"on": "calls", "script": [null, "drop"]}]}"#).unwrap();
    let output = Command::new(PROGRAM).arg("--faults").arg(&plan).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("rules[0].script[1]: unknown variant `drop`"), "{said}");
    let output = Command::new(PROGRAM).args(["--fault", r#"{"on": "all"}"#]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("the rule.on: "), "{said}");
}

#[cfg(unix)]
#[tokio::test]
async fn it_executes_with_the_python_and_the_variables_that_it_is_given() {
    use serde_json::{Value, json};

    let mut program = Command::new(PROGRAM);
    // A shell takes a file and its arguments too.
    program.args(["--step-ms", "1", "--exec-python", "/bin/sh", "--exec-env", "OF_EXEC=a=b"]);
    let mut started = Started(program.stdout(Stdio::piped()).spawn().unwrap());
    let mut first = String::new();
    // Held to the end: a program that nobody listens to cannot tell the rest.
    let mut output = BufReader::new(started.0.stdout.take().unwrap());
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
fn a_variable_without_a_name_or_a_python_is_refused() {
    for arguments in [&["--exec-python", "sh", "--exec-env", "=x"][..], &["--exec-env", "K=V"]] {
        let output = Command::new(PROGRAM).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("--exec-"), "{said}");
    }
}

#[test]
fn help_shows_how_to_use_it() {
    let help =
        String::from_utf8(Command::new(PROGRAM).arg("--help").output().unwrap().stdout).unwrap();
    for expected in ["--http-port", "--certificate", "curl", "/emulator/v1/scripts/"] {
        assert!(help.contains(expected), "{expected}");
    }
}
