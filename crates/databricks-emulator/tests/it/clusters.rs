//! The clusters that runs work on.

use crate::client::{Client, emulator, named};
use databricks_emulator::{ClusterTermination, Script};
use serde_json::{Value, json};
use std::collections::BTreeMap;

async fn cluster(client: &Client, id: &str) -> Value {
    let (status, cluster) = client.get(&format!("/api/2.1/clusters/get?cluster_id={id}")).await;
    assert_eq!(status, 200, "{cluster}");
    cluster
}

#[tokio::test]
async fn a_cluster_of_a_runs_own_lives_as_long_as_the_run() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let run_id = client.submit(&named("etl")).await;
    client.run(run_id).await;
    let pending = client.run(run_id).await;
    let id = pending["tasks"][0]["cluster_instance"]["cluster_id"].as_str().unwrap().to_owned();
    let starting = cluster(&client, &id).await;
    assert_eq!((&starting["state"], starting.get("driver")), (&json!("PENDING"), None));

    let running = client.run(run_id).await;
    let works = cluster(&client, &id).await;
    assert_eq!((&works["state"], &works["num_workers"]), (&json!("RUNNING"), &json!(1)));
    assert!(works["driver"]["node_id"].is_string());
    // The same number, here as a number.
    assert_eq!(
        works["spark_context_id"].to_string(),
        running["tasks"][0]["cluster_instance"]["spark_context_id"]
    );

    let ended = client.ended_run(run_id).await;
    let gone = cluster(&client, &id).await;
    assert_eq!(gone["state"], "TERMINATED");
    assert_eq!(gone["terminated_time"], ended["end_time"]);
    assert_eq!(
        gone["termination_reason"],
        json!({"code": "JOB_FINISHED", "type": "SUCCESS", "parameters": {}})
    );
}

#[tokio::test]
async fn a_script_tells_why_the_cluster_ended_an_existing_one_too() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let reason = ClusterTermination {
        code: "DRIVER_OUT_OF_MEMORY".to_owned(),
        kind: "CLIENT_ERROR".to_owned(),
        parameters: BTreeMap::from([("databricks_error_message".to_owned(), "m".to_owned())]),
    };
    emulator.script("oom", Script { cluster_termination: Some(reason), ..Script::default() });
    for (run_name, state, code) in
        [("oom", "TERMINATED", json!("DRIVER_OUT_OF_MEMORY")), ("etl", "RUNNING", Value::Null)]
    {
        let body = json!({"run_name": run_name, "tasks": [{"task_key": "main", "existing_cluster_id": "c-1",
            "spark_python_task": {"python_file": "dbfs:/a.py"}}]});
        client.ended_run(client.submit(&body).await).await;
        // Of several runs on it, the latest tells.
        let cluster = cluster(&client, "c-1").await;
        assert_eq!(
            (&cluster["state"], &cluster["termination_reason"]["code"]),
            (&json!(state), &code)
        );
    }
}

#[tokio::test]
async fn a_cluster_that_no_run_asked_for_does_not_exist() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let (status, refusal) = client.get("/api/2.1/clusters/get?cluster_id=c-9").await;
    assert_eq!((status.as_u16(), &refusal["error_code"]), (400, &json!("INVALID_PARAMETER_VALUE")));
    assert_eq!(refusal["message"], "Cluster c-9 does not exist");
    assert_eq!(client.get("/api/2.1/clusters/get").await.0, 400);
    assert_eq!(client.get("/api/2.2/clusters/get?cluster_id=c-9").await.0, 404);
}
