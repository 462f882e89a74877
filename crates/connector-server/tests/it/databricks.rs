//! The Databricks connector against the emulator over HTTPS, with requests captured from Flyte.

use connector_server::registry;
use databricks_connector::Config;
use databricks_emulator::{Emulator, EmulatorBuilder};
use flyteidl2::{
    connector::{DeleteTaskRequest, GetTaskLogsRequest, GetTaskRequest},
    core::task_execution::Phase,
};
use serde_json::json;
use tonic::Code;

use crate::{
    fixtures::{create_request, create_request_for, names},
    process::ServerProcess,
    server::{Running, config, start},
    workspace::{CONNECTOR_TOKEN, connector_config, task_category},
};

/// Captured requests that are rejected before any request is sent: name, code and part of the message.
const REJECTED: &[(&str, Code, &str)] =
    &[("28_empty_request", Code::NotFound, "the request names no task type")];

/// Starts a workspace that accepts the tokens of all captured requests and the connector's own.
async fn workspace() -> Emulator {
    let tokens = ["dapi-DATABRICKS_TOKEN", "dapi-dbx_pat", "dapi-", CONNECTOR_TOKEN];
    tokens.into_iter().fold(Emulator::builder(), EmulatorBuilder::token).start().await.unwrap()
}

async fn serving(databricks: Config) -> Running {
    start(config(), registry(databricks).unwrap()).await
}

/// Removes the digest of the connector's entrypoint script, which depends on its text.
fn without_digest(body: &serde_json::Value) -> serde_json::Value {
    let text = body.to_string();
    let Some((before, rest)) = text.split_once("flyte_entrypoint_") else { return body.clone() };
    let (_, after) = rest.split_once(".py").unwrap();
    serde_json::from_str(&format!("{before}flyte_entrypoint_[digest].py{after}")).unwrap()
}

#[tokio::test]
async fn captured_requests_are_submitted_as_in_snapshots() {
    for name in names() {
        let emulator = workspace().await;
        let server = serving(connector_config(&emulator)).await;
        let response =
            server.tasks().create_task(create_request_for(&name, &emulator.https_host())).await;
        if let Some((_, code, words)) = REJECTED.iter().find(|(rejected, ..)| *rejected == name) {
            let status = response.unwrap_err();
            assert_eq!(status.code(), *code, "{name}: {status:?}");
            assert!(status.message().contains(words), "{name}: {status:?}");
            assert!(emulator.requests().is_empty(), "{name}");
            continue;
        }
        let meta: serde_json::Value =
            serde_json::from_slice(&response.unwrap().into_inner().resource_meta).unwrap();
        let run_id = emulator.runs()[0].run_id.to_string();
        let mut expected = json!({"databricks_instance": emulator.https_host(), "run_id": run_id});
        if name == "10_own_git_source" {
            // The task type is the user's; the Python plugin would have overwritten it.
            expected["outputs"] = json!({"o0": "integer"});
        }
        assert_eq!(meta, expected, "{name}");
        let submissions = emulator.submissions();
        assert_eq!(submissions.len(), 1, "{name}");
        insta::assert_json_snapshot!(name, without_digest(&submissions[0]));
    }
}

