use connector_core::Connector;
use serde_json::{Value, json};

use crate::fixtures::create_context;
use crate::setup::{TOKEN, World, stored};

/// The body of the only submission so far.
fn submitted(world: &World) -> Value {
    let mut all = world.emulator.submissions();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[tokio::test]
async fn the_meta_names_the_workspace_and_the_run_and_nothing_else() {
    let world = World::start().await;
    let meta = world
        .connector
        .create(world.request("40_executor_first_attempt", json!({})))
        .await
        .unwrap();
    let run_id = world.emulator.runs()[0].run_id;
    assert_eq!(
        Value::Object(stored(&meta)),
        json!({"databricks_instance": world.emulator.http_url(), "run_id": run_id.to_string()})
    );
}

#[tokio::test]
async fn the_same_request_twice_is_one_run_and_the_next_attempt_is_another() {
    let world = World::start().await;
    let first = world
        .connector
        .create(world.request("40_executor_first_attempt", json!({})))
        .await
        .unwrap();
    let again = world
        .connector
        .create(world.request("40_executor_first_attempt", json!({})))
        .await
        .unwrap();
    assert_eq!(stored(&first), stored(&again));
    let mut next = world.request("40_executor_first_attempt", json!({}));
    next.execution.task_execution_id.as_mut().unwrap().retry_attempt = 1;
    let next = world.connector.create(next).await.unwrap();
    assert_ne!(stored(&first), stored(&next));
    assert_eq!(world.emulator.runs().len(), 2);
}

#[tokio::test]
async fn a_users_token_is_an_ingredient_and_is_never_sent_bare() {
    let world = World::start().await;
    let mut cx = world.request("10_own_git_source", json!({}));
    cx.connection = connector_core::Connection::new();
    world.connector.create(cx).await.unwrap();
    let token = submitted(&world)["idempotency_token"].as_str().unwrap().to_owned();
    assert_eq!(token.len(), 64);
    assert!(!token.contains("my-token-1"));
}

#[tokio::test]
async fn the_tasks_own_token_comes_before_the_connectors() {
    let world = World::with(|config| databricks_connector::Config {
        access_token: Some(secrecy::SecretString::from("dapi-wrong")),
        ..config
    })
    .await;
    let mut cx = world.request("40_executor_first_attempt", json!({}));
    assert!(world.connector.create(cx.clone()).await.is_err());
    cx.connection = cx
        .connection
        .with_secret("databricks_token", secrecy::SecretString::from(format!("{TOKEN}\n")));
    world.connector.create(cx).await.unwrap();
}

#[tokio::test]
async fn a_new_cluster_gets_the_image_the_spark_settings_and_every_variable() {
    let world = World::start().await;
    let mut cx = world.request("03_user_overrides", json!({}));
    cx.connection = connector_core::Connection::new();
    world.connector.create(cx).await.unwrap();
    let body = submitted(&world);
    let cluster = &body["tasks"][0]["new_cluster"];
    // The user's own image and settings win; Flyte's are added.
    assert_eq!(cluster["docker_image"]["url"], "ghcr.io/acme/dbx:1.2.3");
    assert_eq!(
        cluster["spark_conf"],
        json!({
            "spark.databricks.delta.preview.enabled": "true",
            "spark.hadoop.fs.s3a.endpoint": "s3.amazonaws.com",
            "spark.sql.shuffle.partitions": "8",
        })
    );
    let variables = &cluster["spark_env_vars"];
    assert_eq!(variables["STAGE"], "task", "the container's own variable wins over the cluster's");
    assert_eq!(variables["PYSPARK_PYTHON"], "/databricks/python3/bin/python3");
    assert_eq!(variables["RUN_NAME"], "r003x7k2m", "what the request says reaches the task");
    assert_eq!(cluster["num_workers"].to_string(), "4");
}

#[tokio::test]
async fn a_task_without_an_image_gets_none() {
    let world = World::start().await;
    let mut cx = world.request("40_executor_first_attempt", json!({}));
    if let Some(flyteidl2::core::task_template::Target::Container(container)) =
        cx.template.target.as_mut()
    {
        container.image = String::new();
    }
    world.connector.create(cx).await.unwrap();
    assert_eq!(submitted(&world)["tasks"][0]["new_cluster"].get("docker_image"), None);
}

#[tokio::test]
async fn work_of_the_users_own_is_submitted_as_written() {
    let world = World::start().await;
    let mut cx = world.request("10_own_git_source", json!({}));
    cx.connection = connector_core::Connection::new();
    world.connector.create(cx).await.unwrap();
    let body = submitted(&world);
    assert_eq!(
        body["tasks"][0]["spark_python_task"],
        json!({"python_file": "entry.py", "parameters": ["--x"], "source": "GIT"})
    );
    assert_eq!(body["git_source"]["git_url"], "https://github.com/acme/jobs");
}

#[tokio::test]
async fn an_entrypoint_of_the_users_own_gets_the_arguments_of_the_runtime() {
    let world = World::start().await;
    for (n, conf) in [
        json!({"python_file": "mine.py"}),
        json!({"spark_python_task": {"python_file": "mine.py"}}),
        json!({"spark_python_task": {"python_file": "mine.py", "parameters": []}, "python_file": "ignored.py"}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut cx = world.request("40_executor_first_attempt", conf);
        cx.output_prefix = format!("s3://b/{n}/a0/1");
        world.connector.create(cx).await.unwrap();
        let task = world.emulator.submissions()[n]["tasks"][0]["spark_python_task"].clone();
        assert_eq!(task["python_file"], "mine.py");
        assert_eq!(task["source"], "GIT");
        assert_eq!(task["parameters"][0], "a0");
        assert_eq!(task["parameters"][1], "--run-base-dir");
    }
}

#[tokio::test]
async fn a_users_own_python_file_in_the_workspace_needs_no_repository() {
    let world = World::start().await;
    world
        .connector
        .create(world.request(
            "40_executor_first_attempt",
            json!({"python_file": "/Workspace/Users/me/entry.py"}),
        ))
        .await
        .unwrap();
    let body = submitted(&world);
    assert_eq!(body["tasks"][0]["spark_python_task"]["source"], "WORKSPACE");
    assert_eq!(body.get("git_source"), None);
}

#[tokio::test]
async fn unknown_keys_are_kept_and_keys_of_a_task_move_into_it() {
    let world = World::start().await;
    let conf = json!({
        "max_retries": 1, "libraries": [{"pypi": {"package": "x"}}], "task_key": "mine",
        "queue": {"enabled": true}, "something_new": {"a": [1.5, 2]}, "timeout_seconds": 60,
    });
    world.connector.create(world.request("40_executor_first_attempt", conf)).await.unwrap();
    let body = submitted(&world);
    let task = &body["tasks"][0];
    assert_eq!((&task["max_retries"], &task["task_key"]), (&json!(1), &json!("mine")));
    assert_eq!(task["libraries"], json!([{"pypi": {"package": "x"}}]));
    assert_eq!(body["queue"], json!({"enabled": true}));
    assert_eq!(body["something_new"].to_string(), r#"{"a":[1.5,2]}"#);
    assert_eq!(body["timeout_seconds"].to_string(), "60");
    assert_eq!(body.get("max_retries"), None);
}

#[tokio::test]
async fn tasks_that_the_user_laid_out_are_submitted_as_written() {
    let world = World::start().await;
    let tasks = json!([
        {"task_key": "a", "existing_cluster_id": "c", "notebook_task": {"notebook_path": "/a"}},
        {"task_key": "b", "existing_cluster_id": "c", "notebook_task": {"notebook_path": "/b"}, "depends_on": [{"task_key": "a"}]},
    ]);
    let mut cx = create_context("40_executor_first_attempt");
    let mut custom = cx.custom().unwrap();
    custom.insert("databricksInstance".to_owned(), json!(world.emulator.http_url()));
    custom.insert("databricksConf".to_owned(), json!({ "tasks": tasks }));
    cx.template.custom = Some(connector_core::value::struct_from_json(&custom));
    world.connector.create(cx).await.unwrap();
    let body = submitted(&world);
    assert_eq!(body["tasks"], tasks);
    let name = body["run_name"].as_str().unwrap();
    assert!(
        name.starts_with(
            "flyte e2e.square_sum (flytesnacks/development/rnt7dn86j7gkdmtx8j92/a0) [flyte:"
        ),
        "{name}"
    );
}

#[tokio::test]
async fn strange_inputs_never_fail_a_create() {
    let world = World::start().await;
    let mut cx = world.request("40_executor_first_attempt", json!({}));
    cx.inputs = flyteidl2::task::Inputs {
        literals: vec![flyteidl2::task::NamedLiteral {
            name: "not in the interface".to_owned(),
            value: None,
        }],
        ..Default::default()
    };
    world.connector.create(cx).await.unwrap();
}
