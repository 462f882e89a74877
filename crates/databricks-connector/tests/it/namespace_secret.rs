//! The Kubernetes Secret of a task's namespace among the other credentials. Who reads it is ours here; `cargo xtask
//! nightly` has a real API server.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use connector_core::{Connector, CreateContext, ErrorKind, Phase, value};
use databricks_connector::{
    Config, NamespaceSecrets, RunMeta, SecretAccess, SecretContent, SecretNamespaces,
    SecretReading, SecretTrouble,
};
use databricks_emulator::Emulator;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::setup::{TOKEN, World, call, stored, with_token};

type Answer = Result<Option<SecretContent>, SecretTrouble>;

/// Secrets by `namespace/name`; whatever else is asked for is not there.
#[derive(Debug, Default)]
struct Cluster {
    secrets: Mutex<HashMap<String, Answer>>,
    asked: Mutex<Vec<String>>,
}

impl Cluster {
    fn set(&self, path: &str, answer: Answer) {
        self.secrets.lock().unwrap().insert(path.to_owned(), answer);
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl NamespaceSecrets for Cluster {
    fn read<'a>(&'a self, namespace: &'a str, name: &'a str) -> SecretReading<'a> {
        let path = format!("{namespace}/{name}");
        let answer = self.secrets.lock().unwrap().get(&path).cloned().unwrap_or(Ok(None));
        self.asked.lock().unwrap().push(path);
        Box::pin(async move { answer })
    }
}

fn token(value: &str) -> SecretContent {
    let token = Some(SecretString::from(value.to_owned()));
    SecretContent { token, ..SecretContent::default() }
}

/// A workspace that takes `TOKEN`, and a connector whose own token is another one, or none.
async fn world(own: Option<&str>) -> (World, Arc<Cluster>) {
    let cluster = Arc::new(Cluster::default());
    let namespaces = SecretNamespaces::Listed(BTreeSet::from(["team-a".to_owned()]));
    let reader = Arc::clone(&cluster) as Arc<dyn NamespaceSecrets>;
    let world = World::with(|config| Config {
        access_token: own.map(|own| SecretString::from(own.to_owned())),
        namespace_secrets: Some(SecretAccess { reader, namespaces }),
        ..config
    })
    .await;
    (world, cluster)
}

fn task(world: &World, namespace: &str, named: Option<&str>) -> CreateContext {
    let mut cx = world.request("40_executor_first_attempt", json!({}));
    namespace.clone_into(&mut cx.execution.namespace);
    if let Some(named) = named {
        let mut custom = cx.custom().unwrap();
        custom.insert("databricksTokenSecret".to_owned(), json!(named));
        cx.template.custom = Some(value::struct_from_json(&custom));
    }
    cx
}

fn credential(meta: &RunMeta) -> Option<Value> {
    stored(meta).remove("credential")
}

/// The meta as another process reads it.
fn elsewhere(meta: &RunMeta) -> RunMeta {
    serde_json::from_value(Value::Object(stored(meta))).unwrap()
}

#[tokio::test]
async fn a_run_is_started_and_read_with_the_secret_of_its_namespace() {
    let (world, cluster) = world(Some("dapi-own")).await;
    cluster.set("team-a/databricks-token", Ok(Some(token(TOKEN))));
    let meta = world.connector.create(task(&world, "team-a", None)).await.unwrap();
    let names = json!({"secret": {"namespace": "team-a", "name": "databricks-token"}});
    assert_eq!(credential(&meta), Some(names));
    let told = world.get(&elsewhere(&meta)).await;
    assert!(!told.message.contains("no news"), "{}", told.message);
    world.connector.delete(call(), elsewhere(&meta)).await.unwrap();
    assert_eq!(cluster.asked(), ["team-a/databricks-token"], "read once");
}

