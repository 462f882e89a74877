//! GetTaskMetrics over gRPC: the series of a run as Prometheus range-query results.

use std::{
    ffi::OsStr,
    time::{Duration, SystemTime},
};

use clap::Parser as _;
use connector_core::value;
use connector_server::{Args, Environment, registry};
use databricks_connector::Config;
use databricks_emulator::{Emulator, Pace, Script, StatementRows, StatementScript};
use flyteidl2::connector::GetTaskMetricsRequest;
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    eventually::until,
    fixtures::create_request_for,
    server::{Running, config, start},
    workspace::{CONNECTOR_TOKEN, connector_config, task_category},
};

/// The id of a SQL warehouse of the workspace.
const WAREHOUSE: &str = "1234567890abcdef";

const CPU: &str = "EXECUTION_METRIC_USED_CPU_AVG";

const MEMORY: &str = "EXECUTION_METRIC_USED_MEMORY_BYTES_AVG";

/// Starts a workspace and a server, and creates a run. Returns them with the run's `resource_meta`.
async fn start_run(
    script: Script,
    change: impl FnOnce(Config) -> Config,
) -> (Emulator, Running, Vec<u8>) {
    let emulator = Emulator::builder()
        .token(CONNECTOR_TOKEN)
        .warehouse(WAREHOUSE)
        .default_script(script)
        .start()
        .await
        .unwrap();
    let server = start(config(), registry(change(connector_config(&emulator))).unwrap()).await;
    let mut request = create_request_for("40_executor_first_attempt", &emulator.https_host());
    request.connection = None;
    let meta = server.tasks().create_task(request).await.unwrap().into_inner().resource_meta;
    (emulator, server, meta)
}

/// Advances the run to RUNNING.
fn advance_to_running(emulator: &Emulator) {
    let run_id = emulator.runs()[0].run_id;
    emulator.advance(run_id);
    emulator.advance(run_id);
}

fn with_warehouse(config: Config) -> Config {
    Config { sql_warehouse: Some(WAREHOUSE.to_owned()), ..config }
}

/// Rows of `node_timeline` for a driver with four cores and a worker with eight.
fn node_rows() -> StatementScript {
    let columns = [
        ("cluster_id", "STRING"),
        ("instance_id", "STRING"),
        ("driver", "BOOLEAN"),
        ("node_type", "STRING"),
        ("step", "BIGINT"),
        ("cpu_percent", "DOUBLE"),
        ("memory_percent", "DOUBLE"),
        ("core_count", "DOUBLE"),
        ("memory_mb", "BIGINT"),
    ];
    let rows = [
        [":cluster_0", "i-1", "true", "m5.xlarge", "0", "50.0", "25.0", "4.0", "16384"],
        [":cluster_0", "i-1", "true", "m5.xlarge", "1", "75.0", "50.0", "4.0", "16384"],
        [":cluster_0", "i-2", "false", "m5.2xlarge", "1", "100.0", "12.5", "8.0", "32768"],
    ];
    let script = StatementScript::rows(StatementRows::new(columns, rows));
    StatementScript { pending_polls: 1, running_polls: 1, rows_per_chunk: 2, ..script }
}

fn request(meta: &[u8], queries: &[&str]) -> GetTaskMetricsRequest {
    GetTaskMetricsRequest {
        resource_meta: meta.to_vec(),
        task_category: Some(task_category()),
        queries: queries.iter().map(|name| (*name).to_owned()).collect(),
        ..GetTaskMetricsRequest::default()
    }
}

/// Calls GetTaskMetrics. Returns the results by name.
async fn results(
    server: &Running,
    request: GetTaskMetricsRequest,
) -> serde_json::Map<String, Value> {
    let response = server.tasks().get_task_metrics(request).await.unwrap().into_inner();
    let results = response.results.into_iter().map(|result| {
        (result.metric, Value::Object(value::json_from_struct(&result.data.unwrap()).unwrap()))
    });
    results.collect()
}

