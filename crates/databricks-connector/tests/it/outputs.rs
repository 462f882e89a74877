//! The outcome of a run by its output files or its result.

use std::{fs, sync::Arc};

use connector_core::{Connector, Phase, Resource, literal};
use databricks_connector::{Config, RunMeta, StorageError, StorageFuture, TaskStorage};
use databricks_emulator::{CannedResponse, Endpoint, Outcome, Pace, Script};
use flyteidl2::core::{
    ContainerError, ErrorDocument, LiteralType, SimpleType, TypeStructure, UnionType, Variable,
    VariableEntry, VariableMap, container_error::Kind, literal_type,
};
use prost::Message;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Harness, call, stored};

fn script(outcome: Outcome) -> Script {
    Script { pace: Pace::PerPoll(1), outcome, ..Script::default() }
}

fn failing() -> Outcome {
    Outcome::Failed { error: "Workload failed".to_owned(), error_trace: String::new() }
}

/// The output prefix of an attempt, on local disk.
struct Prefix(TempDir);

impl Prefix {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with_outputs(self) -> Self {
        fs::write(self.0.path().join("outputs.pb"), b"").unwrap();
        self
    }

    fn with_error(self, kind: Kind) -> Self {
        let error = ContainerError {
            code: "ValueError".to_owned(),
            message: "no such table".to_owned(),
            kind: kind.into(),
            ..ContainerError::default()
        };
        fs::write(
            self.0.path().join("error.pb"),
            ErrorDocument { error: Some(error) }.encode_to_vec(),
        )
        .unwrap();
        self
    }

    fn url(&self) -> String {
        format!("file://{}", self.0.path().display())
    }
}

async fn get(harness: &Harness, run: &RunMeta, output_prefix: &str) -> Resource {
    let cx = call().with_output_prefix(output_prefix);
    harness.connector.get(cx, run.clone()).await.unwrap()
}

#[tokio::test]
async fn error_file_turns_a_success_into_a_failure_of_its_kind() {
    for (kind, phase) in
        [(Kind::Recoverable, Phase::RetryableFailed), (Kind::NonRecoverable, Phase::Failed)]
    {
        let harness = Harness::start().await;
        let run = harness.started(script(Outcome::Success)).await;
        let prefix = Prefix::new().with_outputs().with_error(kind);
        let end = harness.end_with_prefix(&run, &prefix.url()).await;
        assert_eq!((end.phase, end.message.as_str()), (phase, "ValueError: no such table"));
    }
}

#[tokio::test]
async fn success_needs_an_outputs_file() {
    let harness = Harness::start().await;
    let run = harness.started(script(Outcome::Success)).await;
    let prefix = Prefix::new().with_outputs();
    assert_eq!(harness.end_with_prefix(&run, &prefix.url()).await.phase, Phase::Succeeded);
    assert!(harness.scrape().contains("databricks_unchecked_successes_total 0\n"));

    let harness = Harness::start().await;
    let run = harness.started(script(Outcome::Success)).await;
    let end = harness.end_with_prefix(&run, &Prefix::new().url()).await;
    assert_eq!(end.phase, Phase::RetryableFailed);
    assert!(end.message.contains("neither outputs nor an error"), "{}", end.message);
}

#[tokio::test]
async fn error_file_overrides_the_error_of_a_failed_run() {
    let harness = Harness::start().await;
    let run = harness.started(script(failing())).await;
    let prefix = Prefix::new();
    let end_without = harness.end_with_prefix(&run, &prefix.url()).await;
    let without_file = (end_without.phase, end_without.message.as_str());
    assert_eq!(without_file, (Phase::RetryableFailed, "Workload failed [RUN_EXECUTION_ERROR]"));

    let harness = Harness::start().await;
    let run = harness.started(script(failing())).await;
    let prefix = Prefix::new().with_error(Kind::NonRecoverable);
    let end = harness.end_with_prefix(&run, &prefix.url()).await;
    assert_eq!((end.phase, end.message.as_str()), (Phase::Failed, "ValueError: no such table"));
}

