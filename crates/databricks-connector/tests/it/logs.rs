//! The log of a run: content, order, and page boundaries.

use std::{fmt::Write as _, sync::Arc, thread, time::Duration};

use connector_core::{Connector, ErrorKind, LogLine, LogPage, LogsRequest, Originator};
use databricks_connector::{Config, LogOptions, RunMeta};
use databricks_emulator::{
    Calls, CannedResponse, Emulator, Endpoint, Fault, FaultRule, LifeCycle, LogDelivery, Outcome,
    Pace, Probability, Script, Step, TaskScript, When,
};
use flyteidl2::connector::TaskExecutionMetadata;
use serde_json::{Value, json};

use crate::harness::{Harness, call};

/// Reads the log of a run page by page.
pub(crate) struct LogReader {
    pub(crate) run: RunMeta,
    pub(crate) token: String,
}

impl LogReader {
    pub(crate) fn new(run: RunMeta) -> Self {
        Self { run, token: String::new() }
    }

    /// Reads the next page. Returns its lines and whether there is another.
    pub(crate) async fn page(&mut self, harness: &Harness, lines: u64) -> (Vec<LogLine>, bool) {
        let request = LogsRequest::new(lines, self.token.clone());
        let LogPage { lines, next_token } =
            harness.connector.get_logs(call(), self.run.clone(), request).await.unwrap();
        self.token = next_token.clone().unwrap_or_default();
        (lines, next_token.is_some())
    }

    /// Reads all pages to the last.
    pub(crate) async fn rest(&mut self, harness: &Harness, lines: u64) -> Vec<LogLine> {
        let mut all = Vec::new();
        for _ in 0..1_000 {
            let (lines, more) = self.page(harness, lines).await;
            all.extend(lines);
            if !more {
                return all;
            }
        }
        panic!("the log does not end: {:?}", texts(&all));
    }
}

/// Starts a harness that returns empty pages without delay.
pub(crate) async fn start() -> Harness {
    Harness::with(|config| Config {
        logs: LogOptions { empty_page_delay: Duration::ZERO, ..LogOptions::default() },
        ..config
    })
    .await
}

pub(crate) fn texts(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|line| line.message.as_str()).collect()
}

/// Returns the lines of the user's program.
pub(crate) fn users(lines: &[LogLine]) -> Vec<&str> {
    lines
        .iter()
        .filter(|line| line.originator == Originator::User)
        .map(|line| line.message.as_str())
        .collect()
}

pub(crate) fn systems(lines: &[LogLine]) -> Vec<&str> {
    lines
        .iter()
        .filter(|line| line.originator == Originator::System)
        .map(|line| line.message.as_str())
        .collect()
}

/// Starts a run on a job cluster with this log destination; it stays RUNNING until the test advances it. Returns its meta,
/// its id and the folder of its driver.
pub(crate) async fn delivering(
    harness: &Harness,
    script: Script,
    conf: Value,
) -> (RunMeta, i64, String) {
    harness.emulator.set_script("scripted", script.with_pace(Pace::Manual));
    let cluster = json!({"spark_version": "15.4.x-scala2.12", "node_type_id": "m", "num_workers": 1, "cluster_log_conf": conf});
    let conf = json!({"run_name": "scripted", "new_cluster": cluster});
    let run =
        harness.connector.create(harness.request("40_executor_first_attempt", conf)).await.unwrap();
    let run_id = harness.emulator.runs()[0].run_id;
    harness.emulator.advance(run_id);
    harness.emulator.advance(run_id);
    let task =
        harness.emulator.submissions()[0]["tasks"][0]["task_key"].as_str().unwrap().to_owned();
    let folder = harness.emulator.log_folder(run_id, &task).unwrap();
    (run, run_id, folder)
}

fn script() -> Script {
    Script::failed("ValueError", "trace").with_logs("one\ntwo\n")
}

#[tokio::test]
async fn log_has_events_then_output_then_the_error() {
    let harness = start().await;
    let run = harness.started(script().with_pace(Pace::Manual)).await;
    let run_id = harness.emulator.runs()[0].run_id;
    let mut reader = LogReader::new(run.clone());
    let mut all = Vec::new();
    for _ in 0..100 {
        let (lines, more) = reader.page(&harness, 0).await;
        all.extend(lines);
        if !more {
            break;
        }
        harness.emulator.advance(run_id);
    }
    assert_eq!(users(&all), ["one\n", "two\n", "ValueError\n", "trace\n"]);
    let events = systems(&all);
    assert!(events[0].starts_with(&format!("run {run_id} was submitted")), "{events:?}");
    assert!(events[1].starts_with("waiting"), "{events:?}");
    assert!(events.iter().any(|line| line.starts_with("running on cluster")), "{events:?}");
    assert!(events.iter().any(|line| line.contains(": CREATING")), "{events:?}");
    assert!(events.last().unwrap().starts_with(&format!("run {run_id} ended: ")), "{events:?}");
    assert!(
        all.iter()
            .filter(|line| line.originator == Originator::System)
            .all(|line| line.timestamp.is_some())
    );
    // The page size does not change the lines.
    let whole = LogReader::new(run.clone()).rest(&harness, 0).await;
    assert_eq!(users(&whole), users(&all));
    assert_eq!(LogReader::new(run).rest(&harness, 1).await, whole);
}

