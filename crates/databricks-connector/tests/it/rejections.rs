//! Requests and configurations that are rejected before any packet is sent.

use connector_core::{Connector, CreateContext, Error, ErrorKind};
use databricks_connector::{Config, ConfigField, DatabricksConnector};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::harness::{Harness, create_context, with_custom};

/// Returns the captured request with exactly this `custom` section.
fn request_with_custom(custom: &Value) -> CreateContext {
    let mut cx = create_context("40_executor_first_attempt");
    cx.template.custom = custom.as_object().map(connector_core::value::struct_from_json);
    cx
}

/// Returns the captured request with this workspace.
fn request_for_host(name: &str, host: &str) -> CreateContext {
    with_custom(create_context(name), |custom| {
        custom.insert("databricksInstance".to_owned(), json!(host));
    })
}

async fn rejection(config: Config, cx: CreateContext) -> (ErrorKind, String) {
    let error: Error = DatabricksConnector::new(config).unwrap().create(cx).await.unwrap_err();
    (error.kind(), format!("{error}; {}", error.hint().unwrap_or_default()))
}

#[tokio::test]
async fn errors_of_the_task_are_reported_before_errors_of_the_server() {
    let cluster = json!({"new_cluster": {"num_workers": 1}});
    for (custom, words) in [
        (Value::Null, "databricks_conf"),
        (json!({}), "databricks_conf"),
        (json!({"databricksConf": null}), "databricks_conf"),
        (json!({"databricksConf": []}), "`databricksConf` must be an object"),
        (json!({"databricksConf": {}}), "`new_cluster` or `existing_cluster_id`"),
        (
            json!({"databricksConf": {"new_cluster": {}, "existing_cluster_id": ""}}),
            "`new_cluster` or `existing_cluster_id`",
        ),
        (
            json!({"databricksConf": {"new_cluster": {"num_workers": 1}, "existing_cluster_id": "c"}}),
            "both",
        ),
        (json!({"databricksConf": {"new_cluster": "x"}}), "`new_cluster` must be an object"),
        (
            json!({"databricksConf": {"existing_cluster_id": 7}}),
            "`existing_cluster_id` must be a string",
        ),
        (
            json!({"databricksConf": {"tasks": [{"task_key": "a"}], "existing_cluster_id": "c"}}),
            "`tasks`",
        ),
        (json!({"databricksConf": cluster, "sparkConf": "x"}), "`sparkConf` must be an object"),
        (
            json!({"databricksConf": cluster, "databricksInstance": 7}),
            "`databricksInstance` must be a string",
        ),
    ] {
        let (kind, message) = rejection(Config::default(), request_with_custom(&custom)).await;
        assert_eq!(kind, ErrorKind::InvalidTask, "{custom}");
        assert!(message.contains(words), "{custom}: {message}");
    }
}

#[tokio::test]
async fn task_without_runtime_arguments_is_rejected() {
    let mut cx = create_context("40_executor_first_attempt");
    cx.template.target = None;
    let (kind, message) = rejection(Config::default(), cx).await;
    assert_eq!(kind, ErrorKind::InvalidTask);
    assert!(message.contains("arguments"), "{message}");
}

#[tokio::test]
async fn missing_workspace_is_rejected_with_the_remedy() {
    let (kind, message) =
        rejection(Config::default(), create_context("07_no_token_no_instance")).await;
    assert_eq!(kind, ErrorKind::FailedPrecondition);
    assert!(message.contains("FLYTE_DATABRICKS_INSTANCE"), "{message}");
}

#[tokio::test]
async fn missing_token_is_rejected_with_both_remedies_and_without_a_request() {
    let harness = Harness::with(|config| Config { access_token: None, ..config }).await;
    let error = harness
        .connector
        .create(harness.request("40_executor_first_attempt", json!({})))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("databricks_token") && hint.contains("FLYTE_DATABRICKS_ACCESS_TOKEN"),
        "{hint}"
    );
    assert!(harness.emulator.requests().is_empty());
}

#[tokio::test]
async fn token_of_the_connector_is_sent_to_its_own_host_only() {
    let config = Config {
        instance: Some("dbc-own.cloud.databricks.com".to_owned()),
        access_token: Some(SecretString::from("dapi-own")),
        ..Config::default()
    };
    // The task names another workspace, which is allowed, and has no token.
    let cx = request_for_host("40_executor_first_attempt", "dbc-other.cloud.databricks.com");
    let (kind, message) = rejection(config, cx).await;
    assert_eq!(kind, ErrorKind::FailedPrecondition);
    assert!(message.contains("dbc-other.cloud.databricks.com"), "{message}");
}

#[tokio::test]
async fn hosts_outside_databricks_domains_are_rejected() {
    for host in [
        "evil.example",
        "cloud.databricks.com.evil.example",
        "dbc-1.cloud.databricks.com:8443",
        "127.0.0.1",
        "169.254.169.254",
        "localhost",
        "[::1]",
        "cloud.databricks.com",
    ] {
        let cx = request_for_host("01_new_cluster", host);
        let (kind, message) = rejection(Config::default(), cx).await;
        assert_eq!(kind, ErrorKind::Forbidden, "{host}");
        assert!(message.contains("FLYTE_DATABRICKS_ALLOWED_HOSTS"), "{host}: {message}");
    }
    for text in [
        "http://dbc-1.cloud.databricks.com",
        "https://user@dbc-1.cloud.databricks.com",
        "ftp://x",
        "a b",
        "https://",
    ] {
        let cx = request_for_host("01_new_cluster", text);
        assert_eq!(rejection(Config::default(), cx).await.0, ErrorKind::InvalidTask, "{text}");
    }
}

#[test]
fn error_of_an_invalid_configuration_names_its_field() {
    let field = |config: Config| DatabricksConnector::new(config).unwrap_err().field();
    assert_eq!(
        field(Config { instance: Some("a b".to_owned()), ..Config::default() }),
        ConfigField::Instance
    );
    assert_eq!(
        field(Config { allowed_hosts: vec!["http://x".to_owned()], ..Config::default() }),
        ConfigField::AllowedHosts
    );
    assert_eq!(
        field(Config { access_token: Some(SecretString::from("t")), ..Config::default() }),
        ConfigField::AccessToken
    );
    assert_eq!(
        field(Config { extra_root_certs_pem: Some(b"not pem".to_vec()), ..Config::default() }),
        ConfigField::Roots
    );
}
