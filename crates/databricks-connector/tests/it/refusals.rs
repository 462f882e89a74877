//! Requests that are refused before any packet is sent.

use connector_core::{Connector, CreateContext, Error, ErrorKind};
use databricks_connector::{Config, ConfigField, DatabricksConnector};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::fixtures::create_context;
use crate::setup::World;

fn with_custom(custom: &Value) -> CreateContext {
    let mut cx = create_context("40_executor_first_attempt");
    cx.template.custom = custom.as_object().map(connector_core::value::struct_from_json);
    cx
}

async fn refused(config: Config, cx: CreateContext) -> (ErrorKind, String) {
    let error: Error = DatabricksConnector::new(config).unwrap().create(cx).await.unwrap_err();
    (error.kind(), format!("{error}; {}", error.hint().unwrap_or_default()))
}

#[tokio::test]
async fn what_the_task_lacks_is_told_before_what_the_server_lacks() {
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
        let (kind, told) = refused(Config::default(), with_custom(&custom)).await;
        assert_eq!(kind, ErrorKind::InvalidTask, "{custom}");
        assert!(told.contains(words), "{custom}: {told}");
    }
}

#[tokio::test]
async fn a_task_without_arguments_for_the_runtime_is_refused() {
    let mut cx = create_context("40_executor_first_attempt");
    cx.template.target = None;
    let (kind, told) = refused(Config::default(), cx).await;
    assert_eq!(kind, ErrorKind::InvalidTask);
    assert!(told.contains("arguments"), "{told}");
}

#[tokio::test]
async fn no_workspace_says_how_to_name_one() {
    let (kind, told) = refused(Config::default(), create_context("07_no_token_no_instance")).await;
    assert_eq!(kind, ErrorKind::FailedPrecondition);
    assert!(told.contains("FLYTE_DATABRICKS_INSTANCE"), "{told}");
}

#[tokio::test]
async fn no_token_is_refused_with_both_remedies_and_without_a_call() {
    let world = World::with(|config| Config { access_token: None, ..config }).await;
    let error = world
        .connector
        .create(world.request("40_executor_first_attempt", json!({})))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("databricks_token") && hint.contains("FLYTE_DATABRICKS_ACCESS_TOKEN"),
        "{hint}"
    );
    assert!(world.emulator.requests().is_empty());
}

#[tokio::test]
async fn the_connectors_own_token_goes_to_its_own_host_alone() {
    let config = Config {
        instance: Some("dbc-own.cloud.databricks.com".to_owned()),
        access_token: Some(SecretString::from("dapi-own")),
        ..Config::default()
    };
    // The task names another workspace, which is allowed, and brings no token.
    let mut cx = create_context("40_executor_first_attempt");
    let mut custom = cx.custom().unwrap();
    custom.insert("databricksInstance".to_owned(), json!("dbc-other.cloud.databricks.com"));
    cx.template.custom = Some(connector_core::value::struct_from_json(&custom));
    let (kind, told) = refused(config, cx).await;
    assert_eq!(kind, ErrorKind::FailedPrecondition);
    assert!(told.contains("dbc-other.cloud.databricks.com"), "{told}");
}

#[tokio::test]
async fn hosts_that_are_not_databricks_are_refused() {
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
        let mut cx = create_context("01_new_cluster");
        let mut custom = cx.custom().unwrap();
        custom.insert("databricksInstance".to_owned(), json!(host));
        cx.template.custom = Some(connector_core::value::struct_from_json(&custom));
        let (kind, told) = refused(Config::default(), cx).await;
        assert_eq!(kind, ErrorKind::Forbidden, "{host}");
        assert!(told.contains("FLYTE_DATABRICKS_ALLOWED_HOSTS"), "{host}: {told}");
    }
    for text in [
        "http://dbc-1.cloud.databricks.com",
        "https://user@dbc-1.cloud.databricks.com",
        "ftp://x",
        "a b",
        "https://",
    ] {
        let mut cx = create_context("01_new_cluster");
        let mut custom = cx.custom().unwrap();
        custom.insert("databricksInstance".to_owned(), json!(text));
        cx.template.custom = Some(connector_core::value::struct_from_json(&custom));
        assert_eq!(refused(Config::default(), cx).await.0, ErrorKind::InvalidTask, "{text}");
    }
}

#[test]
fn a_configuration_that_cannot_be_used_names_its_field() {
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
        field(Config { extra_roots_pem: Some(b"not pem".to_vec()), ..Config::default() }),
        ConfigField::Roots
    );
}