#[tokio::test]
async fn first_page_has_events_before_any_output_and_later_pages_may_be_empty() {
    let harness = start().await;
    let run = harness.started(script().with_pace(Pace::Manual)).await;
    let mut reader = LogReader::new(run);
    let (first, more) = reader.page(&harness, 0).await;
    assert!(!first.is_empty() && users(&first).is_empty() && more);
    let (second, more) = reader.page(&harness, 0).await;
    assert!(second.is_empty() && more);
}

#[tokio::test]
async fn lines_are_prefixed_with_the_task_key_and_errors_come_last() {
    let harness = start().await;
    let task = |key: &str, after: &[&str]| {
        let after: Vec<Value> = after.iter().map(|key| json!({"task_key": key})).collect();
        json!({"task_key": key, "depends_on": after, "existing_cluster_id": "c-1",
            "spark_python_task": {"python_file": "dbfs:/x.py"}})
    };
    let logs = |logs: &str, outcome| TaskScript {
        logs: Some(logs.to_owned()),
        outcome,
        ..TaskScript::default()
    };
    let failed = Outcome::Failed { error: "no".to_owned(), error_trace: String::new() };
    let tasks = [("a", logs("a1\na2\n", Some(failed))), ("b", logs("b1", None))];
    let script = Script {
        tasks: tasks.map(|(key, script)| (key.to_owned(), script)).into(),
        pace: Pace::PerPoll(1),
        ..Script::default()
    };
    harness.emulator.set_script("dag", script);
    let conf =
        json!({"run_name": "dag", "new_cluster": null, "tasks": [task("a", &[]), task("b", &[])]});
    let run = harness.connector.create(harness.request("40_executor_first_attempt", conf)).await;
    let run = run.unwrap();
    harness.end_of(&run).await;
    let expected = ["a: a1\n", "a: a2\n", "b: b1\n", "a: no\n"];
    assert_eq!(users(&LogReader::new(run.clone()).rest(&harness, 0).await), expected);
    assert_eq!(users(&LogReader::new(run).rest(&harness, 2).await), expected);
}

#[tokio::test]
async fn log_of_many_tasks_is_complete_for_every_page_size() {
    let harness = start().await;
    let key = |n: usize| format!("t{n:02}");
    let task = |n: usize| json!({"task_key": key(n), "existing_cluster_id": "c-1", "spark_python_task": {"python_file": "dbfs:/x.py"}});
    let logs = |n: usize| TaskScript {
        logs: Some(format!("{n}\n").repeat(n % 5)),
        ..TaskScript::default()
    };
    let script = Script {
        tasks: (0..70).map(|n| (key(n), logs(n))).collect(),
        pace: Pace::Manual,
        ..Script::default()
    };
    harness.emulator.set_script("many", script);
    let conf = json!({"run_name": "many", "new_cluster": null, "tasks": (0..70).map(task).collect::<Vec<_>>()});
    let request = harness.request("40_executor_first_attempt", conf);
    let run = harness.connector.create(request).await.unwrap();
    let run_id = harness.emulator.runs()[0].run_id;
    let expected: Vec<String> =
        (0..70).flat_map(|n| vec![format!("{}: {n}\n", key(n)); n % 5]).collect();
    let mut reader = LogReader::new(run.clone());
    let mut early = Vec::new();
    for _ in 0..3 {
        early.extend(reader.page(&harness, 50).await.0);
        harness.emulator.advance(run_id);
    }
    early.extend(reader.rest(&harness, 50).await);
    // Active tasks take turns; after the end they come in order.
    let mut lines = users(&early);
    lines.sort_by_key(|line| line.split(':').next().map(str::to_owned));
    assert_eq!(lines, expected);
    assert_eq!(users(&LogReader::new(run).rest(&harness, 3).await), expected);
}