#[tokio::test]
async fn failed_run_with_outputs_stays_failed_and_its_message_says_so() {
    let harness = Harness::start().await;
    let run = harness.started(script(failing())).await;
    let end = harness.end_with_prefix(&run, &Prefix::new().with_outputs().url()).await;
    assert_eq!(end.phase, Phase::RetryableFailed);
    assert_eq!(end.outputs, None);
    let expected =
        "Workload failed [RUN_EXECUTION_ERROR]\nthe function itself had written its outputs";
    assert!(end.message.starts_with(expected), "{}", end.message);
}

#[tokio::test]
async fn unreadable_files_fail_the_task_only_if_required() {
    let harness = Harness::start().await;
    let run = harness.started(script(Outcome::Success)).await;
    assert_eq!(harness.end_with_prefix(&run, "memory:///x").await.phase, Phase::Succeeded);
    assert!(harness.scrape().contains("databricks_unchecked_successes_total 1\n"));

    let harness = Harness::with(|config| Config { require_error_file: true, ..config }).await;
    let run = harness.started(script(Outcome::Success)).await;
    let end = harness.end_with_prefix(&run, "memory:///x").await;
    assert_eq!(end.phase, Phase::Failed);
    assert!(end.message.contains("scheme `memory`"), "{}", end.message);
}

/// A store with transient failures only.
#[derive(Debug)]
struct Slow;

impl TaskStorage for Slow {
    fn read<'a>(&'a self, _: &'a str, _: u64) -> StorageFuture<'a, Option<Vec<u8>>> {
        Box::pin(async { Err(StorageError::Transient("slow".to_owned())) })
    }

    fn size<'a>(&'a self, _: &'a str) -> StorageFuture<'a, Option<u64>> {
        Box::pin(async { Err(StorageError::Transient("slow".to_owned())) })
    }
}

#[tokio::test]
async fn transient_storage_failures_are_retried_at_two_polls() {
    let harness = Harness::with(|config| Config { task_storage: Arc::new(Slow), ..config }).await;
    let run = harness.started(script(Outcome::Success).with_steps([])).await;
    let mut phases = Vec::new();
    for _ in 0..3 {
        phases.push(get(&harness, &run, "s3://bucket/x").await.phase);
    }
    assert_eq!(phases, [Phase::Running, Phase::Running, Phase::Succeeded]);
}

/// Starts a workload with declared outputs whose run follows the script.
async fn start_workload(harness: &Harness, conf: Value, script: Script) -> RunMeta {
    harness.emulator.set_script("scripted", script);
    let mut conf = conf;
    conf["run_name"] = json!("scripted");
    let mut cx = harness.request_with_conf("40_executor_first_attempt", &conf);
    // A unique prefix: the same attempt of the same task would be the same run.
    cx.output_prefix = format!("s3://flyte-data/{conf}");
    harness.connector.create(cx).await.unwrap()
}

/// Starts a notebook with declared outputs that returns this.
async fn notebook(returned: Option<&str>) -> (Harness, RunMeta) {
    let harness = Harness::start().await;
    let script =
        Script { notebook_result: returned.map(str::to_owned), ..script(Outcome::Success) };
    let conf = json!({"existing_cluster_id": "c", "notebook_task": {"notebook_path": "/n"}});
    let meta = start_workload(&harness, conf, script).await;
    (harness, meta)
}

/// Returns the only literal of a success, an integer.
fn integer(end: &Resource) -> Option<i64> {
    use flyteidl2::core::{Primitive, literal, primitive, scalar};
    assert_eq!(end.phase, Phase::Succeeded, "{}", end.message);
    let [literal] = end.outputs.as_ref()?.literals.as_slice() else { return None };
    let Some(literal::Value::Scalar(scalar)) = literal.value.as_ref()?.value.as_ref() else {
        return None;
    };
    match scalar.value.as_ref()? {
        scalar::Value::Primitive(Primitive { value: Some(primitive::Value::Integer(number)) }) => {
            Some(*number)
        }
        _ => None,
    }
}

