//! Executed tasks, with a shell instead of Python: both take a file and its arguments.

use crate::client::{Client, TEST_TIMEOUT, emulator};
use databricks_emulator::{Emulator, EmulatorBuilder, ExecConfig, LifeCycle, Pace, Script, Step};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const FILE: &str = "/Workspace/Users/someone@example.com/task.sh";

fn shell() -> ExecConfig {
    ExecConfig::new("/bin/sh")
}

async fn with_file(builder: EmulatorBuilder, content: &str) -> (Emulator, Client) {
    let emulator = builder.start().await.unwrap();
    emulator.put_workspace_file(FILE, content);
    let client = Client::of(&emulator);
    (emulator, client)
}

async fn executing(content: &str) -> (Emulator, Client) {
    with_file(Emulator::builder().exec(shell()), content).await
}

fn body(parameters: &Value) -> Value {
    json!({"run_name": "etl", "tasks": [{
        "task_key": "main",
        "new_cluster": {"num_workers": 1, "spark_env_vars": {"OF_CLUSTER": "c", "OF_BOTH": "cluster"}},
        "spark_python_task": {"python_file": FILE, "parameters": parameters}}]})
}

/// Executes a run, and returns it and the output of its task.
async fn outcome(client: &Client, body: &Value) -> (Value, Value) {
    let run = client.executed_run(client.submit(body).await).await;
    let (status, output) = client.output(run["tasks"][0]["run_id"].as_i64().unwrap()).await;
    assert_eq!(status, 200);
    (run, output)
}

/// A named pipe. Opening it blocks until the other end is opened; reading ends when all writers have closed it.
struct Pipe {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Pipe {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self { path, _folder: folder }
    }

    fn parameters(&self) -> Value {
        json!([self.path.to_str().unwrap()])
    }

    /// Runs a blocking operation on another thread.
    async fn off_thread<T: Send + 'static>(&self, work: fn(&Path) -> T) -> T {
        let path = self.path.clone();
        let done = tokio::task::spawn_blocking(move || work(&path));
        tokio::time::timeout(TEST_TIMEOUT, done)
            .await
            .expect("timed out: the other end of the pipe is not opened")
            .unwrap()
    }

    async fn opened(&self) -> File {
        self.off_thread(|path| File::open(path).unwrap()).await
    }
}

/// Waits until all processes have closed the other end.
async fn wait_until_closed(mut pipe: File) {
    let read = move || pipe.read_to_end(&mut Vec::new()).unwrap();
    let done = tokio::task::spawn_blocking(read);
    tokio::time::timeout(TEST_TIMEOUT, done)
        .await
        .expect("timed out: a process still holds the pipe open")
        .unwrap();
}

/// Holds the pipe open, in the shell and in a child, until both are killed.
const HOLDS_PIPE: &str = "exec 3>\"$1\"\nsleep 600 &\nwait\n";

#[tokio::test]
async fn file_gets_its_parameters_and_the_variables_of_its_cluster() {
    let mut config = shell();
    for (name, value) in [("OF_EXEC", "e"), ("OF_BOTH", "exec")] {
        config.environment.insert(name.to_owned(), value.to_owned());
    }
    // Cargo sets CARGO_MANIFEST_DIR for tests. A task must not inherit it.
    let script = r#"echo "$1|$2|$OF_EXEC|$OF_CLUSTER|$OF_BOTH|${CARGO_MANIFEST_DIR-none}|${PATH:+path}"
        echo to-stderr >&2"#;
    let (_emulator, client) = with_file(Emulator::builder().exec(config), script).await;
    let (run, output) = outcome(&client, &body(&json!(["a", "b c"]))).await;
    assert_eq!(run["state"]["result_state"], "SUCCESS", "{output}");
    assert_eq!(output["logs_truncated"], false);
    assert_eq!(output.get("error"), None);
    let mut lines: Vec<_> = output["logs"].as_str().unwrap().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["a|b c|e|c|cluster|none|path", "to-stderr"]);
}

