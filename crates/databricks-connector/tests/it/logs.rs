//! The log of a run, page by page: what is told, in which order, and where a page ends.

use std::{fmt::Write as _, sync::Arc, thread, time::Duration};

use connector_core::{Connector, ErrorKind, LogLine, LogPage, LogsRequest, Originator};
use databricks_connector::{Config, LogReading, RunMeta};
use databricks_emulator::{
    Calls, CannedResponse, Emulator, Endpoint, Fault, FaultRule, LifeCycle, LogDelivery, Outcome,
    Pace, Probability, Script, Step, TaskScript, When,
};
use flyteidl2::connector::TaskExecutionMetadata;
use serde_json::{Value, json};

use crate::setup::{World, call};

/// A log of a run, read with the token of the page before.
pub(crate) struct Reading {
    pub(crate) run: RunMeta,
    pub(crate) token: String,
}

impl Reading {
    pub(crate) fn of(run: RunMeta) -> Self {
        Self { run, token: String::new() }
    }

    /// The next page, and whether there is another.
    pub(crate) async fn page(&mut self, world: &World, lines: u64) -> (Vec<LogLine>, bool) {
        let request = LogsRequest::new(lines, self.token.clone());
        let LogPage { lines, next_token } =
            world.connector.get_logs(call(), self.run.clone(), request).await.unwrap();
        self.token = next_token.clone().unwrap_or_default();
        (lines, next_token.is_some())
    }

    /// Everything to the last page.
    pub(crate) async fn rest(&mut self, world: &World, lines: u64) -> Vec<LogLine> {
        let mut all = Vec::new();
        for _ in 0..1_000 {
            let (lines, more) = self.page(world, lines).await;
            all.extend(lines);
            if !more {
                return all;
            }
        }
        panic!("the log has no end: {:?}", texts(&all));
    }
}

/// A world whose log pages do not wait.
pub(crate) async fn world() -> World {
    World::with(|config| Config {
        logs: LogReading { pause: Duration::ZERO, ..LogReading::default() },
        ..config
    })
    .await
}

pub(crate) fn texts(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|line| line.message.as_str()).collect()
}

/// What the user's program wrote.
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

/// A run on a cluster that delivers its logs there, RUNNING until somebody moves it; and the folder of its driver.
pub(crate) async fn delivering(
    world: &World,
    script: Script,
    conf: Value,
) -> (RunMeta, i64, String) {
    world.emulator.set_script("scripted", script.with_pace(Pace::Manual));
    let cluster = json!({"spark_version": "15.4.x-scala2.12", "node_type_id": "m", "num_workers": 1, "cluster_log_conf": conf});
    let conf = json!({"run_name": "scripted", "new_cluster": cluster});
    let run =
        world.connector.create(world.request("40_executor_first_attempt", conf)).await.unwrap();
    let run_id = world.emulator.runs()[0].run_id;
    world.emulator.advance(run_id);
    world.emulator.advance(run_id);
    let task = world.emulator.submissions()[0]["tasks"][0]["task_key"].as_str().unwrap().to_owned();
    let folder = world.emulator.log_folder(run_id, &task).unwrap();
    (run, run_id, folder)
}

fn script() -> Script {
    Script::failed("ValueError", "trace").with_logs("one\ntwo\n")
}

#[tokio::test]
async fn the_log_is_what_happened_what_the_task_wrote_and_then_its_error() {
    let world = world().await;
    let run = world.started(script().with_pace(Pace::Manual)).await;
    let run_id = world.emulator.runs()[0].run_id;
    let mut reading = Reading::of(run.clone());
    let mut all = Vec::new();
    loop {
        let (lines, more) = reading.page(&world, 0).await;
        all.extend(lines);
        if !more {
            break;
        }
        world.emulator.advance(run_id);
    }
    assert_eq!(users(&all), ["one\n", "two\n", "ValueError\n", "trace\n"]);
    let told = systems(&all);
    assert!(told[0].starts_with(&format!("run {run_id} was submitted")), "{told:?}");
    assert!(told[1].starts_with("waiting"), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("running on cluster")), "{told:?}");
    assert!(told.iter().any(|line| line.contains(": CREATING")), "{told:?}");
    assert!(told.last().unwrap().starts_with(&format!("run {run_id} ended: ")), "{told:?}");
    assert!(
        all.iter()
            .filter(|line| line.originator == Originator::System)
            .all(|line| line.timestamp.is_some())
    );
    // One page or a page a line: the same.
    let whole = Reading::of(run.clone()).rest(&world, 0).await;
    assert_eq!(users(&whole), users(&all));
    assert_eq!(Reading::of(run).rest(&world, 1).await, whole);
}

