//! Arguments of pod templates, which Flyte does not render, and the inputs file that they name.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use connector_core::{Connector, CreateContext, ErrorKind, value};
use databricks_connector::{Config, StorageError, StorageFuture, TaskStorage};
use flyteidl2::{
    core::{K8sPod, task_template::Target},
    task::Inputs,
};
use prost::Message;
use serde_json::{Value, json};

use crate::harness::Harness;

/// The arguments that the SDK writes for every function, irrelevant ones omitted.
const SDK_ARGS: [&str; 15] = [
    "a0",
    "--inputs",
    "{{.input}}",
    "--outputs-path",
    "{{.outputPrefix}}",
    "--raw-data-path",
    "{{.rawOutputDataPrefix}}",
    "--run-start-time",
    "{{.runStartTime}}",
    "--tgz",
    "s3://b/x.tar.gz",
    "--dest",
    ".",
    "--resolver",
    "r",
];

/// Returns a task with a pod template with these arguments.
fn task(harness: &Harness, output_prefix: &str, args: &[&str]) -> CreateContext {
    let mut cx = harness.request("40_executor_first_attempt", json!({}));
    let spec = json!({"containers": [{"name": "main", "image": "x:1", "args": args}]});
    cx.template.target = Some(Target::K8sPod(K8sPod {
        pod_spec: spec.as_object().map(value::struct_from_json),
        primary_container_name: "main".to_owned(),
        ..K8sPod::default()
    }));
    output_prefix.clone_into(&mut cx.output_prefix);
    cx
}

/// Returns the submitted arguments.
fn parameters(harness: &Harness) -> Vec<String> {
    let submission = serde_json::to_value(&harness.emulator.submissions()[0]).unwrap();
    let found = submission.pointer("/tasks/0/spark_python_task/parameters").cloned();
    serde_json::from_value(found.unwrap_or(Value::Null)).unwrap()
}

fn prefix_of(folder: &Path) -> String {
    format!("file://{}/a0/1", folder.display())
}

#[tokio::test]
async fn inputs_are_written_to_the_url_in_the_arguments() {
    let harness = Harness::start().await;
    let folder = tempfile::tempdir().unwrap();
    let prefix = prefix_of(folder.path());
    let cx = task(&harness, &format!("{prefix}/"), &SDK_ARGS);
    harness.connector.create(cx.clone()).await.unwrap();

    let submitted = parameters(&harness);
    let after = |flag: &str| {
        let index = submitted.iter().position(|arg| arg == flag).unwrap();
        submitted[index + 1].clone()
    };
    assert_eq!(after("--inputs"), format!("{prefix}/inputs.pb"));
    assert_eq!(after("--outputs-path"), prefix);
    assert_eq!(after("--raw-data-path"), prefix);
    // The runtime's own value for a missing time.
    assert_eq!(after("--run-start-time"), "1970-01-01T00:00:00Z");
    assert!(!submitted.iter().any(|arg| arg.contains("{{")), "{submitted:?}");

    let written = fs::read(folder.path().join("a0/1/inputs.pb")).unwrap();
    assert!(!cx.inputs.literals.is_empty());
    assert_eq!(Inputs::decode(written.as_slice()).unwrap(), cx.inputs);
}

#[tokio::test]
async fn submission_of_a_template_that_names_inputs() {
    let harness = Harness::start().await;
    let folder = tempfile::tempdir().unwrap();
    let args = [&SDK_ARGS[..], &["n={{.Inputs.n}}", "{{.inputPrefix}}"]].concat();
    harness.connector.create(task(&harness, &prefix_of(folder.path()), &args)).await.unwrap();
    let body = serde_json::to_string(&harness.emulator.submissions()[0]).unwrap();
    let body = body.replace(&folder.path().display().to_string(), "/data");
    let mut body: Value = serde_json::from_str(&body).unwrap();
    // Both depend on the output prefix, which has a random folder.
    body["idempotency_token"] = json!("[token]");
    body["tasks"][0]["description"] = json!("[run tag]");
    insta::assert_json_snapshot!("pod_template_with_inputs", body);
}

#[tokio::test]
async fn inputs_are_not_written_unless_an_argument_names_them() {
    let harness = Harness::start().await;
    let folder = tempfile::tempdir().unwrap();
    let args = ["a0", "--outputs-path", "{{.outputPrefix}}", "--resolver", "r"];
    harness.connector.create(task(&harness, &prefix_of(folder.path()), &args)).await.unwrap();
    assert_eq!(harness.emulator.submissions().len(), 1);
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn unknown_variable_is_rejected_by_name() {
    let harness = Harness::start().await;
    let folder = tempfile::tempdir().unwrap();
    for (prefix, variable) in [
        (prefix_of(folder.path()), "Inputs.m"),
        (prefix_of(folder.path()), "taskTemplatePath"),
        // Without an output prefix there is no URL for inputs.
        (String::new(), "input"),
        (String::new(), "inputPrefix"),
    ] {
        let argument = format!("{{{{.{variable}}}}}");
        let cx = task(&harness, &prefix, &["a0", &argument]);
        let error = harness.connector.create(cx).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
        assert!(error.to_string().contains("`main`"), "{error}");
        assert!(error.to_string().contains(&format!("`{variable}`")), "{error}");
    }
    assert!(harness.emulator.requests().is_empty());
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}

/// A store that cannot be written.
#[derive(Debug)]
enum UnwritableStore {
    Failing(StorageError),
    Unresponsive,
}

impl TaskStorage for UnwritableStore {
    fn read<'a>(&'a self, _: &'a str, _: u64) -> StorageFuture<'a, Option<Vec<u8>>> {
        Box::pin(async { Ok(None) })
    }

    fn size<'a>(&'a self, _: &'a str) -> StorageFuture<'a, Option<u64>> {
        Box::pin(async { Ok(None) })
    }

    fn write<'a>(&'a self, _: &'a str, _: Vec<u8>) -> StorageFuture<'a, ()> {
        Box::pin(async {
            match self {
                Self::Failing(error) => Err(error.clone()),
                Self::Unresponsive => std::future::pending().await,
            }
        })
    }
}

#[tokio::test]
async fn failure_to_write_inputs_is_an_error_and_nothing_is_submitted() {
    let failing =
        |error: fn(String) -> StorageError| UnwritableStore::Failing(error("no space".to_owned()));
    for (store, kind, words) in [
        (failing(StorageError::Transient), ErrorKind::Unavailable, "no space"),
        (failing(StorageError::Permanent), ErrorKind::FailedPrecondition, "no space"),
        (
            UnwritableStore::Unresponsive,
            ErrorKind::Unavailable,
            "writing s3://b/a0/1/inputs.pb took more than",
        ),
    ] {
        let storage: Arc<dyn TaskStorage> = Arc::new(store);
        let harness = Harness::with(|config| Config { task_storage: storage, ..config }).await;
        let deadline = Instant::now() + Duration::from_secs(1);
        let cx = task(&harness, "s3://b/a0/1", &SDK_ARGS).with_deadline(Some(deadline));
        let error = harness.connector.create(cx).await.unwrap_err();
        assert!(Instant::now() < deadline);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains("pod template `main`"), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        // Nothing was started, so the caller need not search for a run.
        assert!(!error.may_have_started());
        assert!(harness.emulator.submissions().is_empty());
    }
}