#[tokio::test]
async fn run_series_respect_names_window_and_step() {
    let script = Script::success().with_pace(Pace::Manual);
    let (emulator, server, meta) = Box::pin(start_run(script, |config| config)).await;
    advance_to_running(&emulator);

    let all = results(&server, request(&meta, &[])).await;
    assert_eq!(all.len(), 8, "{all:?}");
    for (name, result) in &all {
        assert_eq!(result["resultType"], "matrix", "{name}");
    }
    let workers = &all["databricks_cluster_workers"]["result"][0];
    assert_eq!(workers["metric"]["__name__"], "databricks_cluster_workers");
    assert!(workers["metric"]["cluster_id"].is_string());
    assert_eq!(workers["values"].as_array().unwrap().last().unwrap()[1], "1");

    let now = SystemTime::now();
    let window = GetTaskMetricsRequest {
        start_time: Some((now - Duration::from_mins(61)).into()),
        end_time: Some((now + Duration::from_hours(1)).into()),
        step: Some(Duration::from_mins(5).try_into().unwrap()),
        ..request(&meta, &["databricks_run_tasks"])
    };
    let found = results(&server, window.clone()).await;
    let running = found["databricks_run_tasks"]["result"].as_array().unwrap();
    let running = running.iter().find(|series| series["metric"]["state"] == "running").unwrap();
    let values = running["values"].as_array().unwrap();
    assert_eq!(
        (found.len(), values.len()),
        (1, 1),
        "only the present is within the run's lifetime"
    );
    assert_eq!(values[0][1], "1");
    let at = values[0][0].as_f64().unwrap();
    let since = Duration::from_secs_f64(at);
    assert!(SystemTime::UNIX_EPOCH + since >= now - Duration::from_secs(1));

    let before =
        GetTaskMetricsRequest { end_time: Some((now - Duration::from_mins(30)).into()), ..window };
    assert_eq!(results(&server, before).await["databricks_run_tasks"]["result"], json!([]));
}

#[tokio::test]
async fn invalid_window_or_name_is_rejected_as_invalid_argument() {
    let (_emulator, server, meta) = Box::pin(start_run(Script::success(), |config| config)).await;
    let now = SystemTime::now();
    let reversed = GetTaskMetricsRequest {
        start_time: Some(now.into()),
        end_time: Some((now - Duration::from_secs(90)).into()),
        ..request(&meta, &[])
    };
    let error = server.tasks().get_task_metrics(reversed).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("90 s before start_time"), "{}", error.message());
    let unknown = server.tasks().get_task_metrics(request(&meta, &["EXECUTION_METRIC_NONE"])).await;
    let unknown = unknown.unwrap_err();
    assert_eq!(unknown.code(), Code::InvalidArgument);
    assert!(unknown.message().contains("databricks_run_tasks"), "{}", unknown.message());
}

