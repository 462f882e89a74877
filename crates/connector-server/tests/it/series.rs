//! The series of a run over the wire, as range-query objects.

use std::time::{Duration, SystemTime};

use clap::Parser as _;
use connector_core::value;
use connector_server::{Args, Environment, StandardVariables, registry};
use databricks_connector::Config;
use databricks_emulator::{Emulator, Pace, Script, StatementRows, StatementScript};
use flyteidl2::connector::GetTaskMetricsRequest;
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    databricks::{captured, category, configured, pointed_at},
    server::{Running, config, start},
};

/// The connector's own token, which is the workspace's.
const TOKEN: &str = "dapi-connector";

/// A SQL warehouse of the workspace.
const WAREHOUSE: &str = "1234567890abcdef";

const CPU: &str = "EXECUTION_METRIC_USED_CPU_AVG";

const MEMORY: &str = "EXECUTION_METRIC_USED_MEMORY_BYTES_AVG";

/// A server before a workspace where one run has begun, and the run's meta.
async fn begun(
    script: Script,
    change: impl FnOnce(Config) -> Config,
) -> (Emulator, Running, Vec<u8>) {
    let emulator = Emulator::builder()
        .token(TOKEN)
        .warehouse(WAREHOUSE)
        .default_script(script)
        .start()
        .await
        .unwrap();
    let server = start(config(), registry(change(configured(&emulator))).unwrap()).await;
    let mut request = pointed_at(captured("40_executor_first_attempt"), &emulator.https_host());
    request.connection = None;
    let meta = server.tasks().create_task(request).await.unwrap().into_inner().resource_meta;
    (emulator, server, meta)
}

/// The run works.
fn to_work(emulator: &Emulator) {
    let run_id = emulator.runs()[0].run_id;
    emulator.advance(run_id);
    emulator.advance(run_id);
}

/// With the warehouse.
fn with_warehouse(config: Config) -> Config {
    Config { sql_warehouse: Some(WAREHOUSE.to_owned()), ..config }
}

/// What the statement about a run's machines gives: a driver of four cores, and a worker of eight.
fn machines() -> StatementScript {
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

/// What is asked for, as a message.
fn request(meta: &[u8], queries: &[&str]) -> GetTaskMetricsRequest {
    GetTaskMetricsRequest {
        resource_meta: meta.to_vec(),
        task_category: Some(category()),
        queries: queries.iter().map(|name| (*name).to_owned()).collect(),
        ..GetTaskMetricsRequest::default()
    }
}

/// The results by name.
async fn results(
    server: &Running,
    request: GetTaskMetricsRequest,
) -> serde_json::Map<String, Value> {
    let answer = server.tasks().get_task_metrics(request).await.unwrap().into_inner();
    let read = answer.results.into_iter().map(|result| {
        (result.metric, Value::Object(value::json_from_struct(&result.data.unwrap()).unwrap()))
    });
    read.collect()
}

#[tokio::test]
async fn the_runs_own_series_are_range_queries_of_the_asked_names_window_and_step() {
    let script = Script::success().with_pace(Pace::Manual);
    let (emulator, server, meta) = Box::pin(begun(script, |config| config)).await;
    to_work(&emulator);

    let everything = results(&server, request(&meta, &[])).await;
    assert_eq!(everything.len(), 8, "{everything:?}");
    for (name, result) in &everything {
        assert_eq!(result["resultType"], "matrix", "{name}");
    }
    let workers = &everything["databricks_cluster_workers"]["result"][0];
    assert_eq!(workers["metric"]["__name__"], "databricks_cluster_workers");
    assert!(workers["metric"]["cluster_id"].is_string());
    assert_eq!(workers["values"].as_array().unwrap().last().unwrap()[1], "1");

    let now = SystemTime::now();
    let asked = GetTaskMetricsRequest {
        start_time: Some((now - Duration::from_mins(61)).into()),
        end_time: Some((now + Duration::from_hours(1)).into()),
        step: Some(Duration::from_mins(5).try_into().unwrap()),
        ..request(&meta, &["databricks_run_tasks"])
    };
    let told = results(&server, asked.clone()).await;
    let running = told["databricks_run_tasks"]["result"].as_array().unwrap();
    let running = running.iter().find(|series| series["metric"]["state"] == "running").unwrap();
    let values = running["values"].as_array().unwrap();
    assert_eq!((told.len(), values.len()), (1, 1), "only the present lies in the run's life");
    assert_eq!(values[0][1], "1");
    let at = values[0][0].as_f64().unwrap();
    let since = Duration::from_secs_f64(at);
    assert!(SystemTime::UNIX_EPOCH + since >= now - Duration::from_secs(1));

    let before =
        GetTaskMetricsRequest { end_time: Some((now - Duration::from_mins(30)).into()), ..asked };
    assert_eq!(results(&server, before).await["databricks_run_tasks"]["result"], json!([]));
}

#[tokio::test]
async fn a_window_that_makes_no_sense_is_an_invalid_argument() {
    let (_emulator, server, meta) = Box::pin(begun(Script::success(), |config| config)).await;
    let now = SystemTime::now();
    let turned = GetTaskMetricsRequest {
        start_time: Some(now.into()),
        end_time: Some((now - Duration::from_secs(90)).into()),
        ..request(&meta, &[])
    };
    let refused = server.tasks().get_task_metrics(turned).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("90 s before start_time"), "{}", refused.message());
    let unknown = server.tasks().get_task_metrics(request(&meta, &["EXECUTION_METRIC_NONE"])).await;
    let unknown = unknown.unwrap_err();
    assert_eq!(unknown.code(), Code::InvalidArgument);
    assert!(unknown.message().contains("databricks_run_tasks"), "{}", unknown.message());
}