#[tokio::test]
async fn existing_cluster_sets_no_variables() {
    let (_emulator, client) = executing(r#"echo "[$OF_CLUSTER]""#).await;
    let mut body = body(&json!([]));
    let task = body["tasks"][0].as_object_mut().unwrap();
    task.remove("new_cluster");
    task.insert("existing_cluster_id".to_owned(), json!("c-1"));
    assert_eq!(outcome(&client, &body).await.1["logs"], "[]\n");
}

#[tokio::test]
async fn failed_file_is_failed_user_code_with_the_last_line_of_stderr() {
    let (_emulator, client) =
        executing("echo out; echo 'Traceback:' >&2; echo 'ValueError: boom' >&2; echo >&2; exit 1")
            .await;
    let (run, output) = outcome(&client, &body(&json!([]))).await;
    assert_eq!(run["state"]["life_cycle_state"], "INTERNAL_ERROR");
    assert_eq!(run["state"]["result_state"], "FAILED");
    assert_eq!(run["status"]["termination_details"]["code"], "RUN_EXECUTION_ERROR");
    assert_eq!(output["error"], "ValueError: boom");
    assert_eq!(output["error_trace"], "Traceback:\nValueError: boom\n\n");
    assert!(output["logs"].as_str().unwrap().contains("out\n"), "{output}");
}

#[tokio::test]
async fn error_is_the_exit_status_without_stderr_and_after_a_signal() {
    for (script, expected) in [
        ("exit 3", "exit status: 3"),
        ("kill -9 $$", "signal: 9"),
        ("echo 'as ever' >&2; kill -9 $$", "signal: 9"),
    ] {
        let (_emulator, client) = executing(script).await;
        let error = outcome(&client, &body(&json!([]))).await.1["error"].clone();
        assert!(error.as_str().unwrap().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn run_is_running_as_long_as_its_process() {
    let (_emulator, client) = executing("read line < \"$1\"; echo \"got $line\"").await;
    let pipe = Pipe::new();
    let run_id = client.submit(&body(&pipe.parameters())).await;
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(
            client.run(run_id).await["state"]["life_cycle_state"].as_str().unwrap().to_owned(),
        );
    }
    assert_eq!(seen, ["QUEUED", "PENDING", "RUNNING", "RUNNING", "RUNNING", "RUNNING"]);
    pipe.off_thread(|path| {
        File::options().write(true).open(path).unwrap().write_all(b"word\n").unwrap();
    })
    .await;
    let run = client.executed_run(run_id).await;
    let output = client.output(run["tasks"][0]["run_id"].as_i64().unwrap()).await.1;
    assert_eq!(output["logs"], "got word\n");
}

#[tokio::test]
async fn cancel_kills_the_process_and_its_children() {
    let (emulator, client) = executing(HOLDS_PIPE).await;
    let pipe = Pipe::new();
    let run_id = client.submit(&body(&pipe.parameters())).await;
    for _ in 0..2 {
        emulator.advance(run_id);
    }
    let held = pipe.opened().await;
    assert_eq!(client.cancel(run_id).await.0, 200);
    wait_until_closed(held).await;
    let run = client.executed_run(run_id).await;
    assert_eq!(run["state"]["result_state"], "CANCELED");
}

#[tokio::test]
async fn timeout_kills_the_process_and_its_children() {
    let (emulator, client) = executing(HOLDS_PIPE).await;
    let pipe = Pipe::new();
    let mut body = body(&pipe.parameters());
    body["timeout_seconds"] = json!(1);
    let run_id = client.submit(&body).await;
    emulator.advance(run_id);
    emulator.advance(run_id);
    wait_until_closed(pipe.opened().await).await;
    let run = client.executed_run(run_id).await;
    assert_eq!(run["state"]["result_state"], "TIMEDOUT");
    assert_eq!(run["status"]["termination_details"]["code"], "CANCELED");
}

#[tokio::test]
async fn children_are_killed_when_the_process_exits() {
    // The shell exits; its child holds the output and the pipe open.
    let (emulator, client) = executing("exec 3>\"$1\"\nsleep 600 &\necho done").await;
    let pipe = Pipe::new();
    let run_id = client.submit(&body(&pipe.parameters())).await;
    emulator.advance(run_id);
    emulator.advance(run_id);
    wait_until_closed(pipe.opened().await).await;
    let run = client.executed_run(run_id).await;
    assert_eq!(run["state"]["result_state"], "SUCCESS");
}

#[tokio::test]
async fn run_cancelled_before_running_starts_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("started");
    let (emulator, client) = executing("touch \"$1\"").await;
    let run_id = client.submit(&body(&json!([mark.to_str().unwrap()]))).await;
    client.cancel(run_id).await;
    client.executed_run(run_id).await;
    // Shutdown waits for pending executions.
    emulator.shutdown().await;
    assert!(!mark.exists());
}

#[tokio::test]
async fn shutdown_drop_and_delete_kill_the_process() {
    for action in ["shutdown", "drop", "delete"] {
        let (emulator, client) = executing(HOLDS_PIPE).await;
        let pipe = Pipe::new();
        let run_id = client.submit(&body(&pipe.parameters())).await;
        emulator.advance(run_id);
        emulator.advance(run_id);
        let held = pipe.opened().await;
        let kept = match action {
            "shutdown" => {
                emulator.shutdown().await;
                None
            }
            "drop" => {
                drop(emulator);
                None
            }
            _ => {
                assert!(emulator.delete_run(run_id));
                Some(emulator)
            }
        };
        wait_until_closed(held).await;
        drop(kept);
    }
}

#[tokio::test]
async fn process_starts_by_elapsed_time_without_polls() {
    let script = Script::success()
        .with_steps([Step::new(LifeCycle::Queued), Step::new(LifeCycle::Running)])
        .with_pace(Pace::Elapsed(Duration::from_millis(1)));
    let builder = Emulator::builder().default_script(script).exec(shell());
    let (_emulator, client) = with_file(builder, "echo x > \"$1\"").await;
    let pipe = Pipe::new();
    let run_id = client.submit(&body(&pipe.parameters())).await;
    wait_until_closed(pipe.opened().await).await;
    assert_eq!(client.executed_run(run_id).await["state"]["result_state"], "SUCCESS");
}

#[tokio::test]
async fn long_output_is_truncated_to_its_end() {
    let script = "head -c 6000000 /dev/zero | tr '\\0' x; echo the end";
    let (_emulator, client) = executing(script).await;
    let (_, output) = outcome(&client, &body(&json!([]))).await;
    let logs = output["logs"].as_str().unwrap();
    assert_eq!((logs.len(), &output["logs_truncated"]), (5 * 1024 * 1024, &json!(true)));
    assert!(logs.ends_with("xthe end\n"));
}

#[tokio::test]
async fn run_that_cannot_be_executed_fails_with_the_reason() {
    let (_emulator, client) = executing("exit 0").await;
    let mut missing = body(&json!([]));
    missing["tasks"][0]["spark_python_task"]["python_file"] = json!("/Shared/other.py");
    let mut elsewhere = missing.clone();
    elsewhere["tasks"][0]["spark_python_task"]["python_file"] = json!("dbfs:/etl.py");
    for (body, expected) in
        [(missing, "the workspace has no file /Shared/other.py"), (elsewhere, "'dbfs:/etl.py'")]
    {
        let (run, output) = outcome(&client, &body).await;
        assert_eq!(run["state"]["result_state"], "FAILED");
        assert!(output["error"].as_str().unwrap().contains(expected), "{output}");
    }

    let builder = Emulator::builder().exec(ExecConfig::new("/nowhere/python"));
    let (_emulator, client) = with_file(builder, "").await;
    let error = outcome(&client, &body(&json!([]))).await.1["error"].clone();
    assert!(error.as_str().unwrap().contains("/nowhere/python"), "{error}");
}

#[tokio::test]
async fn scripted_run_is_not_executed() {
    let (emulator, client) = executing("exit 1").await;
    emulator.set_script("etl", Script::success().with_logs("scripted\n"));
    let (run, output) = outcome(&client, &body(&json!([]))).await;
    assert_eq!(
        (&run["state"]["result_state"], &output["logs"]),
        (&json!("SUCCESS"), &json!("scripted\n"))
    );
}

#[tokio::test]
async fn runs_are_not_executed_by_default() {
    let emulator = emulator().await;
    emulator.put_workspace_file(FILE, "exit 1");
    let run = Client::of(&emulator)
        .ended_run(Client::of(&emulator).submit(&body(&json!([]))).await)
        .await;
    assert_eq!(run["state"]["result_state"], "SUCCESS");
}

#[test]
fn debug_output_omits_values_of_variables() {
    let mut config = shell();
    config.environment.insert("TOKEN".to_owned(), "canary".to_owned());
    let shown = format!("{:?}", Emulator::builder().exec(config));
    assert!(shown.contains("TOKEN") && !shown.contains("canary"), "{shown}");
}

/// Creates environments and installs packages like Python, and executes a file with the shell.
const PYTHON: &str = r#"#!/bin/sh
case "$1 $2" in
"-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip")
    case "$*" in *no-such-package*) echo "ERROR: No matching distribution" >&2; exit 1 ;; esac
    echo "$@" > "$0.installed" ;;