#[tokio::test]
async fn cpu_and_memory_of_each_node_come_from_the_system_tables() {
    let script = Script::success().with_pace(Pace::Manual);
    let (emulator, server, meta) = Box::pin(start_run(script, with_warehouse)).await;
    advance_to_running(&emulator);
    emulator.set_statement_script("system.compute.node_timeline", node_rows());
    let start = SystemTime::now() - Duration::from_secs(30);
    let request = GetTaskMetricsRequest {
        start_time: Some(start.into()),
        step: Some(Duration::from_secs(20).try_into().unwrap()),
        ..request(&meta, &[CPU, MEMORY])
    };
    let found = results(&server, request).await;
    assert_eq!(found.len(), 2);
    let cpu = found[CPU]["result"].as_array().unwrap();
    let memory = found[MEMORY]["result"].as_array().unwrap();
    let value = |series: &Value, place: usize| series["values"][place][1].clone();
    assert_eq!(
        (value(&cpu[0], 0), value(&cpu[0], 1), value(&cpu[1], 0)),
        (json!("2"), json!("3"), json!("8"))
    );
    assert_eq!(
        (value(&memory[0], 0), value(&memory[1], 0)),
        (json!("4294967296"), json!("4294967296"))
    );
    let labels = &cpu[0]["metric"];
    assert_eq!((&labels["role"], &labels["instance_id"]), (&json!("driver"), &json!("i-1")));
    let first = cpu[0]["values"][0][0].as_f64().unwrap();
    let second = cpu[0]["values"][1][0].as_f64().unwrap();
    assert!((second - first - 20.0).abs() < 0.001, "{first} {second}");

    // Values are bound as parameters, not part of the statement's text.
    let statement = &emulator.statements()[0];
    assert_eq!(
        (statement.warehouse_id.as_str(), statement.state.as_str()),
        (WAREHOUSE, "SUCCEEDED")
    );
    let cluster = labels["cluster_id"].as_str().unwrap();
    assert!(!cluster.is_empty() && !statement.statement.contains(cluster));
    assert_eq!(statement.parameters["cluster_0"].as_deref(), Some(cluster));
    assert_eq!(statement.parameters["cluster_15"].as_deref(), Some(cluster));
    assert_eq!(statement.parameters["step"].as_deref(), Some("20000"));
}

#[tokio::test]
async fn request_without_names_has_cpu_and_memory_only_with_a_warehouse() {
    let script = Script::success().with_pace(Pace::Manual);
    let (emulator, server, meta) = Box::pin(start_run(script.clone(), |config| config)).await;
    advance_to_running(&emulator);
    assert_eq!(results(&server, request(&meta, &[])).await.len(), 8);
    assert_eq!(emulator.statements(), []);
    let error = server.tasks().get_task_metrics(request(&meta, &[CPU])).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("FLYTE_DATABRICKS_SQL_WAREHOUSE"), "{}", error.message());

    let (emulator, server, meta) = Box::pin(start_run(script, with_warehouse)).await;
    advance_to_running(&emulator);
    emulator.set_statement_script("system.compute.node_timeline", node_rows());
    let found = results(&server, request(&meta, &[])).await;
    assert_eq!(found.len(), 10);
    assert_eq!(found[CPU]["result"].as_array().unwrap().len(), 2);
    // A table without SELECT permission does not hide the other series.
    let denied = StatementScript::failed(
        "BAD_REQUEST",
        "[INSUFFICIENT_PERMISSIONS] no SELECT",
        Some("42501"),
    );
    emulator.set_statement_script("system.compute.node_timeline", denied);
    let found = results(&server, request(&meta, &[])).await;
    assert_eq!((found.len(), &found[CPU]["result"]), (10, &json!([])));
    let error = server.tasks().get_task_metrics(request(&meta, &[CPU])).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    for words in ["INSUFFICIENT_PERMISSIONS", "SELECT on system.compute.node_timeline", WAREHOUSE] {
        assert!(error.message().contains(words), "{}", error.message());
    }
}

#[tokio::test]
async fn window_without_data_is_out_of_range_with_the_reason() {
    let script = Script::success().with_pace(Pace::Manual);
    let (emulator, server, meta) = Box::pin(start_run(script, with_warehouse)).await;
    emulator.set_statement_script("system.compute.node_timeline", StatementScript::default());
    let status = async |request| server.tasks().get_task_metrics(request).await.unwrap_err();

    let queued = status(request(&meta, &[CPU, MEMORY])).await;
    assert_eq!(queued.code(), Code::OutOfRange);
    assert!(queued.message().contains("the run has no known cluster"), "{}", queued.message());
    let hour_ago = SystemTime::now() - Duration::from_hours(1);
    let before =
        GetTaskMetricsRequest { end_time: Some(hour_ago.into()), ..request(&meta, &[CPU]) };
    let before = status(before).await;
    assert_eq!(before.code(), Code::OutOfRange);
    assert!(before.message().contains("did not exist in the window"), "{}", before.message());
    assert_eq!(emulator.statements(), [], "no statement is needed");

    advance_to_running(&emulator);
    let late = status(request(&meta, &[CPU])).await;
    assert_eq!(late.code(), Code::OutOfRange);
    assert!(late.message().contains("a delay of minutes to hours"), "{}", late.message());
    // With a series that has data, the other is empty.
    let both = results(&server, request(&meta, &[CPU, "databricks_run_tasks"])).await;
    assert_eq!(both[CPU]["result"], json!([]));
}

