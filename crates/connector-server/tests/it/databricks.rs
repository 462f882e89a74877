//! The real connector against a fake workspace over HTTPS, driven by requests as a Flyte backend sent them.

use std::path::{Path, PathBuf};

use connector_server::registry;
use databricks_connector::Config;
use databricks_emulator::{Emulator, EmulatorBuilder};
use flyteidl2::{
    connector::{
        CreateTaskRequest, DeleteTaskRequest, GetTaskLogsRequest, GetTaskRequest, TaskCategory,
    },
    core::task_execution::Phase,
};
use prost::Message as _;
use prost_types::{Value, value::Kind};
use secrecy::SecretString;
use serde_json::json;
use tonic::Code;

use crate::{
    cli::Serving,
    server::{Running, config, start},
};

/// The connector's own token, for the requests that bring none.
const OWN_TOKEN: &str = "dapi-connector";

/// The captured requests that are refused before anything is sent, with the code and what the message says.
const REFUSED: &[(&str, Code, &str)] =
    &[("28_empty_request", Code::NotFound, "the request names no task type")];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// A captured request, as it was.
pub fn captured(name: &str) -> CreateTaskRequest {
    let bytes =
        std::fs::read(fixtures().join("requests").join(format!("{name}.create.pb"))).unwrap();
    CreateTaskRequest::decode(bytes.as_slice()).unwrap()
}

/// Points a request that names a workspace at this one.
pub fn pointed_at(mut request: CreateTaskRequest, host: &str) -> CreateTaskRequest {
    let custom = request.template.as_mut().and_then(|template| template.custom.as_mut());
    if let Some(instance) = custom.and_then(|custom| custom.fields.get_mut("databricksInstance")) {
        *instance = Value { kind: Some(Kind::StringValue(host.to_owned())) };
    }
    request
}

/// Every captured request to create a task, by name.
fn all_captured() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(fixtures().join("requests"))
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().to_str()?.strip_suffix(".create.pb").map(str::to_owned)
        })
        .collect();
    names.sort();
    assert!(names.len() >= 13, "{names:?}");
    names
}

/// A workspace that knows every token of the captured requests and the connector's own.
async fn workspace() -> Emulator {
    let tokens = ["dapi-DATABRICKS_TOKEN", "dapi-dbx_pat", "dapi-", OWN_TOKEN];
    tokens.into_iter().fold(Emulator::builder(), EmulatorBuilder::token).start().await.unwrap()
}

/// Stands in for the object store of the captured requests: every function left its outputs, and none an error.
#[derive(Debug)]
struct Outputs;

impl databricks_connector::TaskFiles for Outputs {
    fn read<'a>(&'a self, _url: &'a str, _most: u64) -> databricks_connector::Looking<'a, Vec<u8>> {
        Box::pin(async { databricks_connector::Looked::Absent })
    }

    fn exists<'a>(&'a self, _url: &'a str) -> databricks_connector::Looking<'a, ()> {
        Box::pin(async { databricks_connector::Looked::Found(()) })
    }
}

pub fn configured(emulator: &Emulator) -> Config {
    Config {
        instance: Some(emulator.https_host()),
        access_token: Some(SecretString::from(OWN_TOKEN)),
        allowed_hosts: vec!["localhost:*".to_owned()],
        extra_roots_pem: Some(emulator.certificate_pem().as_bytes().to_vec()),
        task_files: std::sync::Arc::new(Outputs),
        ..Config::default()
    }
}

async fn serving(databricks: Config) -> Running {
    start(config(), registry(databricks).unwrap()).await
}

/// The body without the digest of the connector's own script, which changes with every word of it.
fn without_digest(body: &serde_json::Value) -> serde_json::Value {
    let text = body.to_string();
    let Some((before, rest)) = text.split_once("flyte_entrypoint_") else { return body.clone() };
    let (_, after) = rest.split_once(".py").unwrap();
    serde_json::from_str(&format!("{before}flyte_entrypoint_[digest].py{after}")).unwrap()
}

pub fn category() -> TaskCategory {
    TaskCategory { name: "databricks".to_owned(), version: 0 }
}

