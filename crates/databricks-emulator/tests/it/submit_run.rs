//! `runs/submit`: ids, idempotency, validation and recorded requests.

use crate::client::{Client, emulator, named, plain, python_task};
use databricks_emulator::{ApiVersion, CannedResponse, DEFAULT_TOKEN, Emulator, Endpoint};
use serde_json::{Value, json};

const SUBMIT: &str = "/api/2.2/jobs/runs/submit";

#[tokio::test]
async fn ids_count_up_and_bodies_are_kept_in_order() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    assert_eq!(client.submit(&named("one")).await, 514_594_995_218_126);
    assert_eq!(client.submit(&named("two")).await, 514_594_995_218_128);
    assert_eq!(emulator.submissions(), [named("one"), named("two")]);
    let names: Vec<_> = emulator.runs().into_iter().map(|run| run.run_name).collect();
    assert_eq!(names, ["one", "two"]);
}

#[tokio::test]
async fn same_idempotency_token_returns_the_same_run_until_it_is_deleted() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let mut body = named("etl");
    body["idempotency_token"] = json!("t-1");
    let run_id = client.submit(&body).await;
    client.ended_run(run_id).await;
    assert_eq!(client.submit(&body).await, run_id);
    assert_eq!(emulator.submissions().len(), 1);
    assert_eq!(emulator.runs()[0].idempotency_token.as_deref(), Some("t-1"));

    assert!(emulator.delete_run(run_id));
    assert!(!emulator.delete_run(run_id));
    let (status, response) = client.post(SUBMIT, &body).await;
    assert_eq!(status, 400);
    assert!(response["message"].as_str().unwrap().contains("deleted"));
    assert_eq!(client.get(&format!("/api/2.2/jobs/runs/get?run_id={run_id}")).await.0, 400);
}

#[tokio::test]
async fn concurrent_submits_with_one_token_start_one_run() {
    let emulator = emulator().await;
    let mut body = named("etl");
    body["idempotency_token"] = json!("t-1");
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (client, body) = (Client::of(&emulator), body.clone());
        calls.spawn(async move { client.submit(&body).await });
    }
    let ids = calls.join_all().await;
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(emulator.runs().len(), 1);
}

#[tokio::test]
async fn invalid_body_starts_no_run() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let (status, response) = client.post(SUBMIT, &json!({"tasks": [{"task_key": "main"}]})).await;
    assert_eq!(
        (status.as_u16(), &response["error_code"]),
        (400, &json!("INVALID_PARAMETER_VALUE"))
    );
    assert!(emulator.runs().is_empty() && emulator.submissions().is_empty());

    let malformed = plain()
        .post(format!("{}{SUBMIT}", emulator.http_url()))
        .bearer_auth(DEFAULT_TOKEN)
        .body("{");
    let response = malformed.send().await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(response.json::<Value>().await.unwrap()["error_code"], "MALFORMED_REQUEST");
}

#[tokio::test]
async fn body_over_10_mib_is_rejected() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let mut task = python_task("main");
    task["spark_python_task"]["parameters"] = json!(["x".repeat(10 * 1024 * 1024)]);
    let (status, _) = client.post(SUBMIT, &json!({"tasks": [task]})).await;
    assert_eq!(status, 413);
    assert!(emulator.runs().is_empty());
}

#[tokio::test]
async fn ignored_keys_and_headers_are_recorded() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let mut body = named("etl");
    body["colour"] = json!("blue");
    client.submit(&body).await;
    let request = emulator.requests().pop().unwrap();
    assert_eq!(
        (request.method.as_str(), request.path.as_str(), request.status),
        ("POST", SUBMIT, 200)
    );
    assert_eq!(request.body, Some(body));
    assert_eq!(request.ignored_keys, ["colour"]);
    assert_eq!(request.header("Content-Type"), Some("application/json"));
}

#[tokio::test]
async fn canned_responses_replace_calls() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let busy = CannedResponse::json(429, r#"{"error_code": "REQUEST_LIMIT_EXCEEDED"}"#)
        .with_header("retry-after", "1");
    emulator.answer_next(Endpoint::SubmitRun, busy, 2);
    for _ in 0..2 {
        let (status, response) = client.post(SUBMIT, &named("etl")).await;
        assert_eq!(
            (status.as_u16(), &response["error_code"]),
            (429, &json!("REQUEST_LIMIT_EXCEEDED"))
        );
    }
    assert!(emulator.runs().is_empty());
    client.submit(&named("etl")).await;
    let statuses: Vec<_> = emulator.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [429, 429, 200]);
}

#[tokio::test]
async fn unsupported_version_is_404_and_others_work() {
    let emulator = Emulator::builder().unsupported_version(ApiVersion::V2_2).start().await.unwrap();
    let client = Client::of(&emulator);
    let (status, response) = client.post(SUBMIT, &named("etl")).await;
    assert_eq!(
        (status.as_u16(), response),
        (404, json!({"error": format!("Bad Target: {SUBMIT}")}))
    );
    assert_eq!(client.post("/api/2.1/jobs/runs/submit", &named("etl")).await.0, 200);
}