/// The `runs/get` response for a run with two attempts of its task.
fn attempts(run_id: i64, second: &str) -> CannedResponse {
    let first = json!({"task_key": "t", "run_id": 11, "attempt_number": 0, "end_time": 5,
        "status": {"state": "TERMINATED", "termination_details": {"code": "RUN_EXECUTION_ERROR"}}});
    let code = json!({"code": "SUCCESS"});
    let second = json!({"task_key": "t", "run_id": 12, "attempt_number": 1,
        "status": {"state": second, "termination_details": if second == "TERMINATED" { code } else { json!(null) }}});
    let state = second["status"].clone();
    let run = json!({"run_id": run_id, "status": state, "tasks": [first, second]});
    CannedResponse::json(200, run.to_string())
}

fn output(value: &Value) -> CannedResponse {
    CannedResponse::json(200, value.to_string())
}

#[tokio::test]
async fn log_continues_across_attempts_without_loss_or_repetition() {
    let harness = start().await;
    let run = harness.started(script().with_pace(Pace::Manual)).await;
    let run_id = harness.emulator.runs()[0].run_id;
    let answer = |endpoint, answer| harness.emulator.answer_next(endpoint, answer, 1);
    let mut reader = LogReader::new(run);
    // The second attempt has written a line and a half.
    answer(Endpoint::GetRun, attempts(run_id, "RUNNING"));
    let first = json!({"logs": "a1\na2\n", "error": "E", "error_trace": "T"});
    answer(Endpoint::GetRunOutput, output(&first));
    answer(Endpoint::GetRunOutput, output(&first));
    answer(Endpoint::GetRunOutput, output(&json!({"logs": "b1\nb"})));
    let (lines, more) = reader.page(&harness, 0).await;
    assert_eq!(users(&lines), ["a1\n", "a2\n", "E\n", "T\n", "b1\n"]);
    assert!(more);
    // More was written than Databricks keeps.
    answer(Endpoint::GetRun, attempts(run_id, "TERMINATED"));
    answer(Endpoint::GetRunOutput, output(&json!({"logs": "1\nb2\nb3", "logs_truncated": true})));
    let (lines, more) = reader.page(&harness, 0).await;
    assert!(!more);
    // The context of the position is gone, which is reported.
    assert_eq!(users(&lines), ["1\n", "b2\n", "b3\n"]);
    assert!(systems(&lines).iter().any(|line| line.contains("is missing")), "{lines:?}");
}

#[tokio::test]
async fn output_that_loses_its_start_is_continued() {
    let harness = start().await;
    let run = harness.started(script().with_pace(Pace::Manual)).await;
    let run_id = harness.emulator.runs()[0].run_id;
    let line = |n: usize| format!("line {n} of the output\n");
    let text = |from: usize, to: usize| (from..to).map(line).collect::<String>();
    let mut reader = LogReader::new(run);
    let mut seen = Vec::new();
    for (from, to, truncated) in
        [(0, 100, false), (0, 180, false), (50, 300, true), (280, 400, true)]
    {
        harness.emulator.answer_next(Endpoint::GetRun, attempts(run_id, "RUNNING"), 1);
        let first = output(&json!({"logs": ""}));
        if seen.is_empty() {
            harness.emulator.answer_next(Endpoint::GetRunOutput, first.clone(), 2);
        }
        let logs = json!({"logs": text(from, to), "logs_truncated": truncated});
        harness.emulator.answer_next(Endpoint::GetRunOutput, output(&logs), 1);
        let (lines, _) = reader.page(&harness, 10_000).await;
        seen.extend(users(&lines).into_iter().map(str::to_owned));
    }
    assert_eq!(seen, (0..400).map(line).collect::<Vec<_>>());
}

#[tokio::test]
async fn truncated_output_is_reported_first() {
    let harness = start().await;
    let line = "x".repeat(99) + "\n";
    let run = harness.started(Script::default().with_logs(line.repeat(60_000))).await;
    harness.end_of(&run).await;
    let all = LogReader::new(run).rest(&harness, 10_000).await;
    let place = all.iter().position(|line| line.message.contains("the last 5 MB")).unwrap();
    assert_eq!(users(&all[..place]), Vec::<&str>::new());
    assert!(users(&all).len() > 40_000 && users(&all).len() < 60_000);
}

