//! The admin API under `/emulator/v1/`.

use crate::client::{Client, emulator, named};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn admin_api_sets_scripts_and_lists_runs_and_requests() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let script = json!({"pace": "manual", "steps": [{"state": "RUNNING"}], "outcome": {"internal_error": {"message": "m"}}});
    let (status, _) =
        client.call(Method::PUT, "/emulator/v1/scripts/my%20runs/etl", Some(&script)).await;
    assert_eq!(status, 204);
    let run_id = client.submit(&named("my runs/etl")).await;

    let (_, advanced) =
        client.call(Method::POST, &format!("/emulator/v1/runs/{run_id}/advance"), None).await;
    assert_eq!(advanced["life_cycle"], "INTERNAL_ERROR");
    assert_eq!(client.get("/emulator/v1/runs").await.1, json!([advanced]));

    let (_, requests) = client.get("/emulator/v1/requests").await;
    assert_eq!(requests.as_array().unwrap().len(), 1, "admin calls are not recorded");
    assert_eq!(
        requests[0]["authorization"],
        json!({"present": {"scheme": "Bearer", "accepted": true}})
    );

    let path = format!("/emulator/v1/runs/{run_id}");
    assert_eq!(client.call(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(client.call(Method::DELETE, &path, None).await.0, 404);
    assert!(emulator.runs().is_empty());
}

#[tokio::test]
async fn invalid_admin_requests_are_rejected() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let bad = json!({"pace": "brisk"});
    let (status, response) = client.call(Method::PUT, "/emulator/v1/scripts/etl", Some(&bad)).await;
    assert_eq!(status, 400);
    assert!(response["message"].as_str().unwrap().contains("brisk"));
    assert_eq!(client.call(Method::POST, "/emulator/v1/runs/x/advance", None).await.0, 400);
    assert_eq!(client.call(Method::POST, "/emulator/v1/runs/1/advance", None).await.0, 404);
    assert_eq!(client.call(Method::GET, "/emulator/v1/nothing", None).await.0, 404);
    assert_eq!(client.call(Method::DELETE, "/emulator/v1/runs", None).await.0, 404);
}