#[tokio::test]
async fn every_captured_request_is_submitted_as_reviewed() {
    for name in all_captured() {
        let emulator = workspace().await;
        let server = serving(configured(&emulator)).await;
        let answer =
            server.tasks().create_task(pointed_at(captured(&name), &emulator.https_host())).await;
        if let Some((_, code, words)) = REFUSED.iter().find(|(refused, ..)| *refused == name) {
            let status = answer.unwrap_err();
            assert_eq!(status.code(), *code, "{name}: {status:?}");
            assert!(status.message().contains(words), "{name}: {status:?}");
            assert!(emulator.requests().is_empty(), "{name}");
            continue;
        }
        let meta: serde_json::Value =
            serde_json::from_slice(&answer.unwrap().into_inner().resource_meta).unwrap();
        let run_id = emulator.runs()[0].run_id.to_string();
        let mut wanted = json!({"databricks_instance": emulator.https_host(), "run_id": run_id});
        if name == "10_own_git_source" {
            // Work of the user's own, which the Python plugin would have overwritten.
            wanted["outputs"] = json!({"o0": "integer"});
        }
        assert_eq!(meta, wanted, "{name}");
        let submissions = emulator.submissions();
        assert_eq!(submissions.len(), 1, "{name}");
        insta::assert_json_snapshot!(name, without_digest(&submissions[0]));
    }
}

