//! Arguments of pod templates, which Flyte leaves unrendered, and the inputs that they name.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use connector_core::{Connector, CreateContext, ErrorKind, value};
use databricks_connector::{Config, Looked, Looking, TaskFiles, Unwritten, Writing};
use flyteidl2::{
    core::{K8sPod, task_template::Target},
    task::Inputs,
};
use prost::Message;
use serde_json::{Value, json};

use crate::setup::World;

/// What the SDK writes for every function, but for what is of no interest here.
const SDK: [&str; 15] = [
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

/// A task in a pod template with these arguments.
fn task(world: &World, output_prefix: &str, args: &[&str]) -> CreateContext {
    let mut cx = world.request("40_executor_first_attempt", json!({}));
    let spec = json!({"containers": [{"name": "main", "image": "x:1", "args": args}]});
    cx.template.target = Some(Target::K8sPod(K8sPod {
        pod_spec: spec.as_object().map(value::struct_from_json),
        primary_container_name: "main".to_owned(),
        ..K8sPod::default()
    }));
    output_prefix.clone_into(&mut cx.output_prefix);
    cx
}

/// What the run got instead of `{{.…}}`.
fn parameters(world: &World) -> Vec<String> {
    let submission = serde_json::to_value(&world.emulator.submissions()[0]).unwrap();
    let found = submission.pointer("/tasks/0/spark_python_task/parameters").cloned();
    serde_json::from_value(found.unwrap_or(Value::Null)).unwrap()
}

fn prefix_of(folder: &Path) -> String {
    format!("file://{}/a0/1", folder.display())
}

#[tokio::test]
async fn the_inputs_lie_where_the_arguments_say() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let prefix = prefix_of(folder.path());
    let cx = task(&world, &format!("{prefix}/"), &SDK);
    world.connector.create(cx.clone()).await.unwrap();

    let got = parameters(&world);
    let after = |flag: &str| {
        let place = got.iter().position(|arg| arg == flag).unwrap();
        got[place + 1].clone()
    };
    assert_eq!(after("--inputs"), format!("{prefix}/inputs.pb"));
    assert_eq!(after("--outputs-path"), prefix);
    assert_eq!(after("--raw-data-path"), prefix);
    // What the runtime itself makes of a time that nobody filled in.
    assert_eq!(after("--run-start-time"), "1970-01-01T00:00:00Z");
    assert!(!got.iter().any(|arg| arg.contains("{{")), "{got:?}");

    let written = fs::read(folder.path().join("a0/1/inputs.pb")).unwrap();
    assert!(!cx.inputs.literals.is_empty());
    assert_eq!(Inputs::decode(written.as_slice()).unwrap(), cx.inputs);
}

#[tokio::test]
async fn the_whole_submission_of_a_template_that_names_inputs() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let args = [&SDK[..], &["n={{.Inputs.n}}", "{{.inputPrefix}}"]].concat();
    world.connector.create(task(&world, &prefix_of(folder.path()), &args)).await.unwrap();
    let body = serde_json::to_string(&world.emulator.submissions()[0]).unwrap();
    let body = body.replace(&folder.path().display().to_string(), "/data");
    let mut body: Value = serde_json::from_str(&body).unwrap();
    // Both come from the output prefix, whose folder is another in each run of the test.
    body["idempotency_token"] = json!("[token]");
    body["tasks"][0]["description"] = json!("[mark]");
    insta::assert_json_snapshot!("pod_template_with_inputs", body);
}

#[tokio::test]
async fn inputs_that_no_argument_names_are_not_written() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let args = ["a0", "--outputs-path", "{{.outputPrefix}}", "--resolver", "r"];
    world.connector.create(task(&world, &prefix_of(folder.path()), &args)).await.unwrap();
    assert_eq!(world.emulator.submissions().len(), 1);
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn a_variable_that_nobody_knows_is_refused_by_name() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    for (prefix, variable) in [
        (prefix_of(folder.path()), "Inputs.m"),
        (prefix_of(folder.path()), "taskTemplatePath"),
        // Without a place for outputs there is none for inputs.
        (String::new(), "input"),
        (String::new(), "inputPrefix"),
    ] {
        let argument = format!("{{{{.{variable}}}}}");
        let cx = task(&world, &prefix, &["a0", &argument]);
        let error = world.connector.create(cx).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
        assert!(error.to_string().contains("`main`"), "{error}");
        assert!(error.to_string().contains(&format!("`{variable}`")), "{error}");
    }
    assert!(world.emulator.requests().is_empty());
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}

/// A store that takes nothing, in one way or another.
#[derive(Debug)]
enum Stuck {
    Refuses(Unwritten),
    IsSilent,
}

impl TaskFiles for Stuck {
    fn read<'a>(&'a self, _url: &'a str, _most: u64) -> Looking<'a, Vec<u8>> {
        Box::pin(async { Looked::Absent })
    }

    fn exists<'a>(&'a self, _url: &'a str) -> Looking<'a, ()> {
        Box::pin(async { Looked::Absent })
    }

    fn write<'a>(&'a self, _url: &'a str, _content: Vec<u8>) -> Writing<'a> {
        Box::pin(async {
            match self {
                Self::Refuses(why) => Err(why.clone()),
                Self::IsSilent => std::future::pending().await,
            }
        })
    }
}

#[tokio::test]
async fn inputs_that_cannot_be_written_are_told_and_nothing_is_submitted() {
    let refuses = |why: fn(String) -> Unwritten| Stuck::Refuses(why("no such luck".to_owned()));
    for (store, kind, words) in [
        (refuses(Unwritten::Passing), ErrorKind::Unavailable, "no such luck"),
        (refuses(Unwritten::Lasting), ErrorKind::FailedPrecondition, "no such luck"),
        (Stuck::IsSilent, ErrorKind::Unavailable, "s3://b/a0/1/inputs.pb was not written"),
    ] {
        let files: Arc<dyn TaskFiles> = Arc::new(store);
        let world = World::with(|config| Config { task_files: files, ..config }).await;
        let deadline = Instant::now() + Duration::from_secs(1);
        let cx = task(&world, "s3://b/a0/1", &SDK).with_deadline(Some(deadline));
        let error = world.connector.create(cx).await.unwrap_err();
        assert!(Instant::now() < deadline);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains("pod template `main`"), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        // Nothing was started, so nothing has to be looked for.
        assert!(!error.may_have_started());
        assert!(world.emulator.submissions().is_empty());
    }
}