#[tokio::test]
async fn statement_that_exceeds_the_deadline_is_cancelled() {
    let script = Script::success().with_pace(Pace::Manual);
    let (emulator, server, meta) = Box::pin(start_run(script, with_warehouse)).await;
    advance_to_running(&emulator);
    let slow = StatementScript { running_polls: 1_000, ..node_rows() };
    emulator.set_statement_script("system.compute.node_timeline", slow);
    let mut limited = tonic::Request::new(request(&meta, &[CPU]));
    limited.set_timeout(Duration::from_secs(2));
    let error = server.tasks().get_task_metrics(limited).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded, "{}", error.message());
    until("the statement is cancelled", async || emulator.statements()[0].state == "CANCELED")
        .await;

    // A request without names gets the other series in time.
    let mut limited = tonic::Request::new(request(&meta, &[]));
    limited.set_timeout(Duration::from_secs(2));
    let found = server.tasks().get_task_metrics(limited).await.unwrap().into_inner().results;
    assert_eq!(found.len(), 10);
    until("the statement is cancelled", async || emulator.statements()[1].state == "CANCELED")
        .await;
}

#[tokio::test]
async fn workspaces_file_sets_warehouse_and_result_format() {
    let script = Script::success().with_pace(Pace::Manual);
    let emulator = Emulator::builder()
        .token(CONNECTOR_TOKEN)
        .warehouse(WAREHOUSE)
        .default_script(script)
        .start()
        .await
        .unwrap();
    emulator.set_statement_script("system.compute.node_timeline", node_rows());
    let folder = tempfile::tempdir().unwrap();
    let (file, certificate) = (folder.path().join("w.toml"), folder.path().join("w.pem"));
    let text = format!(
        "default = \"here\"\n[workspace.here]\nhost = \"{}\"\nsql_warehouse = \"{WAREHOUSE}\"\n\
         sql_results = \"links\"\n[workspace.here.auth]\ntype = \"pat\"\ntoken_env = \"MINE\"\n",
        emulator.https_host()
    );
    std::fs::write(&file, text).unwrap();
    std::fs::write(&certificate, emulator.certificate_pem()).unwrap();
    let environment = Environment::from_iter([
        ("FLYTE_DATABRICKS_WORKSPACES", file.as_os_str()),
        ("SSL_CERT_FILE", certificate.as_os_str()),
        ("MINE", OsStr::new(CONNECTOR_TOKEN)),
    ]);
    let args = Args::try_parse_from(["connector-server"]).unwrap();
    let databricks = connector_server::Config::new(&args.serve, &environment).unwrap().databricks;
    let server = start(config(), registry(databricks).unwrap()).await;
    let mut create = create_request_for("40_executor_first_attempt", &emulator.https_host());
    create.connection = None;
    let meta = server.tasks().create_task(create).await.unwrap().into_inner().resource_meta;
    advance_to_running(&emulator);
    let found = results(&server, request(&meta, &[MEMORY])).await;
    assert_eq!(found[MEMORY]["result"].as_array().unwrap().len(), 2);
    let requests = emulator.requests();
    let links = requests.iter().filter(|request| request.path.starts_with("/emulator-storage/"));
    assert_eq!(links.count(), 2, "two chunks, by their links");
}
