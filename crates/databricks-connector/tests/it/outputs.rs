//! What a run left behind decides how it ended.

use std::{fs, sync::Arc};

use connector_core::{Connector, Phase, Resource, value};
use databricks_connector::{Config, Looked, Looking, RunMeta, TaskFiles};
use databricks_emulator::{Outcome, Pace, Script};
use flyteidl2::core::{ContainerError, ErrorDocument, container_error::Kind};
use prost::Message;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures::create_context;
use crate::setup::{World, call, stored};

fn script(outcome: Outcome) -> Script {
    Script { pace: Pace::PerPoll(1), outcome, ..Script::default() }
}

fn failing() -> Outcome {
    Outcome::Failed { error: "Workload failed".to_owned(), error_trace: String::new() }
}

/// The output prefix of an attempt, on disk.
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

async fn get(world: &World, run: &RunMeta, output_prefix: &str) -> Resource {
    let cx = call().with_output_prefix(output_prefix);
    world.connector.get(cx, run.clone()).await.unwrap()
}

/// Polls until the run is over.
async fn end(world: &World, run: &RunMeta, output_prefix: &str) -> Resource {
    for _ in 0..20 {
        let resource = get(world, run, output_prefix).await;
        if resource.phase.is_terminal() {
            return resource;
        }
    }
    panic!("the run does not end");
}

#[tokio::test]
async fn a_success_with_an_error_file_is_a_failure_of_its_kind() {
    for (kind, phase) in
        [(Kind::Recoverable, Phase::RetryableFailed), (Kind::NonRecoverable, Phase::Failed)]
    {
        let world = World::start().await;
        let run = world.started(script(Outcome::Success)).await;
        let prefix = Prefix::new().with_outputs().with_error(kind);
        let end = end(&world, &run, &prefix.url()).await;
        assert_eq!((end.phase, end.message.as_str()), (phase, "ValueError: no such table"));
    }
}

#[tokio::test]
async fn a_success_with_outputs_is_one_and_without_either_file_is_none() {
    let world = World::start().await;
    let run = world.started(script(Outcome::Success)).await;
    let prefix = Prefix::new().with_outputs();
    assert_eq!(end(&world, &run, &prefix.url()).await.phase, Phase::Succeeded);
    assert!(world.scrape().contains("databricks_unchecked_successes_total 0\n"));

    let world = World::start().await;
    let run = world.started(script(Outcome::Success)).await;
    let end = end(&world, &run, &Prefix::new().url()).await;
    assert_eq!(end.phase, Phase::RetryableFailed);
    assert!(end.message.contains("neither outputs nor an error"), "{}", end.message);
}

#[tokio::test]
async fn the_error_file_of_a_failed_run_says_more_than_the_run() {
    let world = World::start().await;
    let run = world.started(script(failing())).await;
    let prefix = Prefix::new();
    let end_without = end(&world, &run, &prefix.url()).await;
    let told = (end_without.phase, end_without.message.as_str());
    assert_eq!(told, (Phase::RetryableFailed, "Workload failed [RUN_EXECUTION_ERROR]"));

    let world = World::start().await;
    let run = world.started(script(failing())).await;
    let prefix = Prefix::new().with_error(Kind::NonRecoverable);
    let end = end(&world, &run, &prefix.url()).await;
    assert_eq!((end.phase, end.message.as_str()), (Phase::Failed, "ValueError: no such table"));
}

#[tokio::test]
async fn a_failed_run_that_left_outputs_stays_failed_and_says_so() {
    let world = World::start().await;
    let run = world.started(script(failing())).await;
    let end = end(&world, &run, &Prefix::new().with_outputs().url()).await;
    assert_eq!(end.phase, Phase::RetryableFailed);
    assert_eq!(end.outputs, None);
    let told = "Workload failed [RUN_EXECUTION_ERROR]\nthe function itself had written its outputs";
    assert!(end.message.starts_with(told), "{}", end.message);
}