#[tokio::test]
async fn cpu_and_memory_of_each_machine_come_from_the_system_tables() {
    let script = Script::success().with_pace(Pace::Manual);
    let (emulator, server, meta) = Box::pin(begun(script, with_warehouse)).await;
    to_work(&emulator);
    emulator.set_statement_script("system.compute.node_timeline", machines());
    let start = SystemTime::now() - Duration::from_secs(30);
    let asked = GetTaskMetricsRequest {
        start_time: Some(start.into()),
        step: Some(Duration::from_secs(20).try_into().unwrap()),
        ..request(&meta, &[CPU, MEMORY])
    };
    let told = results(&server, asked).await;
    assert_eq!(told.len(), 2);
    let cpu = told[CPU]["result"].as_array().unwrap();
    let memory = told[MEMORY]["result"].as_array().unwrap();
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

    // What differs from run to run is bound, and not a part of the text.
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
async fn an_empty_request_has_cpu_and_memory_only_where_a_warehouse_is_named() {
    let script = Script::success().with_pace(Pace::Manual);
    let (emulator, server, meta) = Box::pin(begun(script.clone(), |config| config)).await;
    to_work(&emulator);
    assert_eq!(results(&server, request(&meta, &[])).await.len(), 8);
    assert_eq!(emulator.statements(), []);
    let refused = server.tasks().get_task_metrics(request(&meta, &[CPU])).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("FLYTE_DATABRICKS_SQL_WAREHOUSE"), "{}", refused.message());

    let (emulator, server, meta) = Box::pin(begun(script, with_warehouse)).await;
    to_work(&emulator);
    emulator.set_statement_script("system.compute.node_timeline", machines());
    let told = results(&server, request(&meta, &[])).await;
    assert_eq!(told.len(), 10);
    assert_eq!(told[CPU]["result"].as_array().unwrap().len(), 2);
    // A table that may not be read costs nobody the rest.
    let denied = StatementScript::failed(
        "BAD_REQUEST",
        "[INSUFFICIENT_PERMISSIONS] no SELECT",
        Some("42501"),
    );
    emulator.set_statement_script("system.compute.node_timeline", denied);
    let told = results(&server, request(&meta, &[])).await;
    assert_eq!((told.len(), &told[CPU]["result"]), (10, &json!([])));
    let refused = server.tasks().get_task_metrics(request(&meta, &[CPU])).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    for words in ["INSUFFICIENT_PERMISSIONS", "SELECT on system.compute.node_timeline", WAREHOUSE] {
        assert!(refused.message().contains(words), "{}", refused.message());
    }
}

