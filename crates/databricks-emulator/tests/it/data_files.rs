//! Files of DBFS, and cluster log delivery and events.

use crate::client::{Client, emulator};
use databricks_emulator::{Emulator, Pace, Script};
use serde_json::{Value, json};

fn with_logs(destination: &Value) -> Value {
    json!({"run_name": "etl", "tasks": [{"task_key": "main",
        "new_cluster": {"spark_version": "15.4.x", "num_workers": 1, "cluster_log_conf": destination},
        "spark_python_task": {"python_file": "dbfs:/etl.py"}}]})
}

async fn running(emulator: &Emulator, destination: &Value) -> (Client, i64, String) {
    let client = Client::of(emulator);
    emulator.set_script("etl", Script::default().with_pace(Pace::Manual));
    let run_id = client.submit(&with_logs(destination)).await;
    assert_eq!(emulator.log_folder(run_id, "main"), None);
    emulator.advance(run_id);
    emulator.advance(run_id);
    let folder = emulator.log_folder(run_id, "main").unwrap();
    (client, run_id, folder)
}

#[tokio::test]
async fn logs_in_dbfs_are_listed_and_read() {
    let emulator = emulator().await;
    let (client, _, folder) =
        running(&emulator, &json!({"dbfs": {"destination": "dbfs:/logs"}})).await;
    let path = folder.strip_prefix("dbfs:").unwrap().to_owned();
    let list = format!("/api/2.0/dbfs/list?path={path}");
    assert_eq!(client.get(&list).await.0, 404);
    emulator.append_file(&format!("{folder}/stdout"), "one\n");
    emulator
        .rename_file(&format!("{folder}/stdout"), &format!("{folder}/stdout--2026-01-01--00-00"));
    emulator.append_file(&format!("{folder}/stdout"), "two\n");
    let (_, listed) = client.get(&list).await;
    assert_eq!(listed["files"][0]["path"], format!("{path}/stdout"));
    assert_eq!(listed["files"][1]["path"], format!("{path}/stdout--2026-01-01--00-00"));
    let (_, read) = client.get(&format!("/api/2.0/dbfs/read?path={path}/stdout&offset=1")).await;
    assert_eq!(read, json!({"bytes_read": 3, "data": "d28K"}));
    let (_, status) = client.get(&format!("/api/2.0/dbfs/get-status?path={path}")).await;
    assert_eq!(status["is_dir"], true);
}

#[tokio::test]
async fn cluster_shows_its_log_configuration_and_events() {
    let emulator = emulator().await;
    let conf = json!({"volumes": {"destination": "/Volumes/c/s/v/logs"}});
    let (client, run_id, folder) = running(&emulator, &conf).await;
    let id = folder.strip_prefix("/Volumes/c/s/v/logs/").unwrap().strip_suffix("/driver").unwrap();
    let (_, cluster) = client.get(&format!("/api/2.1/clusters/get?cluster_id={id}")).await;
    assert_eq!(cluster["cluster_log_conf"], conf);
    emulator.advance(run_id);
    let (_, cluster) = client.get(&format!("/api/2.1/clusters/get?cluster_id={id}")).await;
    assert_eq!(cluster["cluster_log_status"]["last_attempted"], cluster["terminated_time"]);
    let body =
        json!({"cluster_id": id, "order": "ASC", "event_types": ["CREATING", "TERMINATING"]});
    let (status, response) = client.post("/api/2.1/clusters/events", &body).await;
    assert_eq!(status, 200, "{response}");
    let kinds: Vec<_> =
        response["events"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert_eq!(kinds, ["CREATING", "TERMINATING"]);
    assert_eq!(client.post("/api/2.1/clusters/events", &json!({"cluster_id": "x"})).await.0, 400);
}