#[tokio::test]
async fn there_is_something_to_read_before_the_first_output_and_nothing_new_is_an_empty_page() {
    let world = world().await;
    let run = world.started(script().with_pace(Pace::Manual)).await;
    let mut reading = Reading::of(run);
    let (first, more) = reading.page(&world, 0).await;
    assert!(!first.is_empty() && users(&first).is_empty() && more);
    let (second, more) = reading.page(&world, 0).await;
    assert!(second.is_empty() && more);
}

#[tokio::test]
async fn the_tasks_of_a_run_have_their_names_before_their_lines_and_errors_come_last() {
    let world = world().await;
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
    world.emulator.set_script("dag", script);
    let conf =
        json!({"run_name": "dag", "new_cluster": null, "tasks": [task("a", &[]), task("b", &[])]});
    let run = world.connector.create(world.request("40_executor_first_attempt", conf)).await;
    let run = run.unwrap();
    while !world.get(&run).await.phase.is_terminal() {}
    let expected = ["a: a1\n", "a: a2\n", "b: b1\n", "a: no\n"];
    assert_eq!(users(&Reading::of(run.clone()).rest(&world, 0).await), expected);
    assert_eq!(users(&Reading::of(run).rest(&world, 2).await), expected);
}

#[tokio::test]
async fn a_run_of_many_tasks_is_told_whole_however_small_the_pages() {
    let world = world().await;
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
    world.emulator.set_script("many", script);
    let conf = json!({"run_name": "many", "new_cluster": null, "tasks": (0..70).map(task).collect::<Vec<_>>()});
    let request = world.request("40_executor_first_attempt", conf);
    let run = world.connector.create(request).await.unwrap();
    let run_id = world.emulator.runs()[0].run_id;
    let expected: Vec<String> =
        (0..70).flat_map(|n| vec![format!("{}: {n}\n", key(n)); n % 5]).collect();
    let mut reading = Reading::of(run.clone());
    let mut early = Vec::new();
    for _ in 0..3 {
        early.extend(reading.page(&world, 50).await.0);
        world.emulator.advance(run_id);
    }
    early.extend(reading.rest(&world, 50).await);
    // While they run, each has its turn; afterwards they are told in their order.
    let mut told = users(&early);
    told.sort_by_key(|line| line.split(':').next().map(str::to_owned));
    assert_eq!(told, expected);
    assert_eq!(users(&Reading::of(run).rest(&world, 3).await), expected);
}

/// What `runs/get` tells of a run with two attempts of its task.
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
async fn a_log_goes_on_across_attempts_without_loss_or_repetition() {
    let world = world().await;
    let run = world.started(script().with_pace(Pace::Manual)).await;
    let run_id = world.emulator.runs()[0].run_id;
    let answer = |endpoint, answer| world.emulator.answer_next(endpoint, answer, 1);
    let mut reading = Reading::of(run);
    // The second attempt has begun, and has written a line and a half.
    answer(Endpoint::GetRun, attempts(run_id, "RUNNING"));
    let first = json!({"logs": "a1\na2\n", "error": "E", "error_trace": "T"});
    answer(Endpoint::GetRunOutput, output(&first));
    answer(Endpoint::GetRunOutput, output(&first));
    answer(Endpoint::GetRunOutput, output(&json!({"logs": "b1\nb"})));
    let (lines, more) = reading.page(&world, 0).await;
    assert_eq!(users(&lines), ["a1\n", "a2\n", "E\n", "T\n", "b1\n"]);
    assert!(more);
    // More was written than is kept.
    answer(Endpoint::GetRun, attempts(run_id, "TERMINATED"));
    answer(Endpoint::GetRunOutput, output(&json!({"logs": "1\nb2\nb3", "logs_truncated": true})));
    let (lines, more) = reading.page(&world, 0).await;
    assert!(!more);
    // What stood before the place is gone, which is said.
    assert_eq!(users(&lines), ["1\n", "b2\n", "b3\n"]);
    assert!(systems(&lines).iter().any(|line| line.contains("is lost")), "{lines:?}");
}