*) ENVIRONMENT=$0 exec /bin/sh "$@" ;;
esac
"#;

#[tokio::test]
async fn serverless_task_runs_in_a_new_environment_with_its_dependencies() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let python = folder.path().join("python");
    std::fs::write(&python, PYTHON).unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = ExecConfig { serverless_environments: true, ..ExecConfig::new(&python) };
    let script = "cat \"$ENVIRONMENT.installed\" || echo none";
    let (_emulator, client) = with_file(Emulator::builder().exec(config), script).await;
    let body = |dependencies: Value| {
        json!({"run_name": "etl",
            "environments": [{"environment_key": "mine", "spec": {"environment_version": "2", "dependencies": dependencies}}],
            "tasks": [{"task_key": "main", "environment_key": "mine", "spark_python_task": {"python_file": FILE}}]})
    };
    let (_, output) = outcome(&client, &body(json!(["a==1", "b"]))).await;
    let logs = output["logs"].as_str().unwrap();
    assert!(logs.trim_end().ends_with(" a==1 b"), "{logs}");

    let (_, output) = outcome(&client, &body(json!(["no-such-package"]))).await;
    let error = output["error"].as_str().unwrap();
    assert!(error.contains("cannot be installed: ERROR: No matching"), "{error}");

    // Other compute has the packages of the configured Python.
    let on_a_cluster = json!({"run_name": "etl", "tasks": [{"task_key": "main", "existing_cluster_id": "c",
        "spark_python_task": {"python_file": FILE}}]});
    let (_, output) = outcome(&client, &on_a_cluster).await;
    assert!(output["logs"].as_str().unwrap().contains("none"), "{output}");
}
