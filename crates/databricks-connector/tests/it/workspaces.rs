//! The connector's own credentials: which one is used, and what later calls are told.

use std::sync::Arc;

use connector_core::{Connection, Connector, CreateContext, ErrorKind};
use databricks_connector::{Config, DatabricksConnector, Identity, Workspaces};
use databricks_emulator::Emulator;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::setup::{World, call, stored};

/// A workspace that two teams use with credentials of their own, and a connector that has both.
async fn two_teams() -> World {
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
    World { connector: DatabricksConnector::new(config).unwrap(), emulator }
}

/// The request for a project, without anything of the task's own.
fn of_project(world: &World, project: &str) -> CreateContext {
    let mut cx = world.request("40_executor_first_attempt", json!({}));
    cx.connection = Connection::new();
    cx.execution
        .environment_variables
        .insert("FLYTE_INTERNAL_EXECUTION_PROJECT".to_owned(), project.to_owned());
    cx
}

fn agents(world: &World) -> Vec<String> {
    let kind = |request: databricks_emulator::RecordedRequest| {
        request.header("user-agent").unwrap().rsplit_once("auth/").unwrap().1.to_owned()
    };
    world.emulator.requests().into_iter().map(kind).collect()
}

#[tokio::test]
async fn the_project_chooses_the_credential_and_later_calls_use_the_same() {
    let world = two_teams().await;
    for (project, name, kind) in [("flytesnacks", "a", "oauth-m2m"), ("other", "b", "pat")] {
        let before = agents(&world).len();
        let meta = world.connector.create(of_project(&world, project)).await.unwrap();
        assert_eq!(Value::Object(stored(&meta))["credential"], json!({ "workspace": name }));
        world.connector.get(call(), meta.clone()).await.unwrap();
        world.connector.delete(call(), meta).await.unwrap();
        let used = agents(&world).split_off(before);
        assert!(used.len() >= 3 && used.iter().all(|used| used == kind), "{used:?}");
    }
}

#[tokio::test]
async fn a_project_that_nobody_admitted_is_refused_without_a_packet() {
    let world = two_teams().await;
    let error = world.connector.create(of_project(&world, "third")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(error.to_string().contains("for project `third`"), "{error}");
    assert!(world.emulator.requests().is_empty());
}

#[tokio::test]
async fn a_task_brings_a_service_principal_whose_token_is_kept() {
    let world = two_teams().await;
    let mut cx = of_project(&world, "third");
    cx.connection = Connection::new()
        .with_secret("databricks_client_id", SecretString::from("principal"))
        .with_secret("databricks_client_secret", SecretString::from("canary-secret"));
    let connection = cx.connection.clone();
    let meta = world.connector.create(cx).await.unwrap();
    assert!(stored(&meta).get("credential").is_none());
    let mut later = call();
    later.connection = connection;
    world.connector.get(later, meta).await.unwrap();
    assert_eq!(world.emulator.tokens_minted(), 1);
}

#[tokio::test]
async fn a_check_says_who_each_credential_is_and_starts_nothing() {
    let world = two_teams().await;
    let checks = world.connector.check().await;
    assert_eq!(checks.len(), 2);
    assert!(checks.iter().all(databricks_connector::WorkspaceCheck::is_good), "{checks:?}");
    assert_eq!(checks[0].who, Identity::Known("someone@example.com".to_owned()));
    assert!(world.emulator.runs().is_empty());
}
