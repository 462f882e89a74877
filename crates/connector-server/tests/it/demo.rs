//! The `demo` subcommand, run as a process.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Output, Stdio},
    sync::LazyLock,
};

use serde_json::Value;

/// The phases before the last one, in order.
const PHASES: [&str; 3] = ["WAITING_FOR_RESOURCES", "INITIALIZING", "RUNNING"];

/// The output of one run with `--json`, shared by the tests.
static JSON: LazyLock<Output> = LazyLock::new(|| demo(&["--json"]).output().unwrap());

fn demo(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connector-server"));
    command.arg("demo").args(flags);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn json_lines() -> Vec<Value> {
    let text = std::str::from_utf8(&JSON.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn events<'a>(lines: &'a [Value], task: &str, call: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["task"] == task && line["call"] == call).collect()
}

#[test]
fn demo_succeeds_and_prints_no_token() {
    let stdout = std::str::from_utf8(&JSON.stdout).unwrap();
    let stderr = std::str::from_utf8(&JSON.stderr).unwrap();
    assert_eq!((JSON.status.code(), stderr), (Some(0), ""), "{stdout}");
    assert!(!stdout.contains("dapi"), "{stdout}");
    let lines = json_lines();
    let summary = lines.last().unwrap();
    assert_eq!(summary["as_expected"], true, "{summary}");
    assert_eq!(summary["summary"].as_array().unwrap().len(), 3, "{summary}");
}

#[test]
fn each_task_passes_its_phases_in_order() {
    let final_phases =
        [("succeeds", "SUCCEEDED"), ("fails", "RETRYABLE_FAILED"), ("is cancelled", "FAILED")];
    let lines = json_lines();
    for (task, final_phase) in final_phases {
        let polls = events(&lines, task, "GetTask");
        let mut phases: Vec<_> = polls.iter().map(|line| line["phase"].as_str().unwrap()).collect();
        phases.dedup();
        let (last, before) = phases.split_last().unwrap();
        assert_eq!(*last, final_phase, "{task}");
        // A slow machine may skip a phase; no phase repeats or comes out of order.
        let mut expected = PHASES.iter();
        assert!(
            before.iter().all(|phase| expected.any(|next| next == phase)),
            "{task}: {before:?}"
        );
        assert_eq!(polls[0]["links"][0]["name"], "Databricks Console", "{task}");
        assert_eq!(events(&lines, task, "DeleteTask").len(), 1, "{task}");
    }
}

#[test]
fn submission_is_printed() {
    let lines = json_lines();
    for (task, compute) in [
        ("succeeds", "a new cluster (m6i.large, 1 worker, 16.4.x-scala2.12)"),
        ("fails", "a new cluster (m6i.large, 2 workers, 13.3.x-scala2.12)"),
        ("is cancelled", "the existing cluster 1113-204018-tb9vr2fm"),
    ] {
        let [created] = events(&lines, task, "CreateTask")[..] else { panic!("{task}") };
        let submitted = &created["submitted"];
        assert_eq!(submitted["task_type"], "spark_python_task", "{task}");
        assert_eq!(submitted["compute"], compute, "{task}");
        assert_eq!(submitted["idempotency_token_prefix"].as_str().unwrap().len(), 8, "{task}");
    }
}

#[test]
fn log_lines_and_failure_reason_are_printed() {
    let lines = json_lines();
    let log = &events(&lines, "succeeds", "GetTaskLogs")[0]["lines"];
    assert!(log.as_array().unwrap().iter().any(|line| line == "sum of squares: 385"), "{log}");
    let polls = events(&lines, "fails", "GetTask");
    let reason = polls.last().unwrap()["message"].as_str().unwrap();
    assert!(
        reason.starts_with("ValueError: ") && reason.contains("line 9, in estimate"),
        "{reason}"
    );
    assert!(
        !reason.contains("outputs.pb"),
        "no outputs are expected of a failed function: {reason}"
    );
}

#[test]
fn delete_cancels_running_task() {
    let lines = json_lines();
    let cancelled: Vec<_> = lines.iter().filter(|line| line["task"] == "is cancelled").collect();
    let at = cancelled.iter().position(|line| line["call"] == "DeleteTask").unwrap();
    assert_eq!(cancelled[at - 1]["phase"], "RUNNING");
    let last = *events(&lines, "is cancelled", "GetTask").last().unwrap();
    assert!(last["message"].as_str().unwrap().to_lowercase().contains("cancel"), "{last}");
}

#[test]
fn piped_output_is_plain_text_with_a_summary() {
    let output = demo(&[]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains(['\u{1b}', '\r']) && !text.contains("dapi"), "{text}");
    for part in ["1 of 3", "2 of 3", "3 of 3", "Databricks Console:", "FINAL PHASE"] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
}

#[cfg(unix)]
#[test]
fn interrupt_stops_demo_with_one_error_line() {
    let mut child = demo(&["--json"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(!rest.contains("as_expected"), "{rest}");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, "connector-server: the demo was interrupted by SIGINT\n");
}