#[tokio::test]
async fn a_task_is_created_watched_until_it_succeeds_and_deleted() {
    let emulator = workspace().await;
    let server = serving(configured(&emulator)).await;
    let mut tasks = server.tasks();
    let request = pointed_at(captured("40_executor_first_attempt"), &emulator.https_host());
    let output_prefix = request.output_prefix.clone();
    let resource_meta = tasks.create_task(request).await.unwrap().into_inner().resource_meta;

    let mut phases = Vec::new();
    while phases.last() != Some(&Phase::Succeeded) {
        let request = GetTaskRequest {
            resource_meta: resource_meta.clone(),
            task_category: Some(category()),
            output_prefix: output_prefix.clone(),
            connection: None,
        };
        let resource = tasks.get_task(request).await.unwrap().into_inner().resource.unwrap();
        assert_eq!(resource.log_links[0].name, "Databricks Console");
        if phases.last() != Some(&resource.phase()) {
            phases.push(resource.phase());
        }
        assert!(phases.len() < 10, "{phases:?}");
    }
    assert_eq!(
        phases,
        [Phase::WaitingForResources, Phase::Initializing, Phase::Running, Phase::Succeeded]
    );

    let request = GetTaskLogsRequest {
        resource_meta: resource_meta.clone(),
        task_category: Some(category()),
        ..Default::default()
    };
    let mut logs = tasks.get_task_logs(request).await.unwrap().into_inner();
    assert!(logs.message().await.unwrap().is_some());

    let request =
        DeleteTaskRequest { resource_meta, task_category: Some(category()), connection: None };
    tasks.delete_task(request).await.unwrap();
    assert!(!emulator.runs()[0].cancelled, "a finished run is left alone");

    let host = emulator.https_host();
    let metrics = server.page("/metrics").await.1;
    for line in [
        format!(
            r#"flyte_connector_databricks_requests_total{{workspace="{host}",endpoint="runs/submit",status="200",attempt="first"}} 1"#
        ),
        format!(
            r#"flyte_connector_databricks_request_seconds_total{{workspace="{host}",endpoint="runs/get"}} "#
        ),
        format!(r#"flyte_connector_databricks_breaker_open{{workspace="{host}"}} 0"#),
        format!(
            r#"flyte_connector_databricks_calls_in_flight{{workspace="{host}",lane="reads"}} 0"#
        ),
        format!(
            r#"flyte_connector_databricks_budget_per_second{{workspace="{host}",lane="writes"}} 20"#
        ),
        r#"flyte_connector_databricks_runs{phase="Running"} 0"#.to_owned(),
        "process_resident_memory_bytes ".to_owned(),
        "process_open_fds ".to_owned(),
        "process_start_time_seconds ".to_owned(),
        "process_cpu_seconds_total ".to_owned(),
    ] {
        assert!(
            metrics.lines().any(|found| found.starts_with(&line)),
            "{line} is not in\n{metrics}"
        );
    }
}

#[tokio::test]
async fn deleting_a_running_task_cancels_its_run() {
    let emulator = workspace().await;
    let server = serving(configured(&emulator)).await;
    let mut tasks = server.tasks();
    let request = pointed_at(captured("01_new_cluster"), &emulator.https_host());
    let connection = request.connection.clone();
    let resource_meta = tasks.create_task(request).await.unwrap().into_inner().resource_meta;
    tasks
        .delete_task(DeleteTaskRequest {
            resource_meta,
            task_category: Some(category()),
            connection,
        })
        .await
        .unwrap();
    assert!(emulator.runs()[0].cancelled);
}

#[tokio::test]
async fn a_request_that_is_sent_again_gives_the_same_run() {
    let emulator = workspace().await;
    let server = serving(configured(&emulator)).await;
    let mut metas = Vec::new();
    for _ in 0..2 {
        let request = pointed_at(captured("40_executor_first_attempt"), &emulator.https_host());
        metas.push(server.tasks().create_task(request).await.unwrap().into_inner().resource_meta);
    }
    assert_eq!(metas[0], metas[1]);
    assert_eq!(emulator.runs().len(), 1);
}

#[tokio::test]
async fn what_is_missing_is_told_before_anything_is_sent() {
    let emulator = workspace().await;
    let bare =
        serving(Config { instance: None, access_token: None, ..configured(&emulator) }).await;
    let no_instance = captured("07_no_token_no_instance");
    let no_token = pointed_at(captured("40_executor_first_attempt"), &emulator.https_host());
    let mut no_conf = pointed_at(captured("01_new_cluster"), &emulator.https_host());
    no_conf.template.as_mut().unwrap().custom.as_mut().unwrap().fields.remove("databricksConf");
    let mut neither = captured("07_no_token_no_instance");
    neither.template.as_mut().unwrap().custom = None;
    for (request, code, word) in [
        (no_instance, Code::FailedPrecondition, "FLYTE_DATABRICKS_INSTANCE"),
        (no_token, Code::FailedPrecondition, "FLYTE_DATABRICKS_ACCESS_TOKEN"),
        (no_conf, Code::InvalidArgument, "databricks_conf"),
        // What the task lacks is told before what the server lacks.
        (neither, Code::InvalidArgument, "databricks_conf"),
    ] {
        let status = bare.tasks().create_task(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(word), "{status:?}");
    }
    assert!(emulator.requests().is_empty());
}

#[tokio::test]
async fn meta_that_no_server_wrote_is_an_invalid_argument() {
    let emulator = workspace().await;
    let server = serving(configured(&emulator)).await;
    for meta in
        ["", "{}", "[]", r#"{"databricks_instance": "h.cloud.databricks.com", "run_id": "twelve"}"#]
    {
        let get = GetTaskRequest {
            resource_meta: meta.as_bytes().to_vec(),
            task_category: Some(category()),
            ..GetTaskRequest::default()
        };
        assert_eq!(
            server.tasks().get_task(get).await.unwrap_err().code(),
            Code::InvalidArgument,
            "{meta}"
        );
    }
    assert!(emulator.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_cert_file_adds_a_root_to_the_binary() {
    let emulator = workspace().await;
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("roots.pem");
    std::fs::write(&roots, emulator.certificate_pem()).unwrap();
    let host = emulator.https_host();
    // No other variable is set, SSL_CERT_DIR among them.
    let mut variables = vec![
        ("FLYTE_DATABRICKS_INSTANCE", host.as_str()),
        ("FLYTE_DATABRICKS_ACCESS_TOKEN", OWN_TOKEN),
        ("FLYTE_DATABRICKS_ALLOWED_HOSTS", "localhost:*, other.example"),
        ("SSL_CERT_FILE", roots.to_str().unwrap()),
    ];
    let trusting = Serving::start("", &variables);
    let request = pointed_at(captured("40_executor_first_attempt"), &host);
    trusting.tasks().await.create_task(request.clone()).await.unwrap();
    assert_eq!(emulator.runs().len(), 1);

    variables.pop();
    let distrusting = Serving::start("", &variables);
    let status = distrusting.tasks().await.create_task(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(emulator.requests().len() == 1, "an untrusted host gets no request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_one_log_line_that_names_the_run_and_no_secret() {
    let mut serving = Serving::start("", &[("FLYTE_DATABRICKS_ALLOWED_HOSTS", "localhost:*")]);
    let mut request = captured("01_new_cluster");
    request.template.as_mut().unwrap().custom.as_mut().unwrap().fields.remove("databricksConf");
    serving.tasks().await.create_task(request).await.unwrap_err();
    let line = serving.line("call answered with an error");
    assert_eq!(line["rpc.code"], "INVALID_ARGUMENT", "{line}");
    assert!(line["duration_ms"].is_u64() && line["error"].is_string(), "{line}");
    let span = &line["span"];
    assert_eq!(span["rpc.method"], "CreateTask", "{line}");
    assert_eq!(span["flyte.task_type"], "databricks", "{line}");
    assert_eq!(
        (&span["flyte.project"], &span["flyte.domain"], &span["flyte.run"], &span["flyte.action"]),
        (&json!("flytesnacks"), &json!("development"), &json!("r001x7k2m"), &json!("a0")),
        "{line}"
    );
    serving.signal("TERM");
    let (code, rest) = serving.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(!rest.contains("call answered"), "one line a call: {rest}");
    assert!(!format!("{line}{rest}").contains("dapi-"), "{line} {rest}");
}
