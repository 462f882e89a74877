use connector_core::Connector;
use serde_json::{Value, json};

use crate::harness::{Harness, TOKEN, stored};

/// Returns the body of the only submission.
fn submitted(harness: &Harness) -> Value {
    let mut all = harness.emulator.submissions();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[tokio::test]
async fn resource_meta_has_workspace_and_run_id_only() {
    let harness = Harness::start().await;
    let meta = harness
        .connector
        .create(harness.request("40_executor_first_attempt", json!({})))
        .await
        .unwrap();
    let run_id = harness.emulator.runs()[0].run_id;
    assert_eq!(
        Value::Object(stored(&meta)),
        json!({"databricks_instance": harness.emulator.http_url(), "run_id": run_id.to_string()})
    );
}

#[tokio::test]
async fn repeated_request_returns_the_same_run_and_the_next_attempt_another() {
    let harness = Harness::start().await;
    let first = harness
        .connector
        .create(harness.request("40_executor_first_attempt", json!({})))
        .await
        .unwrap();
    let again = harness
        .connector
        .create(harness.request("40_executor_first_attempt", json!({})))
        .await
        .unwrap();
    assert_eq!(stored(&first), stored(&again));
    let mut next = harness.request("40_executor_first_attempt", json!({}));
    next.execution.task_execution_id.as_mut().unwrap().retry_attempt = 1;
    let next = harness.connector.create(next).await.unwrap();
    assert_ne!(stored(&first), stored(&next));
    assert_eq!(harness.emulator.runs().len(), 2);
}

#[tokio::test]
async fn nodes_with_the_same_action_name_get_different_runs() {
    let harness = Harness::start().await;
    for node in ["n0", "n1"] {
        let mut cx = harness.request("40_executor_first_attempt", json!({}));
        let id = cx.execution.task_execution_id.as_mut().unwrap();
        id.node_execution_id.as_mut().unwrap().node_id = node.to_owned();
        harness.connector.create(cx).await.unwrap();
    }
    assert_eq!(harness.emulator.runs().len(), 2);
}

#[tokio::test]
async fn time_limit_that_nothing_enforces_is_in_the_first_message() {
    let harness = Harness::start().await;
    let mut cx = harness.request("40_executor_first_attempt", json!({}));
    let queued_timeout = Some(prost_types::Duration { seconds: 300, nanos: 0 });
    let timeouts = flyteidl2::core::TimeoutStrategy { queued_timeout, deadline: None };
    cx.template.metadata.as_mut().unwrap().timeouts = Some(timeouts);
    let meta = harness.connector.create(cx).await.unwrap();
    let first = harness.get(&meta).await.message;
    assert!(first.contains("`max_queued_time` of 300 s not enforced"), "{first}");
    assert!(!harness.get(&meta).await.message.contains("max_queued_time"));
}

#[tokio::test]
async fn idempotency_token_of_the_user_is_hashed() {
    let harness = Harness::start().await;
    let mut cx = harness.request("10_own_git_source", json!({}));
    cx.connection = connector_core::Connection::new();
    harness.connector.create(cx).await.unwrap();
    let token = submitted(&harness)["idempotency_token"].as_str().unwrap().to_owned();
    assert_eq!(token.len(), 64);
    assert!(!token.contains("my-token-1"));
}

#[tokio::test]
async fn token_of_the_task_takes_precedence_over_the_connectors() {
    let harness = Harness::with(|config| databricks_connector::Config {
        access_token: Some(secrecy::SecretString::from("dapi-wrong")),
        ..config
    })
    .await;
    let mut cx = harness.request("40_executor_first_attempt", json!({}));
    assert!(harness.connector.create(cx.clone()).await.is_err());
    cx.connection = cx
        .connection
        .with_secret("databricks_token", secrecy::SecretString::from(format!("{TOKEN}\n")));
    harness.connector.create(cx).await.unwrap();
}

#[tokio::test]
async fn new_cluster_has_image_spark_settings_and_variables() {
    let harness = Harness::start().await;
    let mut cx = harness.request("03_user_overrides", json!({}));
    cx.connection = connector_core::Connection::new();
    harness.connector.create(cx).await.unwrap();
    let body = submitted(&harness);
    let cluster = &body["tasks"][0]["new_cluster"];
    // The user's own image and settings take precedence; Flyte's are added.
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
    assert_eq!(
        variables["STAGE"], "task",
        "the container's variable takes precedence over the cluster's"
    );
    assert_eq!(variables["PYSPARK_PYTHON"], "/databricks/python3/bin/python3");
    assert_eq!(variables["RUN_NAME"], "r003x7k2m", "the request's variables reach the task");
    assert_eq!(cluster["num_workers"].to_string(), "4");
}

#[tokio::test]
async fn task_without_image_has_no_docker_image() {
    let harness = Harness::start().await;
    let mut cx = harness.request("40_executor_first_attempt", json!({}));
    if let Some(flyteidl2::core::task_template::Target::Container(container)) =
        cx.template.target.as_mut()
    {
        container.image = String::new();
    }
    harness.connector.create(cx).await.unwrap();
    assert_eq!(submitted(&harness)["tasks"][0]["new_cluster"].get("docker_image"), None);
}

#[tokio::test]
async fn workload_of_the_user_is_submitted_as_written() {
    let harness = Harness::start().await;
    let mut cx = harness.request("10_own_git_source", json!({}));
    cx.connection = connector_core::Connection::new();
    harness.connector.create(cx).await.unwrap();
    let body = submitted(&harness);
    assert_eq!(
        body["tasks"][0]["spark_python_task"],
        json!({"python_file": "entry.py", "parameters": ["--x"], "source": "GIT"})
    );
    assert_eq!(body["git_source"]["git_url"], "https://github.com/acme/jobs");
}

#[tokio::test]
async fn top_level_python_file_gets_the_runtime_arguments() {
    let harness = Harness::start().await;
    let cx = harness.request("40_executor_first_attempt", json!({"python_file": "mine.py"}));
    harness.connector.create(cx).await.unwrap();
    let task = submitted(&harness)["tasks"][0]["spark_python_task"].clone();
    assert_eq!(task["python_file"], "mine.py");
    assert_eq!(task["source"], "GIT");
    assert_eq!(task["parameters"][0], "a0");
    assert_eq!(task["parameters"][1], "--run-base-dir");
}

#[tokio::test]
async fn script_that_the_user_wrote_is_submitted_as_written_and_its_success_counts() {
    for script in [
        json!({"python_file": "dbfs:/jobs/append_sales.py"}),
        json!({"python_file": "dbfs:/jobs/append_sales.py", "parameters": []}),
        json!({"python_file": "mine.py", "source": "GIT"}),
        json!({"python_file": "/Workspace/Users/me/a.py", "parameters": ["--day", "1"]}),
    ] {
        let harness = Harness::start().await;
        let git = json!({"git_url": "https://github.com/acme/jobs", "git_provider": "gitHub", "git_branch": "main"});
        let conf =
            json!({"existing_cluster_id": "c", "git_source": git, "spark_python_task": script});
        let mut cx = harness.request_with_conf("40_executor_first_attempt", &conf);
        // A task without outputs, like most scripts.
        if let Some(interface) = cx.template.interface.as_mut() {
            interface.outputs = None;
        }
        let meta = harness.connector.create(cx).await.unwrap();
        assert_eq!(submitted(&harness)["tasks"][0]["spark_python_task"], script);
        let folder = tempfile::tempdir().unwrap();
        let prefix = format!("file://{}", folder.path().display());
        let resource = harness.end_with_prefix(&meta, &prefix).await;
        assert_eq!(resource.phase, connector_core::Phase::Succeeded, "{}", resource.message);
    }
}

#[tokio::test]
async fn repository_alone_is_not_searched_for_the_connectors_file() {
    let harness = Harness::start().await;
    let git = json!({"git_url": "https://github.com/acme/jobs", "git_provider": "gitHub", "git_tag": "v1"});
    let cx = harness.request("40_executor_first_attempt", json!({ "git_source": git }));
    harness.connector.create(cx).await.unwrap();
    let body = submitted(&harness);
    assert_eq!(body["git_source"], git);
    let task = &body["tasks"][0]["spark_python_task"];
    assert_eq!(task["source"], "WORKSPACE");
    assert!(task["python_file"].as_str().unwrap().contains("flyte_entrypoint_"), "{task}");
}

#[tokio::test]
async fn python_file_in_the_workspace_needs_no_repository() {
    let harness = Harness::start().await;
    harness
        .connector
        .create(harness.request(
            "40_executor_first_attempt",
            json!({"python_file": "/Workspace/Users/me/entry.py"}),
        ))
        .await
        .unwrap();
    let body = submitted(&harness);
    assert_eq!(body["tasks"][0]["spark_python_task"]["source"], "WORKSPACE");
    assert_eq!(body.get("git_source"), None);
}

#[tokio::test]
async fn unknown_keys_are_kept_and_task_keys_move_into_the_task() {
    let harness = Harness::start().await;
    let conf = json!({
        "max_retries": 1, "libraries": [{"pypi": {"package": "x"}}], "task_key": "mine",
        "queue": {"enabled": true}, "something_new": {"a": [1.5, 2]}, "timeout_seconds": 60,
    });
    harness.connector.create(harness.request("40_executor_first_attempt", conf)).await.unwrap();
    let body = submitted(&harness);
    let task = &body["tasks"][0];
    assert_eq!((&task["max_retries"], &task["task_key"]), (&json!(1), &json!("mine")));
    assert_eq!(task["libraries"], json!([{"pypi": {"package": "x"}}]));
    assert_eq!(body["queue"], json!({"enabled": true}));
    assert_eq!(body["something_new"].to_string(), r#"{"a":[1.5,2]}"#);
    assert_eq!(body["timeout_seconds"].to_string(), "60");
    assert_eq!(body.get("max_retries"), None);
}

#[tokio::test]
async fn task_list_of_the_user_is_submitted_as_written() {
    let harness = Harness::start().await;
    let tasks = json!([
        {"task_key": "a", "existing_cluster_id": "c", "notebook_task": {"notebook_path": "/a"}},
        {"task_key": "b", "existing_cluster_id": "c", "notebook_task": {"notebook_path": "/b"}, "depends_on": [{"task_key": "a"}]},
    ]);
    let conf = json!({ "tasks": tasks });
    let cx = harness.request_with_conf("40_executor_first_attempt", &conf);
    harness.connector.create(cx).await.unwrap();
    let body = submitted(&harness);
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
async fn inputs_outside_the_interface_do_not_fail_a_create() {
    let harness = Harness::start().await;
    let mut cx = harness.request("40_executor_first_attempt", json!({}));
    cx.inputs = flyteidl2::task::Inputs {
        literals: vec![flyteidl2::task::NamedLiteral {
            name: "not in the interface".to_owned(),
            value: None,
        }],
        ..Default::default()
    };
    harness.connector.create(cx).await.unwrap();
}
