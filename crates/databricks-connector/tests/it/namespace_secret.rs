//! Kubernetes Secrets of a task's namespace as credentials. The reader is a fake; `cargo xtask nightly` uses a real API
//! server.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use connector_core::{Connector, CreateContext, ErrorKind, Phase, value};
use databricks_connector::{
    Config, RunMeta, SecretAccess, SecretContent, SecretError, SecretFuture, SecretNamespaces,
    SecretReader,
};
use databricks_emulator::Emulator;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::harness::{Harness, TOKEN, call, stored, with_token};

type Answer = Result<Option<SecretContent>, SecretError>;

/// Fake cluster: Secrets by `namespace/name`. All others do not exist.
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

impl SecretReader for Cluster {
    fn read<'a>(&'a self, namespace: &'a str, name: &'a str) -> SecretFuture<'a> {
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

/// Starts a workspace that accepts `TOKEN`, and a connector with this own token, or none.
async fn start(own: Option<&str>) -> (Harness, Arc<Cluster>) {
    let cluster = Arc::new(Cluster::default());
    let namespaces = SecretNamespaces::Listed(BTreeSet::from(["team-a".to_owned()]));
    let reader = Arc::clone(&cluster) as Arc<dyn SecretReader>;
    let harness = Harness::with(|config| Config {
        access_token: own.map(|own| SecretString::from(own.to_owned())),
        namespace_secrets: Some(SecretAccess { reader, namespaces }),
        ..config
    })
    .await;
    (harness, cluster)
}