#[tokio::test]
async fn a_window_of_which_nothing_is_known_is_out_of_range_with_the_reason() {
    let script = Script::success().with_pace(Pace::Manual);
    let (emulator, server, meta) = Box::pin(begun(script, with_warehouse)).await;
    emulator.set_statement_script("system.compute.node_timeline", StatementScript::default());
    let refusal = async |request| server.tasks().get_task_metrics(request).await.unwrap_err();

    let queued = refusal(request(&meta, &[CPU, MEMORY])).await;
    assert_eq!(queued.code(), Code::OutOfRange);
    assert!(queued.message().contains("no cluster of the run is known"), "{}", queued.message());
    let hour_ago = SystemTime::now() - Duration::from_hours(1);
    let before =
        GetTaskMetricsRequest { end_time: Some(hour_ago.into()), ..request(&meta, &[CPU]) };
    let before = refusal(before).await;
    assert_eq!(before.code(), Code::OutOfRange);
    assert!(before.message().contains("not alive in the window"), "{}", before.message());
    assert_eq!(
        emulator.statements(),
        [],
        "nothing is asked of the warehouse that is known already"
    );

    to_work(&emulator);
    let late = refusal(request(&meta, &[CPU])).await;
    assert_eq!(late.code(), Code::OutOfRange);
    assert!(late.message().contains("minutes to hours late"), "{}", late.message());
    // Asked for with something that is known, it is merely empty.
    let both = results(&server, request(&meta, &[CPU, "databricks_run_tasks"])).await;
    assert_eq!(both[CPU]["result"], json!([]));
}

#[tokio::test]
async fn a_statement_that_outlasts_the_call_is_cancelled() {
    let script = Script::success().with_pace(Pace::Manual);
    let (emulator, server, meta) = Box::pin(begun(script, with_warehouse)).await;
    to_work(&emulator);
    let slow = StatementScript { running_polls: 1_000, ..machines() };
    emulator.set_statement_script("system.compute.node_timeline", slow);
    let mut hurried = tonic::Request::new(request(&meta, &[CPU]));
    hurried.set_timeout(Duration::from_secs(2));
    let refused = server.tasks().get_task_metrics(hurried).await.unwrap_err();
    assert_eq!(refused.code(), Code::DeadlineExceeded, "{}", refused.message());
    while emulator.statements()[0].state != "CANCELED" {
        tokio::task::yield_now().await;
    }

    // Where nobody asked for them by name, the rest comes in time.
    let mut hurried = tonic::Request::new(request(&meta, &[]));
    hurried.set_timeout(Duration::from_secs(2));
    let told = server.tasks().get_task_metrics(hurried).await.unwrap().into_inner().results;
    assert_eq!(told.len(), 10);
    while emulator.statements()[1].state != "CANCELED" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_file_of_workspaces_names_the_warehouse_and_how_its_rows_come() {
    let script = Script::success().with_pace(Pace::Manual);
    let emulator = Emulator::builder()
        .token(TOKEN)
        .warehouse(WAREHOUSE)
        .default_script(script)
        .start()
        .await
        .unwrap();
    emulator.set_statement_script("system.compute.node_timeline", machines());
    let folder = tempfile::tempdir().unwrap();
    let (file, certificate) = (folder.path().join("w.toml"), folder.path().join("w.pem"));
    let text = format!(
        "default = \"here\"\n[workspace.here]\nhost = \"{}\"\nsql_warehouse = \"{WAREHOUSE}\"\n\
         sql_results = \"links\"\n[workspace.here.auth]\ntype = \"pat\"\ntoken_env = \"MINE\"\n",
        emulator.https_host()
    );
    std::fs::write(&file, text).unwrap();
    std::fs::write(&certificate, emulator.certificate_pem()).unwrap();
    let mut environment = Environment::read(|name| match name {
        "FLYTE_DATABRICKS_WORKSPACES" => Some(file.clone().into_os_string()),
        "SSL_CERT_FILE" => Some(certificate.clone().into_os_string()),
        _ => None,
    })
    .unwrap();
    let mine = |name: &str| (name == "MINE").then(|| TOKEN.to_owned());
    environment.standard = StandardVariables(std::sync::Arc::new(mine));
    let args = Args::try_parse_from(["connector-server"]).unwrap();
    let databricks = connector_server::Config::new(&args.serve, &environment).unwrap().databricks;
    let server = start(config(), registry(databricks).unwrap()).await;
    let mut create = pointed_at(captured("40_executor_first_attempt"), &emulator.https_host());
    create.connection = None;
    let meta = server.tasks().create_task(create).await.unwrap().into_inner().resource_meta;
    to_work(&emulator);
    let told = results(&server, request(&meta, &[MEMORY])).await;
    assert_eq!(told[MEMORY]["result"].as_array().unwrap().len(), 2);
    let requests = emulator.requests();
    let links = requests.iter().filter(|request| request.path.starts_with("/emulator-storage/"));
    assert_eq!(links.count(), 2, "two chunks, by their links");
}