#[tokio::test]
async fn transient_failure_ends_the_page_but_not_the_log() {
    let harness = start().await;
    let (run, run_id, folder) =
        delivering(&harness, script(), json!({"dbfs": {"destination": "dbfs:/logs"}})).await;
    harness.emulator.append_file(&format!("{folder}/stdout"), "one\ntwo\n");
    harness.emulator.append_file(&format!("{folder}/stderr"), "err\n");
    // Not the API's JSON: a response of a proxy.
    let fault = || CannedResponse::json(200, "[]");
    let mut reader = LogReader::new(run);
    let mut seen = Vec::new();
    for endpoint in [
        Endpoint::GetRun,
        Endpoint::GetCluster,
        Endpoint::ListClusterEvents,
        Endpoint::DbfsList,
        Endpoint::DbfsRead,
        Endpoint::GetRun,
    ] {
        harness.emulator.answer_next(endpoint, fault(), 1);
        let (lines, more) = reader.page(&harness, 0).await;
        assert!(more, "{endpoint:?}");
        seen.extend(lines);
    }
    harness.emulator.advance(run_id);
    harness.emulator.answer_next(Endpoint::GetRunOutput, fault(), 1);
    seen.extend(reader.rest(&harness, 0).await);
    assert_eq!(users(&seen), ["one\n", "two\n", "err\n", "ValueError\n", "trace\n"]);
}

#[tokio::test]
async fn termination_of_the_cluster_follows_the_output_of_an_ended_run() {
    let harness = start().await;
    // Every step has a different time.
    let timed = Pace::Elapsed(Duration::from_millis(5));
    let run = harness.started(Script::success().with_logs("one\n").with_pace(timed)).await;
    harness.end_of(&run).await;
    let all = LogReader::new(run).rest(&harness, 0).await;
    let place = |text: &str| all.iter().position(|line| line.message.contains(text)).unwrap();
    assert!(place(": CREATING") < place("one\n"));
    assert!(place("one\n") < place(": TERMINATING"), "{:?}", texts(&all));
}

#[tokio::test]
async fn failure_within_a_page_loses_and_repeats_nothing() {
    let harness = start().await;
    let conf = json!({"dbfs": {"destination": "dbfs:/logs"}});
    let (run, run_id, folder) = delivering(&harness, Script::success(), conf).await;
    let lines: Vec<String> = (0..9_000).map(|n| format!("{n} {}\n", "x".repeat(n % 400))).collect();
    harness.emulator.put_file(&format!("{folder}/stdout"), lines.concat());
    harness.emulator.advance(run_id);
    // The second read of the page fails.
    let fault = Some(Fault::Answer(CannedResponse::json(200, "[]")));
    harness.emulator.inject(FaultRule::on_calls(
        Calls::to([Endpoint::DbfsRead]),
        When::Script(vec![None, fault]),
    ));
    let mut reader = LogReader::new(run);
    let (first, more) = reader.page(&harness, 10_000).await;
    assert!(more && !users(&first).is_empty() && users(&first).len() < 9_000);
    let rest = reader.rest(&harness, 10_000).await;
    assert_eq!([users(&first), users(&rest)].concat(), lines);
}

#[tokio::test]
async fn log_is_complete_although_every_third_request_fails() {
    let harness = start().await;
    let lines =
        |stream: &str| (0..3_000).map(|n| format!("{stream} {n}\n")).collect::<Vec<String>>();
    let (out, err) = (lines("out"), lines("err"));
    let delivery =
        LogDelivery { stdout: out.concat(), stderr: err.concat(), lines: 100, rotate_every: 3 };
    let steps = [Step::new(LifeCycle::Running).with_hold(40)];
    let script = Script { delivery: Some(delivery), steps: steps.into(), ..Script::success() };
    harness.emulator.set_script("scripted", script);
    let cluster = json!({"spark_version": "15.4.x-scala2.12", "node_type_id": "m", "num_workers": 1,
        "cluster_log_conf": {"dbfs": {"destination": "dbfs:/logs"}}});
    let conf = json!({"run_name": "scripted", "new_cluster": cluster});
    let run =
        harness.connector.create(harness.request("40_executor_first_attempt", conf)).await.unwrap();
    harness.emulator.inject(FaultRule::on_calls(
        Calls::any(),
        When::Chance(
            Probability::new(1.0 / 3.0).unwrap(),
            Fault::Answer(CannedResponse::json(200, "[]")),
        ),
    ));
    let all = LogReader::new(run).rest(&harness, 250).await;
    let of = |stream: &str| -> Vec<&str> {
        users(&all).into_iter().filter(|line| line.starts_with(stream)).collect()
    };
    assert_eq!(
        (of("out"), of("err")),
        (out.iter().map(String::as_str).collect(), err.iter().map(String::as_str).collect())
    );
    let mut systems = systems(&all);
    let events = systems.len();
    systems.sort_unstable();
    systems.dedup();
    assert_eq!(systems.len(), events, "an event is repeated");
}