#[tokio::test]
async fn the_name_in_the_task_comes_before_the_default_name() {
    let (world, cluster) = world(None).await;
    cluster.set("team-a/mine", Ok(Some(token(TOKEN))));
    let meta = world.connector.create(task(&world, "team-a", Some("mine"))).await.unwrap();
    assert_eq!(credential(&meta).unwrap()["secret"]["name"], "mine");
    let error = world.connector.create(task(&world, "team-a", Some("other"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    assert!(error.to_string().contains("no Secret other in namespace team-a"), "{error}");
}

#[tokio::test]
async fn the_tasks_own_token_comes_first_and_the_connectors_own_last() {
    let (world, cluster) = world(Some(TOKEN)).await;
    cluster.set("team-a/databricks-token", Ok(Some(token("dapi-wrong"))));
    let mut cx = task(&world, "team-a", None);
    cx.connection = with_token(TOKEN).connection;
    let meta = world.connector.create(cx).await.unwrap();
    assert_eq!(credential(&meta), None);
    assert!(cluster.asked().is_empty());

    cluster.set("team-a/databricks-token", Ok(None));
    let meta = world.connector.create(task(&world, "team-a", None)).await.unwrap();
    assert_eq!(credential(&meta), None, "there is no such Secret, so the connector's own was used");
}

#[tokio::test]
async fn a_namespace_that_is_not_listed_is_never_asked_about() {
    let (world, cluster) = world(Some(TOKEN)).await;
    for namespace in ["team-b", "", "../team-a"] {
        let meta = world.connector.create(task(&world, namespace, Some("mine"))).await.unwrap();
        assert_eq!(credential(&meta), None);
    }
    let foreign: RunMeta = serde_json::from_value(json!({
        "databricks_instance": world.emulator.http_url(), "run_id": "1",
        "credential": {"secret": {"namespace": "team-b", "name": "databricks-token"}},
    }))
    .unwrap();
    let told = world.get(&foreign).await;
    assert_eq!(told.phase, Phase::Running);
    assert!(told.message.contains("FLYTE_DATABRICKS_SECRET_NAMESPACES"), "{}", told.message);
    assert!(cluster.asked().is_empty());
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_refused_before_anything_is_asked() {
    let (world, cluster) = world(Some(TOKEN)).await;
    let named = Some("../../team-b/secrets/x");
    let error = world.connector.create(task(&world, "team-a", named)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTask);
    assert!(error.to_string().contains("databricksTokenSecret"), "{error}");
    assert!(cluster.asked().is_empty() && world.emulator.requests().is_empty());
}

#[tokio::test]
async fn no_secret_is_read_for_a_host_that_is_refused() {
    let (world, cluster) = world(None).await;
    let mut cx = task(&world, "team-a", None);
    let mut custom = cx.custom().unwrap();
    custom.insert("databricksInstance".to_owned(), json!("evil.example"));
    cx.template.custom = Some(value::struct_from_json(&custom));
    assert_eq!(world.connector.create(cx).await.unwrap_err().kind(), ErrorKind::Forbidden);
    assert!(cluster.asked().is_empty());
}

#[tokio::test]
async fn an_api_server_in_trouble_is_an_error_for_create_and_a_message_for_get() {
    for (trouble, kind) in [
        (SecretTrouble::Passing("it is down".to_owned()), ErrorKind::Unavailable),
        (SecretTrouble::Lasting("it is forbidden".to_owned()), ErrorKind::FailedPrecondition),
    ] {
        let (world, cluster) = world(Some(TOKEN)).await;
        cluster.set("team-a/databricks-token", Err(trouble.clone()));
        let error = world.connector.create(task(&world, "team-a", None)).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(world.emulator.requests().is_empty(), "no other credential stands in");

        let meta: RunMeta = serde_json::from_value(json!({
            "databricks_instance": world.emulator.http_url(), "run_id": "1",
            "credential": {"secret": {"namespace": "team-a", "name": "databricks-token"}},
        }))
        .unwrap();
        let told = world.get(&meta).await;
        assert_eq!(told.phase, Phase::Running);
        let (SecretTrouble::Passing(why) | SecretTrouble::Lasting(why)) = &trouble;
        let words =
            format!("the Secret databricks-token of namespace team-a could not be read: {why}");
        assert!(told.message.contains(&words), "{}", told.message);
    }
}

#[tokio::test]
async fn a_delete_without_its_secret_tries_the_connectors_own_credential() {
    let (own, cluster) = world(Some(TOKEN)).await;
    cluster.set("team-a/databricks-token", Ok(Some(token(TOKEN))));
    let meta = own.connector.create(task(&own, "team-a", None)).await.unwrap();
    // Another process, which remembers nothing, and whose API server is down.
    let down = Err(SecretTrouble::Passing("it is down".to_owned()));
    let (other, cluster) = at(&own.emulator, Some(TOKEN));
    cluster.set("team-a/databricks-token", down.clone());
    other.delete(call(), elsewhere(&meta)).await.unwrap();
    let (other, cluster) = at(&own.emulator, None);
    cluster.set("team-a/databricks-token", down);
    let error = other.delete(call(), elsewhere(&meta)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// One more connector for that workspace, whose patience with refusals is at its end.
fn at(
    emulator: &Emulator,
    own: Option<&str>,
) -> (databricks_connector::DatabricksConnector, Arc<Cluster>) {
    let cluster = Arc::new(Cluster::default());
    let reader = Arc::clone(&cluster) as Arc<dyn NamespaceSecrets>;
    let config = Config {
        instance: Some(emulator.http_url()),
        access_token: own.map(|own| SecretString::from(own.to_owned())),
        namespace_secrets: Some(SecretAccess { reader, namespaces: SecretNamespaces::Every }),
        refusal_patience: Duration::ZERO,
        ..Config::default()
    };
    (databricks_connector::DatabricksConnector::new(config).unwrap(), cluster)
}

#[tokio::test]
async fn a_secret_that_is_gone_ends_the_task_only_when_patience_does() {
    let (world, cluster) = world(None).await;
    cluster.set("team-a/databricks-token", Ok(Some(token(TOKEN))));
    let meta = world.connector.create(task(&world, "team-a", None)).await.unwrap();
    let (impatient, _) = at(&world.emulator, None);
    let told = impatient.get(call(), elsewhere(&meta)).await.unwrap();
    assert_eq!(told.phase, Phase::Failed);
    assert!(told.message.contains("no Secret databricks-token"), "{}", told.message);
}
