//! The clusters of runs.

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
async fn job_cluster_lives_as_long_as_its_run() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let run_id = client.submit(&named("etl")).await;
    client.run(run_id).await;
    let pending = client.run(run_id).await;
    let id = pending["tasks"][0]["cluster_instance"]["cluster_id"].as_str().unwrap().to_owned();
    let starting = cluster(&client, &id).await;
    assert_eq!((&starting["state"], starting.get("driver")), (&json!("PENDING"), None));

    let running = client.run(run_id).await;
    let active = cluster(&client, &id).await;
    assert_eq!((&active["state"], &active["num_workers"]), (&json!("RUNNING"), &json!(1)));
    assert!(active["driver"]["node_id"].is_string());
    // The same id, here as a number.
    assert_eq!(
        active["spark_context_id"].to_string(),
        running["tasks"][0]["cluster_instance"]["spark_context_id"]
    );

    let ended = client.ended_run(run_id).await;
    let terminated = cluster(&client, &id).await;
    assert_eq!(terminated["state"], "TERMINATED");
    assert_eq!(terminated["terminated_time"], ended["end_time"]);
    assert_eq!(
        terminated["termination_reason"],
        json!({"code": "JOB_FINISHED", "type": "SUCCESS", "parameters": {}})
    );
}

#[tokio::test]
async fn script_sets_the_termination_reason_also_of_an_existing_cluster() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let reason = ClusterTermination {
        code: "DRIVER_OUT_OF_MEMORY".to_owned(),
        kind: "CLIENT_ERROR".to_owned(),
        parameters: BTreeMap::from([("databricks_error_message".to_owned(), "m".to_owned())]),
    };
    emulator.set_script("oom", Script { cluster_termination: Some(reason), ..Script::default() });
    for (run_name, state, code) in
        [("oom", "TERMINATED", json!("DRIVER_OUT_OF_MEMORY")), ("etl", "RUNNING", Value::Null)]
    {
        let body = json!({"run_name": run_name, "tasks": [{"task_key": "main", "existing_cluster_id": "c-1",
            "spark_python_task": {"python_file": "dbfs:/a.py"}}]});
        client.ended_run(client.submit(&body).await).await;
        // The latest run on the cluster decides.
        let cluster = cluster(&client, "c-1").await;
        assert_eq!(
            (&cluster["state"], &cluster["termination_reason"]["code"]),
            (&json!(state), &code)
        );
    }
}

#[tokio::test]
async fn cluster_that_no_run_uses_does_not_exist() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let (status, error) = client.get("/api/2.1/clusters/get?cluster_id=c-9").await;
    assert_eq!((status.as_u16(), &error["error_code"]), (400, &json!("INVALID_PARAMETER_VALUE")));
    assert_eq!(error["message"], "Cluster c-9 does not exist");
    assert_eq!(client.get("/api/2.1/clusters/get").await.0, 400);
    assert_eq!(client.get("/api/2.2/clusters/get?cluster_id=c-9").await.0, 404);
}
