//! Observability of the server: metrics, `/status`, and one log line per call.

use std::{collections::BTreeSet, path::Path, time::Duration};

use connector_server::registry;
use connector_service::ServiceConfig;
use databricks_connector::Config;
use databricks_emulator::{CannedResponse, Emulator, Endpoint, Fault, RetryAfter};
use flyteidl2::{
    connector::{
        CreateTaskRequest, DeleteTaskRequest, GetConnectorRequest, GetTaskRequest,
        ListConnectorsRequest,
    },
    core::task_execution::Phase,
};
use serde_json::{Value, json};
use tonic::Request;

use crate::{
    eventually::until,
    fixtures::{create_request, create_request_for},
    paused_workspace::PausedWorkspace,
    process::ServerProcess,
    server::{Running, config, start},
    workspace::{CONNECTOR_TOKEN, connector_config, inject_once, task_category, unreachable_host},
};

const TIMEOUT: Duration = Duration::from_secs(30);

async fn get(server: &Running, resource_meta: &[u8], timeout: Duration) -> Phase {
    let mut request = Request::new(GetTaskRequest {
        resource_meta: resource_meta.to_vec(),
        task_category: Some(task_category()),
        ..GetTaskRequest::default()
    });
    request.set_timeout(timeout);
    server.tasks().get_task(request).await.unwrap().into_inner().resource.unwrap().phase()
}

async fn create(server: &Running, request: CreateTaskRequest) -> Vec<u8> {
    let mut tasks = server.tasks();
    Box::pin(tasks.create_task(request)).await.unwrap().into_inner().resource_meta
}

async fn emulator() -> Emulator {
    Emulator::builder().token(CONNECTOR_TOKEN).start().await.unwrap()
}

/// Starts a server, lets one run succeed and every kind of failure happen once.
async fn start_after_failures(emulator: &Emulator, unreachable: &str) -> Running {
    let host = emulator.https_host();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), CONNECTOR_TOKEN).unwrap();
    let databricks = Config {
        access_token: None,
        access_token_file: Some(file.path().to_owned()),
        access_token_hosts: vec![host.clone(), unreachable.to_owned()],
        ..connector_config(emulator)
    };
    let config = ServiceConfig { status: true, ..config() };
    let server = start(config, registry(databricks).unwrap()).await;

    let request = create_request_for("40_executor_first_attempt", &host);
    let run = create(&server, request.clone()).await;
    until("the run succeeds", async || get(&server, &run, TIMEOUT).await == Phase::Succeeded).await;

    // The second attempt finds the run of the first one active.
    let mut first = request;
    first.output_prefix = format!("{}-1", first.output_prefix);
    attempt_of(&mut first).retry_attempt = 0;
    action_of(&mut first).push_str("-other");
    let mut second = first.clone();
    attempt_of(&mut second).retry_attempt = 1;
    create(&server, first).await;
    let run = create(&server, second).await;

    // The first call exceeds its deadline, the second waits for the rate limit.
    inject_once(emulator, Endpoint::GetRun, Fault::RateLimited(RetryAfter::Seconds(2)));
    get(&server, &run, Duration::from_secs(1)).await;
    get(&server, &run, TIMEOUT).await;
    inject_once(emulator, Endpoint::GetRun, Fault::Answer(CannedResponse::json(503, "{}")));
    get(&server, &run, TIMEOUT).await;

    // Each call makes six attempts; ten failures in a row open the circuit breaker, so the last call is not sent.
    let meta = json!({"databricks_instance": unreachable, "run_id": "1"}).to_string();
    for _ in 0..3 {
        get(&server, meta.as_bytes(), TIMEOUT).await;
    }
    server
}

fn attempt_of(request: &mut CreateTaskRequest) -> &mut flyteidl2::core::TaskExecutionIdentifier {
    request.task_execution_metadata.as_mut().unwrap().task_execution_id.as_mut().unwrap()
}

fn action_of(request: &mut CreateTaskRequest) -> &mut String {
    &mut attempt_of(request).node_execution_id.as_mut().unwrap().node_id
}

/// Returns the names of the metric families.
fn families(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|rest| rest.split_once(' ').unwrap().0.to_owned()).collect()
}

/// Returns the metrics in the first column of the tables in docs/deploy.md.
fn documented() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/deploy.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once("\n## What to watch\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `"));
    cells.map(|rest| rest.split_once('`').unwrap().0.to_owned()).collect()
}

fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample} in\n{text}")).parse().unwrap()
}

#[tokio::test]
async fn metrics_are_documented_and_count_failures() {
    let emulator = emulator().await;
    let (_socket, unreachable) = unreachable_host();
    let server = start_after_failures(&emulator, &unreachable).await;
    let host = emulator.https_host();
    server.metadata().list_connectors(ListConnectorsRequest {}).await.unwrap();
    let unknown = GetConnectorRequest { name: "unknown".to_owned() };
    server.metadata().get_connector(unknown).await.unwrap_err();

    let (_, text) = server.page("/metrics").await;
    assert_eq!(families(&text), documented(), "exported, and documented in docs/deploy.md");

    let databricks = "flyte_connector_databricks";
    for (sample, least) in [
        (format!(r#"{databricks}_token_refreshes_total{{kind="pat",outcome="ok"}}"#), 1.0),
        (format!(r#"{databricks}_submit_to_running_seconds_count{{workspace="{host}"}}"#), 1.0),
        (
            format!(
                r#"{databricks}_run_duration_seconds_count{{workspace="{host}",phase="Succeeded"}}"#
            ),
            1.0,
        ),
        (format!(r#"{databricks}_retries_total{{workspace="{host}",endpoint="runs/get"}}"#), 1.0),
        (format!(r#"{databricks}_orphans_cancelled_total{{cause="earlier_attempt"}}"#), 1.0),
        (r#"flyte_connector_rpcs_total{task_type="none",method="ListConnectors",code="OK"}"#.to_owned(), 1.0),
        (r#"flyte_connector_rpcs_total{task_type="none",method="GetConnector",code="NOT_FOUND"}"#.to_owned(), 1.0),
        (r#"flyte_connector_rpc_duration_seconds_count{task_type="none",method="GetConnector"}"#.to_owned(), 1.0),
    ] {
        assert!(value(&text, &sample) >= least, "{sample} in\n{text}");
    }
    let ended = format!(
        r#"{databricks}_run_duration_seconds_count{{workspace="{host}",phase="Succeeded"}}"#
    );
    assert!((value(&text, &ended) - 1.0).abs() < f64::EPSILON, "one run has ended");
}

#[tokio::test]
async fn status_page_shows_workspaces_runs_and_errors_without_secrets() {
    let emulator = emulator().await;
    let (_socket, unreachable) = unreachable_host();
    let server = start_after_failures(&emulator, &unreachable).await;
    let (code, text) = server.page("/status").await;
    assert_eq!(code, 200);
    let page: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(page["version"], env!("CARGO_PKG_VERSION"), "{page:#}");
    // The creation of the second attempt still counts as in flight.
    assert_eq!((&page["draining"], &page["in_flight"]), (&json!(false), &json!(1)), "{page:#}");
    let connector = &page["connectors"][0];
    assert_eq!(connector["name"], "Databricks Connector", "{page:#}");
    let status = &connector["status"];

    let find = |host: &str| {
        let workspaces = status["workspaces"].as_array().unwrap();
        workspaces.iter().find(|workspace| workspace["host"] == host).unwrap()
    };
    let reachable = find(&emulator.https_host());
    assert_eq!(reachable["credentials"], json!(["FLYTE_DATABRICKS_ACCESS_TOKEN"]), "{reachable:#}");
    assert_eq!(reachable["breaker"]["state"], "closed", "{reachable:#}");
    let budget = &reachable["budgets"][0];
    assert_eq!(
        (&budget["limit"], &budget["reads"]["in_use"]),
        (&json!(64), &json!(0)),
        "{reachable:#}"
    );
    assert_eq!(budget["reads"]["waiting"], 0, "{reachable:#}");
    assert!(budget["writes"]["per_second"].is_number(), "{reachable:#}");
    assert_ne!(find(&unreachable)["breaker"]["state"], "closed", "{status:#}");

    assert!(status["runs"].is_object(), "{status:#}");
    assert_eq!(status["runs"]["Succeeded"], 1, "{status:#}");
    let errors = status["last_errors"].as_array().unwrap();
    assert_eq!((&errors[0]["host"], &errors[0]["kind"]), (&json!(unreachable), &json!("Connect")));
    assert!(errors[0]["time"].as_str().unwrap().ends_with('Z'), "{status:#}");
    assert!(errors.iter().any(|error| error["status"] == 503), "{status:#}");
    assert!(!text.contains("dapi"), "{text}");
}

#[tokio::test]
async fn invalid_requests_add_no_series() {
    let emulator = emulator().await;
    let server = start(config(), registry(connector_config(&emulator)).unwrap()).await;
    let mut tasks = server.tasks();
    let mut sizes = Vec::new();
    for number in 1..=60 {
        let mut request = create_request("40_executor_first_attempt");
        let template = request.template.as_mut().unwrap();
        template.r#type = format!("invented-{number}\"\n}} 1");
        tasks.create_task(request).await.unwrap_err();
        let host = format!("invented-{number}.example.com");
        let meta = json!({"databricks_instance": host, "run_id": number.to_string()});
        get(&server, meta.to_string().as_bytes(), TIMEOUT).await;
        let name = format!("invented-{number}");
        server.metadata().get_connector(GetConnectorRequest { name }).await.unwrap_err();
        let (_, text) = server.page("/metrics").await;
        assert!(!text.contains("invented"), "{text}");
        sizes.push(text.lines().count());
    }
    assert_eq!(sizes[0], sizes[59], "{sizes:?}");
}

async fn scrape(process: &ServerProcess) -> String {
    let response = reqwest::get(format!("http://{}/metrics", process.http)).await.unwrap();
    response.text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn call_in_flight_at_sigterm_is_logged_and_in_the_last_scrape() {
    let workspace = PausedWorkspace::start().await;
    let process = ServerProcess::start_for_local_workspaces("");
    let line = r#"flyte_connector_rpcs_total{task_type="databricks",method="GetTask",code="OK"} "#;
    assert!(scrape(&process).await.contains(&format!("{line}0\n")));
    let meta = json!({"databricks_instance": workspace.host, "run_id": "1"}).to_string();
    let request = GetTaskRequest {
        resource_meta: meta.into_bytes(),
        task_category: Some(task_category()),
        connection: workspace.request().connection,
        ..GetTaskRequest::default()
    };
    let mut tasks = process.tasks().await;
    let call = tokio::spawn(async move { tasks.get_task(request).await.is_ok() });
    workspace.connected.acquire().await.unwrap().forget();

    process.signal("TERM");
    until("the server is not ready", async || process.http_status("/readyz").await == 503).await;
    workspace.resume.add_permits(1);
    assert!(call.await.unwrap());
    let last = scrape(&process).await;
    assert!(last.contains(&format!("{line}1\n")), "{last}");

    let (code, log) = process.wait();
    assert_eq!(code, Some(0), "{log}");
    let answered = log.lines().find(|line| line.contains("call answered")).unwrap();
    assert!(answered.contains("GetTask") && answered.contains("127.0.0.1"), "{answered}");
    assert!(!log.contains("no metrics scrape followed"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn call_log_line_has_workspace_run_phase_and_requests_in_both_formats() {
    let emulator = Emulator::builder().token("dapi-DATABRICKS_TOKEN").start().await.unwrap();
    let host = emulator.http_url();
    for flags in ["", "--log-format human"] {
        let mut process = ServerProcess::start_for_local_workspaces(flags);
        let request = create_request_for("01_new_cluster", &host);
        let connection = request.connection.clone();
        let mut tasks = process.tasks().await;
        let response = Box::pin(tasks.create_task(request)).await.unwrap();
        let resource_meta = response.into_inner().resource_meta;
        let run_id = emulator.runs().last().unwrap().run_id.to_string();
        let created = process.wait_for_line("call answered");

        inject_once(&emulator, Endpoint::GetRun, Fault::Answer(CannedResponse::json(503, "{}")));
        let category = Some(task_category());
        let get = GetTaskRequest {
            resource_meta: resource_meta.clone(),
            task_category: category.clone(),
            connection: connection.clone(),
            ..GetTaskRequest::default()
        };
        tasks.get_task(get).await.unwrap();
        let read = process.wait_for_line("call answered");
        let line = process.log.lines().last().unwrap().to_owned();
        let delete = DeleteTaskRequest { resource_meta, task_category: category, connection };
        tasks.delete_task(delete).await.unwrap();

        if flags.is_empty() {
            let span = &created["span"];
            assert_eq!((&span["workspace"], &span["run_id"]), (&json!(host), &json!(run_id)));
            let span = &read["span"];
            assert_eq!((&span["workspace"], &span["run_id"]), (&json!(host), &json!(run_id)));
            assert_eq!(span["requests"], 2, "{read}");
            assert_eq!(read["flyte.phase"], "WAITING_FOR_RESOURCES", "{read}");
            assert!(read["duration_ms"].is_u64(), "{read}");
        } else {
            for word in [
                format!("workspace=\"{host}\""),
                format!("run_id={run_id}"),
                "requests=2".to_owned(),
                "flyte.phase=\"".to_owned(),
                "duration_ms=".to_owned(),
                "rpc.method=\"GetTask\"".to_owned(),
            ] {
                assert!(line.contains(&word), "{word} is not in {line}");
            }
        }
    }
}

/// Returns the fields of a line in the human format, as `name=`.
fn field_names(line: &str) -> Vec<&str> {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._".contains(c))
    };
    // Messages and errors are quoted or at the end, and contain no `name=` here.
    line.split([' ', '{'])
        .filter_map(|word| word.split_once('='))
        .map(|(name, _)| name)
        .filter(|name| is_name(name))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn log_of_a_second_attempt_has_each_field_once_and_counts_from_one() {
    let emulator = emulator().await;
    let host = emulator.http_url();
    let mut process = ServerProcess::start(
        "--log-format human --last-scrape 0",
        &[
            ("FLYTE_DATABRICKS_ALLOWED_HOSTS", "127.0.0.1:*"),
            ("FLYTE_DATABRICKS_INSTANCE", &host),
            ("FLYTE_DATABRICKS_ACCESS_TOKEN", CONNECTOR_TOKEN),
        ],
    );
    let mut tasks = process.tasks().await;
    let mut request = create_request_for("40_executor_first_attempt", &host);
    // Without an output prefix the result of the run decides.
    request.output_prefix = String::new();
    let mut second = request.clone();
    attempt_of(&mut second).retry_attempt = 1;
    Box::pin(tasks.create_task(request)).await.unwrap();
    let created = Box::pin(tasks.create_task(second)).await.unwrap().into_inner();
    let get = GetTaskRequest {
        resource_meta: created.resource_meta.clone(),
        task_category: Some(task_category()),
        ..GetTaskRequest::default()
    };
    until("the run ends", async || {
        let response = tasks.clone().get_task(get.clone()).await.unwrap().into_inner();
        response.resource.unwrap().phase() == Phase::Succeeded
    })
    .await;
    // A restarted server does not know that the run has ended.
    process.signal("TERM");
    process.wait_for_line("stopped: all calls are complete");
    let first_log = std::mem::take(&mut process.log);
    drop(process);
    let mut process = ServerProcess::start(
        "--log-format human --last-scrape 0",
        &[
            ("FLYTE_DATABRICKS_ALLOWED_HOSTS", "127.0.0.1:*"),
            ("FLYTE_DATABRICKS_INSTANCE", &host),
            ("FLYTE_DATABRICKS_ACCESS_TOKEN", CONNECTOR_TOKEN),
        ],
    );
    let delete = DeleteTaskRequest {
        resource_meta: created.resource_meta,
        task_category: Some(task_category()),
        connection: None,
    };
    process.tasks().await.delete_task(delete).await.unwrap();
    process.wait_for_line("call answered");
    let log = first_log + &process.log;

    for line in log.lines() {
        let names = field_names(line);
        let unique: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), unique.len(), "{line}");
    }
    let has = |words: &[&str]| {
        let found = log.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "no line with {words:?} in\n{log}");
    };
    has(&["call answered", "CreateTask", "flyte.attempt=1", "requests="]);
    has(&["call answered", "CreateTask", "flyte.attempt=2"]);
    has(&["run ended", "phase=\"SUCCEEDED\""]);
    has(&["cancel of an orphaned run requested", "orphan=", ":1]"]);
    has(&["cancel requested; it has no effect on a run that has ended"]);
    for word in ["attempts=", "reason=\"\"", "reason= ", "cancel accepted", "4294967295"] {
        assert!(!log.contains(word), "{word} in\n{log}");
    }
}

#[tokio::test]
async fn connector_metrics_are_exported_from_the_start() {
    let server = start(config(), registry(Config::default()).unwrap()).await;
    let (_, text) = server.page("/metrics").await;
    for line in [
        "flyte_connector_databricks_unchecked_successes_total 0",
        "# TYPE flyte_connector_databricks_unchecked_successes_total counter",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}