#[tokio::test]
async fn an_output_that_loses_its_start_goes_on_where_it_was() {
    let world = world().await;
    let run = world.started(script().with_pace(Pace::Manual)).await;
    let run_id = world.emulator.runs()[0].run_id;
    let line = |n: usize| format!("line {n} of the output\n");
    let text = |from: usize, to: usize| (from..to).map(line).collect::<String>();
    let mut reading = Reading::of(run);
    let mut seen = Vec::new();
    for (from, to, truncated) in
        [(0, 100, false), (0, 180, false), (50, 300, true), (280, 400, true)]
    {
        world.emulator.answer_next(Endpoint::GetRun, attempts(run_id, "RUNNING"), 1);
        let first = output(&json!({"logs": ""}));
        if seen.is_empty() {
            world.emulator.answer_next(Endpoint::GetRunOutput, first.clone(), 2);
        }
        let logs = json!({"logs": text(from, to), "logs_truncated": truncated});
        world.emulator.answer_next(Endpoint::GetRunOutput, output(&logs), 1);
        let (lines, _) = reading.page(&world, 10_000).await;
        seen.extend(users(&lines).into_iter().map(str::to_owned));
    }
    assert_eq!(seen, (0..400).map(line).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_truncated_output_says_so_first() {
    let world = world().await;
    let line = "x".repeat(99) + "\n";
    let run = world.started(Script::default().with_logs(line.repeat(60_000))).await;
    while !world.get(&run).await.phase.is_terminal() {}
    let all = Reading::of(run).rest(&world, 10_000).await;
    let place = all.iter().position(|line| line.message.contains("the last 5 MB")).unwrap();
    assert_eq!(users(&all[..place]), Vec::<&str>::new());
    assert!(users(&all).len() > 40_000 && users(&all).len() < 60_000);
}

#[tokio::test]
async fn a_fault_ends_a_page_early_and_not_the_log() {
    let world = world().await;
    let (run, run_id, folder) =
        delivering(&world, script(), json!({"dbfs": {"destination": "dbfs:/logs"}})).await;
    world.emulator.append_file(&format!("{folder}/stdout"), "one\ntwo\n");
    world.emulator.append_file(&format!("{folder}/stderr"), "err\n");
    // No JSON: something between us and the workspace said it.
    let fault = || CannedResponse::json(200, "[]");
    let mut reading = Reading::of(run);
    let mut seen = Vec::new();
    for endpoint in [
        Endpoint::GetRun,
        Endpoint::GetCluster,
        Endpoint::ListClusterEvents,
        Endpoint::DbfsList,
        Endpoint::DbfsRead,
        Endpoint::GetRun,
    ] {
        world.emulator.answer_next(endpoint, fault(), 1);
        let (lines, more) = reading.page(&world, 0).await;
        assert!(more, "{endpoint:?}");
        seen.extend(lines);
    }
    world.emulator.advance(run_id);
    world.emulator.answer_next(Endpoint::GetRunOutput, fault(), 1);
    seen.extend(reading.rest(&world, 0).await);
    assert_eq!(users(&seen), ["one\n", "two\n", "err\n", "ValueError\n", "trace\n"]);
}

#[tokio::test]
async fn a_reader_who_comes_late_is_told_of_the_end_of_the_cluster_behind_the_output() {
    let world = world().await;
    // Every step is at a time of its own.
    let timed = Pace::Elapsed(Duration::from_millis(5));
    let run = world.started(Script::success().with_logs("one\n").with_pace(timed)).await;
    while !world.get(&run).await.phase.is_terminal() {}
    let all = Reading::of(run).rest(&world, 0).await;
    let place = |text: &str| all.iter().position(|line| line.message.contains(text)).unwrap();
    assert!(place(": CREATING") < place("one\n"));
    assert!(place("one\n") < place(": TERMINATING"), "{:?}", texts(&all));
}

#[tokio::test]
async fn a_fault_in_the_middle_of_a_page_loses_and_repeats_nothing() {
    let world = world().await;
    let conf = json!({"dbfs": {"destination": "dbfs:/logs"}});
    let (run, run_id, folder) = delivering(&world, Script::success(), conf).await;
    let lines: Vec<String> = (0..9_000).map(|n| format!("{n} {}\n", "x".repeat(n % 400))).collect();
    world.emulator.put_file(&format!("{folder}/stdout"), lines.concat());
    world.emulator.advance(run_id);
    // The second part of the page does not come.
    let fault = Some(Fault::Answer(CannedResponse::json(200, "[]")));
    world.emulator.inject(FaultRule::on_calls(
        Calls::to([Endpoint::DbfsRead]),
        When::Script(vec![None, fault]),
    ));
    let mut reading = Reading::of(run);
    let (first, more) = reading.page(&world, 10_000).await;
    assert!(more && !users(&first).is_empty() && users(&first).len() < 9_000);
    let rest = reading.rest(&world, 10_000).await;
    assert_eq!([users(&first), users(&rest)].concat(), lines);
}

#[tokio::test]
async fn a_log_is_whole_although_every_third_call_fails() {
    let world = world().await;
    let lines =
        |stream: &str| (0..3_000).map(|n| format!("{stream} {n}\n")).collect::<Vec<String>>();
    let (out, err) = (lines("out"), lines("err"));
    let delivery =
        LogDelivery { stdout: out.concat(), stderr: err.concat(), lines: 100, rotate_every: 3 };
    let steps = [Step::new(LifeCycle::Running).with_hold(40)];
    let script = Script { delivery: Some(delivery), steps: steps.into(), ..Script::success() };
    world.emulator.set_script("scripted", script);
    let cluster = json!({"spark_version": "15.4.x-scala2.12", "node_type_id": "m", "num_workers": 1,
        "cluster_log_conf": {"dbfs": {"destination": "dbfs:/logs"}}});
    let conf = json!({"run_name": "scripted", "new_cluster": cluster});
    let run =
        world.connector.create(world.request("40_executor_first_attempt", conf)).await.unwrap();
    world.emulator.inject(FaultRule::on_calls(
        Calls::any(),
        When::Chance(
            Probability::new(1.0 / 3.0).unwrap(),
            Fault::Answer(CannedResponse::json(200, "[]")),
        ),
    ));
    let all = Reading::of(run).rest(&world, 250).await;
    let of = |stream: &str| -> Vec<&str> {
        users(&all).into_iter().filter(|line| line.starts_with(stream)).collect()
    };
    assert_eq!(
        (of("out"), of("err")),
        (out.iter().map(String::as_str).collect(), err.iter().map(String::as_str).collect())
    );
    let mut systems = systems(&all);
    let told = systems.len();
    systems.sort_unstable();
    systems.dedup();
    assert_eq!(systems.len(), told, "an event is told twice");
}

#[tokio::test]
async fn a_workspace_that_is_down_for_the_length_of_a_call_ends_a_page_and_not_the_log() {
    let world = world().await;
    let run = world.started(script()).await;
    let mut reading = Reading::of(run.clone());
    reading.page(&world, 0).await;
    let fault = CannedResponse::json(503, "{}").with_header("Retry-After", "60");
    world.emulator.answer_next(Endpoint::GetRun, fault, 1);
    let request = LogsRequest::new(0, reading.token.clone());
    let page = world.connector.get_logs(call(), run, request).await.unwrap();
    assert!(page.lines.is_empty());
    assert_eq!(page.next_token.as_deref(), Some(reading.token.as_str()));
    assert_eq!(users(&reading.rest(&world, 0).await).len(), 4);
}

#[tokio::test]
async fn a_token_of_another_run_or_of_nobody_is_refused() {
    let world = world().await;
    let run = world.started(script().with_pace(Pace::Manual)).await;
    let mut reading = Reading::of(run.clone());
    reading.page(&world, 1).await;
    let mut other = world.request("40_executor_first_attempt", json!({"run_name": "other"}));
    other.execution = TaskExecutionMetadata::default();
    let other = world.connector.create(other).await.unwrap();
    for (run, token) in [(other, reading.token.clone()), (run, "v1:3".to_owned())] {
        let request = LogsRequest::new(0, token);
        let error = world.connector.get_logs(call(), run, request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
}

/// Writes so many numbered lines to stdout, now and then to stderr, and rotates both, as fast as it can.
fn drive(emulator: &Emulator, folder: &str, lines: usize) {
    let (stdout, stderr) = (format!("{folder}/stdout"), format!("{folder}/stderr"));
    let mut rotations = 0;
    let mut batch = String::new();
    for n in 0..lines {
        writeln!(batch, "out {n}").unwrap();
        // Batches end in the middle of lines too.
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
async fn a_million_lines_are_read_while_they_are_written_and_rotated_in_bounded_memory() {
    const LINES: usize = 1_000_000;
    let world = Arc::new(world().await);
    let conf = json!({"dbfs": {"destination": "dbfs:/logs"}});
    let (run, run_id, folder) = delivering(&world, Script::success(), conf).await;
    let driver = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            drive(&world.emulator, &folder, LINES);
            world.emulator.advance(run_id);
        })
    };
    let mut reading = Reading::of(run);
    let (mut out, mut err, mut largest, mut pages) = (0, 0, 0, 0);
    let mut part = String::new();
    loop {
        let (lines, more) = reading.page(&world, 10_000).await;
        pages += 1;
        assert!(lines.len() <= 10_010, "{}", lines.len());
        largest = largest.max(lines.iter().map(|line| line.message.len()).sum::<usize>());
        for line in users(&lines) {
            // A line that a rotation cut in two comes in two parts, one after the other.
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
    // What is held: one page, and one part of a file.
    assert!(largest <= 3 * 1024 * 1024 + 64 * 1024, "{largest} bytes");
    let length = |query: &str| {
        let length = query.split('&').find_map(|pair| pair.strip_prefix("length="));
        length.map_or(0, |length| length.parse::<usize>().unwrap())
    };
    let requests = world.emulator.requests();
    let longest = requests
        .iter()
        .filter(|request| request.path == "/api/2.0/dbfs/read")
        .map(|request| length(&request.query))
        .max();
    assert!(longest.is_some_and(|longest| longest <= 1_000_000), "{longest:?}");
    assert!(pages >= LINES / 10_000);
}
