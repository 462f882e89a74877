//! The connector's own credentials: which one is used, also by later calls.

use std::sync::Arc;

use connector_core::{Connection, Connector, CreateContext, ErrorKind};
use databricks_connector::{Config, DatabricksConnector, Identity, Workspaces};
use databricks_emulator::Emulator;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::harness::{Harness, call, stored};

/// Starts a workspace with credentials of two teams, and a connector that has both.
async fn two_teams() -> Harness {
    let emulator = Emulator::builder()
        .service_principal("principal", "canary-secret")
        .token("dapi-b")
        .start()
        .await
        .unwrap();
    let text = format!(
        "default = \"a\"\n\
         [workspace.a]\nhost = \"{host}\"\nprojects = [\"flytesnacks\"]\n\
         auth = {{ type = \"oauth-m2m\", client_id = \"principal\", client_secret_env = \"SECRET\" }}\n\
         [workspace.b]\nhost = \"{host}\"\nprojects = [\"other\"]\n\
         auth = {{ type = \"pat\", token_env = \"TOKEN\" }}\n",
        host = emulator.http_url(),
    );
    let workspaces = Workspaces::parse(
        &text,
        &(Arc::new(|name: &str| match name {
            "SECRET" => Some("canary-secret".to_owned()),
            "TOKEN" => Some("dapi-b".to_owned()),
            _ => None,
        }) as _),
    )
    .unwrap();
    let config = Config { workspaces, ..Config::default() };
    Harness { connector: DatabricksConnector::new(config).unwrap(), emulator }
}

/// Returns the request for a project, without credentials of the task.
fn of_project(harness: &Harness, project: &str) -> CreateContext {
    let mut cx = harness.request("40_executor_first_attempt", json!({}));
    cx.connection = Connection::new();
    cx.execution
        .environment_variables
        .insert("FLYTE_INTERNAL_EXECUTION_PROJECT".to_owned(), project.to_owned());
    cx
}

fn agents(harness: &Harness) -> Vec<String> {
    let kind = |request: databricks_emulator::RecordedRequest| {
        request.header("user-agent").unwrap().rsplit_once("auth/").unwrap().1.to_owned()
    };
    harness.emulator.requests().into_iter().map(kind).collect()
}

#[tokio::test]
async fn project_selects_the_credential_and_later_calls_use_the_same() {
    let harness = two_teams().await;
    for (project, name, kind) in [("flytesnacks", "a", "oauth-m2m"), ("other", "b", "pat")] {
        let before = agents(&harness).len();
        let meta = harness.connector.create(of_project(&harness, project)).await.unwrap();
        assert_eq!(Value::Object(stored(&meta))["credential"], json!({ "workspace": name }));
        harness.connector.get(call(), meta.clone()).await.unwrap();
        harness.connector.delete(call(), meta).await.unwrap();
        let used = agents(&harness).split_off(before);
        assert!(used.len() >= 3 && used.iter().all(|used| used == kind), "{used:?}");
    }
}

#[tokio::test]
async fn project_without_workspace_is_rejected_without_a_request() {
    let harness = two_teams().await;
    let error = harness.connector.create(of_project(&harness, "third")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(error.to_string().contains("for project `third`"), "{error}");
    assert!(harness.emulator.requests().is_empty());
}

#[tokio::test]
async fn token_of_a_service_principal_of_a_task_is_cached() {
    let harness = two_teams().await;
    let mut cx = of_project(&harness, "third");
    cx.connection = Connection::new()
        .with_secret("databricks_client_id", SecretString::from("principal"))
        .with_secret("databricks_client_secret", SecretString::from("canary-secret"));
    let connection = cx.connection.clone();
    let meta = harness.connector.create(cx).await.unwrap();
    assert!(stored(&meta).get("credential").is_none());
    let mut later = call();
    later.connection = connection;
    harness.connector.get(later, meta).await.unwrap();
    assert_eq!(harness.emulator.tokens_minted(), 1);
}

#[tokio::test]
async fn check_reports_the_identity_of_each_credential_and_starts_nothing() {
    let harness = two_teams().await;
    let checks = harness.connector.check().await;
    assert_eq!(checks.len(), 2);
    assert!(checks.iter().all(databricks_connector::WorkspaceCheck::is_good), "{checks:?}");
    assert_eq!(checks[0].identity, Identity::Known("someone@example.com".to_owned()));
    assert!(harness.emulator.runs().is_empty());
}