#[tokio::test]
async fn task_is_created_polled_until_success_and_deleted() {
    let emulator = workspace().await;
    let server = serving(connector_config(&emulator)).await;
    let mut tasks = server.tasks();
    let request = create_request_for("40_executor_first_attempt", &emulator.https_host());
    let output_prefix = request.output_prefix.clone();
    let resource_meta = tasks.create_task(request).await.unwrap().into_inner().resource_meta;

    let mut phases = Vec::new();
    while phases.last() != Some(&Phase::Succeeded) {
        let request = GetTaskRequest {
            resource_meta: resource_meta.clone(),
            task_category: Some(task_category()),
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
        task_category: Some(task_category()),
        ..Default::default()
    };
    let mut logs = tasks.get_task_logs(request).await.unwrap().into_inner();
    assert!(logs.message().await.unwrap().is_some());

    let request =
        DeleteTaskRequest { resource_meta, task_category: Some(task_category()), connection: None };
    tasks.delete_task(request).await.unwrap();
    assert!(!emulator.runs()[0].cancelled, "a finished run is not cancelled");

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
async fn delete_cancels_running_run() {
    let emulator = workspace().await;
    let server = serving(connector_config(&emulator)).await;
    let mut tasks = server.tasks();
    let request = create_request_for("01_new_cluster", &emulator.https_host());
    let connection = request.connection.clone();
    let resource_meta = tasks.create_task(request).await.unwrap().into_inner().resource_meta;
    tasks
        .delete_task(DeleteTaskRequest {
            resource_meta,
            task_category: Some(task_category()),
            connection,
        })
        .await
        .unwrap();
    assert!(emulator.runs()[0].cancelled);
}

#[tokio::test]
async fn repeated_create_returns_the_same_run() {
    let emulator = workspace().await;
    let server = serving(connector_config(&emulator)).await;
    let mut metas = Vec::new();
    for _ in 0..2 {
        let request = create_request_for("40_executor_first_attempt", &emulator.https_host());
        metas.push(server.tasks().create_task(request).await.unwrap().into_inner().resource_meta);
    }
    assert_eq!(metas[0], metas[1]);
    assert_eq!(emulator.runs().len(), 1);
}

#[tokio::test]
async fn missing_configuration_is_reported_before_any_request() {
    let emulator = workspace().await;
    let unconfigured =
        serving(Config { instance: None, access_token: None, ..connector_config(&emulator) }).await;
    let no_instance = create_request("07_no_token_no_instance");
    let no_token = create_request_for("40_executor_first_attempt", &emulator.https_host());
    let mut no_conf = create_request_for("01_new_cluster", &emulator.https_host());
    no_conf.template.as_mut().unwrap().custom.as_mut().unwrap().fields.remove("databricksConf");
    let mut neither = create_request("07_no_token_no_instance");
    neither.template.as_mut().unwrap().custom = None;
    for (request, code, word) in [
        (no_instance, Code::FailedPrecondition, "FLYTE_DATABRICKS_INSTANCE"),
        (no_token, Code::FailedPrecondition, "FLYTE_DATABRICKS_ACCESS_TOKEN"),
        (no_conf, Code::InvalidArgument, "databricks_conf"),
        // Errors of the task come before errors of the server.
        (neither, Code::InvalidArgument, "databricks_conf"),
    ] {
        let status = unconfigured.tasks().create_task(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(word), "{status:?}");
    }
    assert!(emulator.requests().is_empty());
}

#[tokio::test]
async fn invalid_resource_meta_is_rejected_as_invalid_argument() {
    let emulator = workspace().await;
    let server = serving(connector_config(&emulator)).await;
    for meta in
        ["", "{}", "[]", r#"{"databricks_instance": "h.cloud.databricks.com", "run_id": "twelve"}"#]
    {
        let get = GetTaskRequest {
            resource_meta: meta.as_bytes().to_vec(),
            task_category: Some(task_category()),
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
async fn ssl_cert_file_adds_a_root_certificate() {
    let emulator = workspace().await;
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("roots.pem");
    std::fs::write(&roots, emulator.certificate_pem()).unwrap();
    let host = emulator.https_host();
    // All other variables are unset, SSL_CERT_DIR included.
    let mut variables = vec![
        ("FLYTE_DATABRICKS_INSTANCE", host.as_str()),
        ("FLYTE_DATABRICKS_ACCESS_TOKEN", CONNECTOR_TOKEN),
        ("FLYTE_DATABRICKS_ALLOWED_HOSTS", "localhost:*, other.example"),
        ("SSL_CERT_FILE", roots.to_str().unwrap()),
    ];
    let trusting = ServerProcess::start("", &variables);
    let request = create_request_for("40_executor_first_attempt", &host);
    trusting.tasks().await.create_task(request.clone()).await.unwrap();
    assert_eq!(emulator.runs().len(), 1);

    variables.pop();
    let distrusting = ServerProcess::start("", &variables);
    let status = distrusting.tasks().await.create_task(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(emulator.requests().len() == 1, "an untrusted host receives no request");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_logs_one_line_with_the_run_and_no_secret() {
    let mut process =
        ServerProcess::start("", &[("FLYTE_DATABRICKS_ALLOWED_HOSTS", "localhost:*")]);
    let mut request = create_request("01_new_cluster");
    request.template.as_mut().unwrap().custom.as_mut().unwrap().fields.remove("databricksConf");
    process.tasks().await.create_task(request).await.unwrap_err();
    let line = process.wait_for_line("call answered with an error");
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
    process.signal("TERM");
    let (code, rest) = process.wait();
    assert_eq!(code, Some(0), "{rest}");
    assert!(!rest.contains("call answered"), "one line per call: {rest}");
    assert!(!format!("{line}{rest}").contains("dapi-"), "{line} {rest}");
}