fn task(harness: &Harness, namespace: &str, named: Option<&str>) -> CreateContext {
    let mut cx = harness.request("40_executor_first_attempt", json!({}));
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

/// Returns the meta as another process reads it.
fn elsewhere(meta: &RunMeta) -> RunMeta {
    serde_json::from_value(Value::Object(stored(meta))).unwrap()
}

#[tokio::test]
async fn run_is_started_and_read_with_the_secret_of_its_namespace() {
    let (harness, cluster) = start(Some("dapi-own")).await;
    cluster.set("team-a/databricks-token", Ok(Some(token(TOKEN))));
    let meta = harness.connector.create(task(&harness, "team-a", None)).await.unwrap();
    let names = json!({"secret": {"namespace": "team-a", "name": "databricks-token"}});
    assert_eq!(credential(&meta), Some(names));
    let resource = harness.get(&elsewhere(&meta)).await;
    assert!(!resource.message.contains("the run could not be read"), "{}", resource.message);
    harness.connector.delete(call(), elsewhere(&meta)).await.unwrap();
    assert_eq!(cluster.asked(), ["team-a/databricks-token"], "read once");
}

#[tokio::test]
async fn secret_name_in_the_task_takes_precedence_over_the_default() {
    let (harness, cluster) = start(None).await;
    cluster.set("team-a/mine", Ok(Some(token(TOKEN))));
    let meta = harness.connector.create(task(&harness, "team-a", Some("mine"))).await.unwrap();
    assert_eq!(credential(&meta).unwrap()["secret"]["name"], "mine");
    let error =
        harness.connector.create(task(&harness, "team-a", Some("other"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    assert!(error.to_string().contains("no Secret other in namespace team-a"), "{error}");
}

#[tokio::test]
async fn token_of_the_task_comes_first_and_that_of_the_connector_last() {
    let (harness, cluster) = start(Some(TOKEN)).await;
    cluster.set("team-a/databricks-token", Ok(Some(token("dapi-wrong"))));
    let mut cx = task(&harness, "team-a", None);
    cx.connection = with_token(TOKEN).connection;
    let meta = harness.connector.create(cx).await.unwrap();
    assert_eq!(credential(&meta), None);
    assert!(cluster.asked().is_empty());

    cluster.set("team-a/databricks-token", Ok(None));
    let meta = harness.connector.create(task(&harness, "team-a", None)).await.unwrap();
    assert_eq!(
        credential(&meta),
        None,
        "the Secret does not exist, so the connector's own token is used"
    );
}

#[tokio::test]
async fn secrets_of_unlisted_namespaces_are_never_read() {
    let (harness, cluster) = start(Some(TOKEN)).await;
    for namespace in ["team-b", "", "../team-a"] {
        let meta = harness.connector.create(task(&harness, namespace, Some("mine"))).await.unwrap();
        assert_eq!(credential(&meta), None);
    }
    let foreign: RunMeta = serde_json::from_value(json!({
        "databricks_instance": harness.emulator.http_url(), "run_id": "1",
        "credential": {"secret": {"namespace": "team-b", "name": "databricks-token"}},
    }))
    .unwrap();
    let resource = harness.get(&foreign).await;
    assert_eq!(resource.phase, Phase::Running);
    assert!(
        resource.message.contains("FLYTE_DATABRICKS_SECRET_NAMESPACES"),
        "{}",
        resource.message
    );
    assert!(cluster.asked().is_empty());
}

#[tokio::test]
async fn secret_name_with_a_path_is_rejected_before_any_request() {
    let (harness, cluster) = start(Some(TOKEN)).await;
    let named = Some("../../team-b/secrets/x");
    let error = harness.connector.create(task(&harness, "team-a", named)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTask);
    assert!(error.to_string().contains("databricksTokenSecret"), "{error}");
    assert!(cluster.asked().is_empty() && harness.emulator.requests().is_empty());
}

#[tokio::test]
async fn no_secret_is_read_for_a_disallowed_host() {
    let (harness, cluster) = start(None).await;
    let mut cx = task(&harness, "team-a", None);
    let mut custom = cx.custom().unwrap();
    custom.insert("databricksInstance".to_owned(), json!("evil.example"));
    cx.template.custom = Some(value::struct_from_json(&custom));
    assert_eq!(harness.connector.create(cx).await.unwrap_err().kind(), ErrorKind::Forbidden);
    assert!(cluster.asked().is_empty());
}

#[tokio::test]
async fn failing_api_server_is_an_error_for_create_and_a_message_for_get() {
    for (trouble, kind) in [
        (SecretError::Transient("it is down".to_owned()), ErrorKind::Unavailable),
        (SecretError::Permanent("it is forbidden".to_owned()), ErrorKind::FailedPrecondition),
    ] {
        let (harness, cluster) = start(Some(TOKEN)).await;
        cluster.set("team-a/databricks-token", Err(trouble.clone()));
        let error = harness.connector.create(task(&harness, "team-a", None)).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(harness.emulator.requests().is_empty(), "no other credential is used");

        let meta: RunMeta = serde_json::from_value(json!({
            "databricks_instance": harness.emulator.http_url(), "run_id": "1",
            "credential": {"secret": {"namespace": "team-a", "name": "databricks-token"}},
        }))
        .unwrap();
        let resource = harness.get(&meta).await;
        assert_eq!(resource.phase, Phase::Running);
        let (SecretError::Transient(why) | SecretError::Permanent(why)) = &trouble;
        let words =
            format!("the Secret databricks-token of namespace team-a could not be read: {why}");
        assert!(resource.message.contains(&words), "{}", resource.message);
    }
}

#[tokio::test]
async fn delete_without_its_secret_uses_the_connectors_own_credential() {
    let (own, cluster) = start(Some(TOKEN)).await;
    cluster.set("team-a/databricks-token", Ok(Some(token(TOKEN))));
    let meta = own.connector.create(task(&own, "team-a", None)).await.unwrap();
    // Another process, without memory of the run, whose API server is down.
    let down = Err(SecretError::Transient("it is down".to_owned()));
    let (other, cluster) = connector_for(&own.emulator, Some(TOKEN));
    cluster.set("team-a/databricks-token", down.clone());
    other.delete(call(), elsewhere(&meta)).await.unwrap();
    let (other, cluster) = connector_for(&own.emulator, None);
    cluster.set("team-a/databricks-token", down);
    let error = other.delete(call(), elsewhere(&meta)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// Creates another connector for the workspace, without a grace period for rejections.
fn connector_for(
    emulator: &Emulator,
    own: Option<&str>,
) -> (databricks_connector::DatabricksConnector, Arc<Cluster>) {
    let cluster = Arc::new(Cluster::default());
    let reader = Arc::clone(&cluster) as Arc<dyn SecretReader>;
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
async fn missing_secret_fails_the_task_only_after_the_grace_period() {
    let (harness, cluster) = start(None).await;
    cluster.set("team-a/databricks-token", Ok(Some(token(TOKEN))));
    let meta = harness.connector.create(task(&harness, "team-a", None)).await.unwrap();
    let (without_grace_period, _) = connector_for(&harness.emulator, None);
    let resource = without_grace_period.get(call(), elsewhere(&meta)).await.unwrap();
    assert_eq!(resource.phase, Phase::Failed);
    assert!(resource.message.contains("no Secret databricks-token"), "{}", resource.message);
}