#[tokio::test]
async fn unavailable_workspace_ends_the_page_but_not_the_log() {
    let harness = start().await;
    let run = harness.started(script()).await;
    let mut reader = LogReader::new(run.clone());
    reader.page(&harness, 0).await;
    let fault = CannedResponse::json(503, "{}").with_header("Retry-After", "60");
    harness.emulator.answer_next(Endpoint::GetRun, fault, 1);
    let request = LogsRequest::new(0, reader.token.clone());
    let page = harness.connector.get_logs(call(), run, request).await.unwrap();
    assert!(page.lines.is_empty());
    assert_eq!(page.next_token.as_deref(), Some(reader.token.as_str()));
    assert_eq!(users(&reader.rest(&harness, 0).await).len(), 4);
}

#[tokio::test]
async fn tokens_of_other_runs_and_invalid_tokens_are_rejected() {
    let harness = start().await;
    let run = harness.started(script().with_pace(Pace::Manual)).await;
    let mut reader = LogReader::new(run.clone());
    reader.page(&harness, 1).await;
    let mut other = harness.request("40_executor_first_attempt", json!({"run_name": "other"}));
    other.execution = TaskExecutionMetadata::default();
    let other = harness.connector.create(other).await.unwrap();
    for (run, token) in [(other, reader.token.clone()), (run, "v1:3".to_owned())] {
        let request = LogsRequest::new(0, token);
        let error = harness.connector.get_logs(call(), run, request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
}

/// Writes numbered lines to stdout, fewer to stderr, and rotates both, without pauses.
fn write_logs(emulator: &Emulator, folder: &str, lines: usize) {
    let (stdout, stderr) = (format!("{folder}/stdout"), format!("{folder}/stderr"));
    let mut rotations = 0;
    let mut batch = String::new();
    for n in 0..lines {
        writeln!(batch, "out {n}").unwrap();
        // Batches may end within a line.
        if n % 1_999 == 1_998 || n + 1 == lines {
            let at = if n + 1 == lines { batch.len() } else { batch.len() - n % 5 };
            emulator.append_file(&stdout, batch.drain(..at).collect::<String>());
            emulator.append_file(&stderr, format!("err {}\n", n / 1_999));
        }
        if n % 70_000 == 69_999 {
            for file in [&stdout, &stderr] {
                emulator.rename_file(file, &format!("{file}--2026-11-23--{rotations:02}-00"));
            }
            rotations += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_million_lines_are_read_in_bounded_memory_while_being_written_and_rotated() {
    const LINES: usize = 1_000_000;
    let harness = Arc::new(start().await);
    let conf = json!({"dbfs": {"destination": "dbfs:/logs"}});
    let (run, run_id, folder) = delivering(&harness, Script::success(), conf).await;
    let driver = {
        let harness = Arc::clone(&harness);
        thread::spawn(move || {
            write_logs(&harness.emulator, &folder, LINES);
            harness.emulator.advance(run_id);
        })
    };
    let mut reader = LogReader::new(run);
    let (mut out, mut err, mut largest, mut pages) = (0, 0, 0, 0);
    let mut part = String::new();
    loop {
        let (lines, more) = reader.page(&harness, 10_000).await;
        pages += 1;
        assert!(pages < 10 * LINES, "the log does not end");
        assert!(lines.len() <= 10_010, "{}", lines.len());
        largest = largest.max(lines.iter().map(|line| line.message.len()).sum::<usize>());
        for line in users(&lines) {
            // A line that a rotation split arrives in two consecutive parts.
            part.push_str(line);
            if !line.ends_with('\n') {
                continue;
            }
            let line = std::mem::take(&mut part);
            let (stream, next) =
                if line.starts_with("err") { ("err", &mut err) } else { ("out", &mut out) };
            assert_eq!(line, format!("{stream} {next}\n"));
            *next += 1;
        }
        if !more {
            break;
        }
    }
    driver.join().unwrap();
    assert_eq!((out, err), (LINES, LINES.div_ceil(1_999)));
    // Memory holds one page and one chunk of a file.
    assert!(largest <= 3 * 1024 * 1024 + 64 * 1024, "{largest} bytes");
    let length = |query: &str| {
        let length = query.split('&').find_map(|pair| pair.strip_prefix("length="));
        length.map_or(0, |length| length.parse::<usize>().unwrap())
    };
    let requests = harness.emulator.requests();
    let longest = requests
        .iter()
        .filter(|request| request.path == "/api/2.0/dbfs/read")
        .map(|request| length(&request.query))
        .max();
    assert!(longest.is_some_and(|longest| longest <= 1_000_000), "{longest:?}");
    assert!(pages >= LINES / 10_000);
}