#[tokio::test]
async fn files_that_cannot_be_looked_at_fail_the_task_only_where_they_are_required() {
    let world = World::start().await;
    let run = world.started(script(Outcome::Success)).await;
    assert_eq!(end(&world, &run, "memory:///x").await.phase, Phase::Succeeded);
    assert!(world.scrape().contains("databricks_unchecked_successes_total 1\n"));

    let world = World::with(|config| Config { require_error_file: true, ..config }).await;
    let run = world.started(script(Outcome::Success)).await;
    let end = end(&world, &run, "memory:///x").await;
    assert_eq!(end.phase, Phase::Failed);
    assert!(end.message.contains("scheme `memory`"), "{}", end.message);
}

/// A store that is never there for long enough.
#[derive(Debug)]
struct Slow;

impl TaskFiles for Slow {
    fn read<'a>(&'a self, _url: &'a str, _most: u64) -> Looking<'a, Vec<u8>> {
        Box::pin(async { Looked::Passing("slow".to_owned()) })
    }

    fn exists<'a>(&'a self, _url: &'a str) -> Looking<'a, ()> {
        Box::pin(async { Looked::Passing("slow".to_owned()) })
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_waited_for_at_two_polls() {
    let world = World::with(|config| Config { task_files: Arc::new(Slow), ..config }).await;
    let run = world.started(script(Outcome::Success).with_steps([])).await;
    let mut phases = Vec::new();
    for _ in 0..3 {
        phases.push(get(&world, &run, "s3://bucket/x").await.phase);
    }
    assert_eq!(phases, [Phase::Running, Phase::Running, Phase::Succeeded]);
}

/// Work whose outputs are declared, on a workspace where its run does this.
async fn work_in(world: &World, conf: Value, script: Script) -> RunMeta {
    world.emulator.set_script("scripted", script);
    let mut conf = conf;
    conf.as_object_mut().unwrap().insert("run_name".to_owned(), json!("scripted"));
    let mut cx = create_context("40_executor_first_attempt");
    // Otherwise two of them would be the same attempt of the same task, and so the same run.
    cx.output_prefix = format!("s3://flyte-data/{conf}");
    let mut custom = cx.custom().unwrap();
    custom.insert("databricksInstance".to_owned(), json!(world.emulator.http_url()));
    custom.insert("databricksConf".to_owned(), conf);
    cx.template.custom = Some(value::struct_from_json(&custom));
    world.connector.create(cx).await.unwrap()
}

/// A notebook whose outputs are declared, and what it returned.
async fn notebook(returned: Option<&str>) -> (World, RunMeta) {
    let world = World::start().await;
    let script =
        Script { notebook_result: returned.map(str::to_owned), ..script(Outcome::Success) };
    let conf = json!({"existing_cluster_id": "c", "notebook_task": {"notebook_path": "/n"}});
    let meta = work_in(&world, conf, script).await;
    (world, meta)
}

/// The only literal of a success.
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

/// The row `385` of an SQL file, as the service writes it.
fn row() -> Value {
    json!({"file_output": {"warehouse_id": "w", "query_result": {
        "columns": [{"name": "sum(n * n)"}], "rows": [{"values": [{"string_value": "385"}]}]}}})
}

#[tokio::test]
async fn sql_returns_its_first_row() {
    let world = World::start().await;
    let sql = json!({"sql_task": {"warehouse_id": "w", "file": {"path": "/q.sql"}}});
    let returning = Script { sql_output: Some(row()), ..script(Outcome::Success) };
    let run = work_in(&world, sql.clone(), returning).await;
    assert_eq!(integer(&end(&world, &run, "").await), Some(385));

    let world = World::start().await;
    let run = work_in(&world, sql, script(Outcome::Success)).await;
    let end = end(&world, &run, "").await;
    assert_eq!(end.phase, Phase::Failed);
    assert!(
        end.message.contains("`o0` cannot be filled: task flyte_task: it returned nothing"),
        "{}",
        end.message
    );
}

#[tokio::test]
async fn a_task_that_starts_a_job_returns_what_that_job_returned() {
    let world = World::start().await;
    let inner = json!({"run_name": "inner", "tasks": [
        {"task_key": "first", "existing_cluster_id": "c", "notebook_task": {"notebook_path": "/n"}},
        {"task_key": "last", "sql_task": {"warehouse_id": "w", "file": {"path": "/q.sql"}},
         "depends_on": [{"task_key": "first"}]},
    ]});
    world.emulator.save_job(7, inner.as_object().unwrap().clone());
    world.emulator.set_script(
        "inner",
        Script { sql_output: Some(row()), ..script(Outcome::Success) }.with_steps([]),
    );
    // What the task of the outer run starts.
    let started = work_in(&world, json!({"job_id": 7}), Script::success()).await;
    assert_eq!(
        integer(&end(&world, &started, "").await),
        Some(385),
        "the run of a saved job itself"
    );

    let triggered_run_id = stored(&started)["run_id"].as_str().unwrap().parse().ok();
    let outer = Script { triggered_run_id, ..script(Outcome::Success) };
    let run = work_in(&world, json!({"run_job_task": {"job_id": 7}}), outer).await;
    assert_ne!(stored(&run), stored(&started));
    assert_eq!(integer(&end(&world, &run, "").await), Some(385));
}

#[tokio::test]
async fn jobs_that_start_each_other_for_ever_are_given_up() {
    let world = World::start().await;
    let first =
        work_in(&world, json!({"run_job_task": {"job_id": 7}}), script(Outcome::Success)).await;
    let itself = stored(&first)["run_id"].as_str().unwrap().parse::<i64>().unwrap();
    // The ids of an emulator follow each other, so that a run can be told to have started itself.
    let script = Script { triggered_run_id: Some(itself + 2), ..script(Outcome::Success) };
    let run = work_in(&world, json!({"run_job_task": {"job_id": 8}}), script).await;
    let end = end(&world, &run, "").await;
    assert_eq!(end.phase, Phase::Failed);
    assert!(end.message.contains("more than 4 levels"), "{}", end.message);
}

#[tokio::test]
async fn a_notebook_returns_the_declared_output() {
    let (world, run) = notebook(Some("385")).await;
    assert_eq!(stored(&run).get("outputs"), Some(&json!({"o0": "integer"})));
    // Nothing is looked for under the prefix: a notebook writes no files there.
    let end = end(&world, &run, "memory:///x").await;
    assert_eq!(end.phase, Phase::Succeeded);
    let outputs = end.outputs.unwrap();
    assert_eq!(outputs.literals[0].name, "o0");
    assert!(format!("{:?}", outputs.literals[0].value).contains("Integer(385)"), "{outputs:?}");
}

#[tokio::test]
async fn a_notebook_that_returns_nothing_fails_with_the_reason() {
    for (returned, words) in [
        (None, "it returned nothing; notebooks return with `dbutils.notebook.exit`"),
        (Some("many"), "not of its type"),
    ] {
        let (world, run) = notebook(returned).await;
        let end = end(&world, &run, "").await;
        assert_eq!(end.phase, Phase::Failed);
        assert!(end.message.contains(words), "{}", end.message);
        assert_eq!(end.outputs, None);
    }
}

#[tokio::test]
async fn meta_of_a_function_has_no_outputs() {
    let world = World::start().await;
    let meta = world
        .connector
        .create(world.request("40_executor_first_attempt", json!({})))
        .await
        .unwrap();
    let keys: Vec<String> =
        stored(&meta).into_iter().map(|(key, _): (String, Value)| key).collect();
    assert_eq!(keys, ["databricks_instance", "run_id"]);
}