/// A SQL file result with the single row `385`, as Databricks writes it.
fn row() -> Value {
    json!({"file_output": {"warehouse_id": "w", "query_result": {
        "columns": [{"name": "sum(n * n)"}], "rows": [{"values": [{"string_value": "385"}]}]}}})
}

#[tokio::test]
async fn sql_returns_its_first_row() {
    let harness = Harness::start().await;
    let sql = json!({"sql_task": {"warehouse_id": "w", "file": {"path": "/q.sql"}}});
    let returning = Script { sql_output: Some(row()), ..script(Outcome::Success) };
    let run = start_workload(&harness, sql.clone(), returning).await;
    assert_eq!(integer(&harness.end_with_prefix(&run, "").await), Some(385));

    let harness = Harness::start().await;
    let run = start_workload(&harness, sql, script(Outcome::Success)).await;
    let end = harness.end_with_prefix(&run, "").await;
    assert_eq!(end.phase, Phase::Failed);
    assert!(
        end.message.contains("`o0` cannot be filled: task flyte_task: it has no result"),
        "{}",
        end.message
    );
}

#[tokio::test]
async fn task_that_triggers_a_job_has_the_result_of_that_job() {
    let harness = Harness::start().await;
    let inner = json!({"run_name": "inner", "tasks": [
        {"task_key": "first", "existing_cluster_id": "c", "notebook_task": {"notebook_path": "/n"}},
        {"task_key": "last", "sql_task": {"warehouse_id": "w", "file": {"path": "/q.sql"}},
         "depends_on": [{"task_key": "first"}]},
    ]});
    harness.emulator.save_job(7, inner.as_object().unwrap().clone());
    harness.emulator.set_script(
        "inner",
        Script { sql_output: Some(row()), ..script(Outcome::Success) }.with_steps([]),
    );
    // The run that the task of the outer run triggers.
    let started = start_workload(&harness, json!({"job_id": 7}), Script::success()).await;
    assert_eq!(
        integer(&harness.end_with_prefix(&started, "").await),
        Some(385),
        "the run of a saved job itself"
    );

    let triggered_run_id = stored(&started)["run_id"].as_str().unwrap().parse().ok();
    let outer = Script { triggered_run_id, ..script(Outcome::Success) };
    let run = start_workload(&harness, json!({"run_job_task": {"job_id": 7}}), outer).await;
    assert_ne!(stored(&run), stored(&started));
    assert_eq!(integer(&harness.end_with_prefix(&run, "").await), Some(385));
}

#[tokio::test]
async fn jobs_that_trigger_each_other_endlessly_fail() {
    let harness = Harness::start().await;
    let first =
        start_workload(&harness, json!({"run_job_task": {"job_id": 7}}), script(Outcome::Success))
            .await;
    let itself = stored(&first)["run_id"].as_str().unwrap().parse::<i64>().unwrap();
    // Emulator ids are consecutive, so a run can be scripted to have triggered itself.
    let script = Script { triggered_run_id: Some(itself + 2), ..script(Outcome::Success) };
    let run = start_workload(&harness, json!({"run_job_task": {"job_id": 8}}), script).await;
    let end = harness.end_with_prefix(&run, "").await;
    assert_eq!(end.phase, Phase::Failed);
    assert!(end.message.contains("more than 4 levels"), "{}", end.message);
}

#[tokio::test]
async fn notebook_result_fills_the_declared_output() {
    let (harness, run) = notebook(Some("385")).await;
    assert_eq!(stored(&run).get("outputs"), Some(&json!({"o0": "integer"})));
    // The prefix is not read: a notebook writes no files there.
    let end = harness.end_with_prefix(&run, "memory:///x").await;
    assert_eq!(end.phase, Phase::Succeeded);
    let outputs = end.outputs.unwrap();
    assert_eq!(outputs.literals[0].name, "o0");
    assert!(format!("{:?}", outputs.literals[0].value).contains("Integer(385)"), "{outputs:?}");
}

#[tokio::test]
async fn notebook_without_valid_result_fails_with_the_reason() {
    for (returned, words) in [
        (None, "it has no result; a notebook returns one with `dbutils.notebook.exit`"),
        (Some("many"), "the wrong type"),
    ] {
        let (harness, run) = notebook(returned).await;
        let end = harness.end_with_prefix(&run, "").await;
        assert_eq!(end.phase, Phase::Failed);
        assert!(end.message.contains(words), "{}", end.message);
        assert_eq!(end.outputs, None);
    }
}

#[tokio::test]
async fn meta_of_a_flyte_function_has_no_outputs() {
    let harness = Harness::start().await;
    let meta = harness
        .connector
        .create(harness.request("40_executor_first_attempt", json!({})))
        .await
        .unwrap();
    let keys: Vec<String> =
        stored(&meta).into_iter().map(|(key, _): (String, Value)| key).collect();
    assert_eq!(keys, ["databricks_instance", "run_id"]);
}

/// Returns the request of a workload that declares one output of this type.
fn declaring(
    harness: &Harness,
    conf: &Value,
    declared: literal_type::Type,
) -> connector_core::CreateContext {
    let mut cx = harness.request_with_conf("40_executor_first_attempt", conf);
    let declared = LiteralType { r#type: Some(declared), ..LiteralType::default() };
    let variable = Variable { r#type: Some(declared), ..Variable::default() };
    let entry = VariableEntry { key: "o0".to_owned(), value: Some(variable) };
    cx.template.interface.as_mut().unwrap().outputs = Some(VariableMap { variables: vec![entry] });
    cx
}

fn simple(simple: SimpleType) -> literal_type::Type {
    literal_type::Type::Simple(simple.into())
}

fn list(inner: SimpleType) -> literal_type::Type {
    let inner = LiteralType { r#type: Some(simple(inner)), ..LiteralType::default() };
    literal_type::Type::CollectionType(Box::new(inner))
}

fn optional(inner: SimpleType, tag: &str) -> literal_type::Type {
    let variant = |declared: SimpleType, tag: &str| LiteralType {
        r#type: Some(simple(declared)),
        structure: Some(TypeStructure { tag: tag.to_owned(), ..TypeStructure::default() }),
        ..LiteralType::default()
    };
    let variants = vec![variant(inner, tag), variant(SimpleType::None, "none")];
    literal_type::Type::UnionType(UnionType { variants })
}

fn notebook_conf() -> Value {
    json!({"run_name": "scripted", "existing_cluster_id": "c", "notebook_task": {"notebook_path": "/n"}})
}

/// Returns the end of a notebook that returns this text for an output of this type.
async fn end_of_notebook(declared: literal_type::Type, returned: Option<&str>) -> Resource {
    let harness = Harness::start().await;
    let script =
        Script { notebook_result: returned.map(str::to_owned), ..script(Outcome::Success) };
    harness.emulator.set_script("scripted", script);
    let cx = declaring(&harness, &notebook_conf(), declared);
    let meta = harness.connector.create(cx).await.unwrap();
    // The meta as Flyte stores it.
    let meta: RunMeta = serde_json::from_value(Value::Object(stored(&meta))).unwrap();
    harness.end_with_prefix(&meta, "").await
}

#[tokio::test]
async fn result_of_a_notebook_fills_outputs_of_every_supported_type() {
    for (declared, returned, json) in [
        (simple(SimpleType::Datetime), "2026-11-28", json!("2026-11-28T00:00:00Z")),
        (
            simple(SimpleType::Datetime),
            "2026-11-28T03:04:05.5+01:00\n",
            json!("2026-11-28T02:04:05.5Z"),
        ),
        (list(SimpleType::Integer), "[1, 9007199254740993]", json!([1, 9_007_199_254_740_993_i64])),
        (list(SimpleType::Datetime), r#"["2026-11-28"]"#, json!(["2026-11-28T00:00:00Z"])),
        (optional(SimpleType::Integer, "int"), "7", json!(7)),
        (optional(SimpleType::Integer, "int"), "None", json!(null)),
        (simple(SimpleType::Integer), "385.00", json!(385)),
        (simple(SimpleType::Integer), "9007199254740993", json!(9_007_199_254_740_993_i64)),
        (simple(SimpleType::Struct), r#"{"a": 1}"#, json!({"a": 1})),
    ] {
        let end = end_of_notebook(declared, Some(returned)).await;
        assert_eq!(end.phase, Phase::Succeeded, "{returned}: {}", end.message);
        let outputs = end.outputs.unwrap();
        let value = outputs.literals[0].value.as_ref().unwrap();
        assert_eq!(literal::to_json(value), Some(json), "{returned}");
    }
    let end = end_of_notebook(optional(SimpleType::String, "str"), None).await;
    assert_eq!(end.phase, Phase::Succeeded, "{}", end.message);
    for text in ["NaN", "-Infinity", "inf"] {
        let end = end_of_notebook(simple(SimpleType::Float), Some(text)).await;
        assert_eq!(end.phase, Phase::Succeeded, "{text}: {}", end.message);
    }
    // An object with integers that a Struct cannot hold exactly.
    for text in [r#"{"id": 9007199254740993}"#, r#"{"mean": NaN}"#] {
        let end = end_of_notebook(simple(SimpleType::Struct), Some(text)).await;
        assert!(format!("{:?}", end.outputs).contains("msgpack"), "{text}: {}", end.message);
    }
}

#[tokio::test]
async fn outputs_that_can_never_be_filled_are_rejected_before_the_run() {
    let wheel = json!({"existing_cluster_id": "c",
        "python_wheel_task": {"package_name": "p", "entry_point": "e"}});
    let integer = || simple(SimpleType::Integer);
    for (conf, declared) in [
        (notebook_conf(), simple(SimpleType::Duration)),
        (notebook_conf(), list(SimpleType::Binary)),
        (notebook_conf(), optional(SimpleType::Datetime, "date")),
        (wheel.clone(), integer()),
        (json!({"pipeline_task": {"pipeline_id": "p"}}), integer()),
        (json!({"existing_cluster_id": "c", "dbt_task": {"commands": ["dbt run"]}}), integer()),
        (json!({"condition_task": {"op": "EQUAL_TO", "left": "1", "right": "1"}}), integer()),
        (
            json!({"output_task": "x", "tasks": [
            {"task_key": "n", "existing_cluster_id": "c", "notebook_task": {"notebook_path": "/n"}}]}),
            integer(),
        ),
    ] {
        let harness = Harness::start().await;
        let error =
            harness.connector.create(declaring(&harness, &conf, declared)).await.unwrap_err();
        assert_eq!(error.kind(), connector_core::ErrorKind::InvalidTask, "{conf}: {error}");
        assert!(harness.emulator.requests().is_empty(), "{conf}");
    }
    // None is a value that any work returns.
    let harness = Harness::start().await;
    let cx = declaring(&harness, &wheel, optional(SimpleType::Integer, "int"));
    harness.connector.create(cx).await.unwrap();
}

/// Tasks of which the last returns nothing.
fn graph() -> Value {
    let notebook = |key: &str| json!({"task_key": key, "existing_cluster_id": "c", "notebook_task": {"notebook_path": "/n"}});
    let mut second = notebook("second");
    second["depends_on"] = json!([{"task_key": "first"}]);
    json!({"run_name": "scripted", "tasks": [notebook("first"), second, {"task_key": "if",
        "depends_on": [{"task_key": "second"}],
        "condition_task": {"op": "EQUAL_TO", "left": "1", "right": "1"}}]})
}

#[tokio::test]
async fn trailing_task_that_returns_nothing_does_not_hide_the_result() {
    for (named, expected) in [(None, 2), (Some("first"), 1), (Some("second"), 2)] {
        let harness = Harness::start().await;
        harness.emulator.set_script("scripted", script(Outcome::Success));
        let mut conf = graph();
        if let Some(named) = named {
            conf["output_task"] = json!(named);
        }
        let cx = harness.request_with_conf("40_executor_first_attempt", &conf);
        let meta = harness.connector.create(cx).await.unwrap();
        assert_eq!(harness.emulator.submissions()[0].get("output_task"), None);
        assert_eq!(stored(&meta).get("output_task"), named.map(|named| json!(named)).as_ref());
        let succeeded = |key: &str, id: i64, task_type: &str, on: Value| {
            json!({"task_key": key, "run_id": id, task_type: {}, "depends_on": on,
                "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}})
        };
        let run = json!({"tasks": [
            succeeded("first", 11, "notebook_task", json!([])),
            succeeded("second", 12, "notebook_task", json!([{"task_key": "first"}])),
            succeeded("if", 13, "condition_task", json!([{"task_key": "second"}])),
        ], "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}});
        let answer = |body: Value| CannedResponse::json(200, body.to_string());
        harness.emulator.answer_next(Endpoint::GetRun, answer(run), 1);
        let output = json!({"notebook_output": {"result": expected.to_string()}});
        harness.emulator.answer_next(Endpoint::GetRunOutput, answer(output), 1);
        let end = harness.get(&meta).await;
        assert_eq!(integer(&end), Some(expected));
        let read = harness.emulator.requests();
        let read = read.iter().rfind(|request| request.path.ends_with("/get-output")).unwrap();
        let id = if expected == 1 { "run_id=11" } else { "run_id=12" };
        assert!(format!("{read:?}").contains(id), "{read:?}");
    }
}

#[tokio::test]
async fn outputs_larger_than_flyte_downloads_are_refused_with_the_limit() {
    let text = "x".repeat(2 * 1024 * 1024);
    let end = end_of_notebook(simple(SimpleType::String), Some(&text)).await;
    assert_eq!(end.phase, Phase::Failed);
    assert!(end.message.contains("downloads at most 2097152"), "{}", end.message);
    assert!(end.message.contains("--max-output-bytes"), "{}", end.message);
    let text = "x".repeat(2_000_000);
    let end = end_of_notebook(simple(SimpleType::String), Some(&text)).await;
    assert_eq!(end.phase, Phase::Succeeded);
}

#[tokio::test]
async fn large_outputs_file_of_a_function_is_a_warning() {
    let harness = Harness::with(|config| Config { max_output_bytes: 10, ..config }).await;
    let run = harness.started(script(Outcome::Success)).await;
    let prefix = Prefix::new().with_outputs();
    fs::write(prefix.0.path().join("outputs.pb"), [0; 11]).unwrap();
    let end = harness.end_with_prefix(&run, &prefix.url()).await;
    assert_eq!(end.phase, Phase::Succeeded);
    assert!(end.message.contains("outputs.pb has 11 bytes"), "{}", end.message);
}

#[tokio::test]
async fn exception_of_a_function_has_its_last_frames_from_the_log() {
    let harness = Harness::start().await;
    let log = "starting\nERROR Traceback (most recent call last):\n        File \"/root/job.py\", line 3, in load\n          raise ValueError(\"no such table\")\n      ValueError: no such table\n";
    let run = harness.started(script(Outcome::Success).with_logs(log)).await;
    let prefix = Prefix::new().with_error(Kind::Recoverable);
    let end = harness.end_with_prefix(&run, &prefix.url()).await;
    assert_eq!(end.phase, Phase::RetryableFailed);
    assert!(end.message.starts_with("ValueError: no such table\n"), "{}", end.message);
    assert!(end.message.contains("File \"/root/job.py\", line 3, in load"), "{}", end.message);
}
