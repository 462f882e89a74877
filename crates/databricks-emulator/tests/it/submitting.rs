//! Submits: what is remembered, and what is refused on the wire.

use crate::client::{Client, emulator, named, plain, python_task};
use databricks_emulator::{ApiVersion, CannedAnswer, DEFAULT_TOKEN, Emulator, Endpoint};
use serde_json::{Value, json};

const SUBMIT: &str = "/api/2.2/jobs/runs/submit";

#[tokio::test]
async fn ids_follow_from_the_first_and_bodies_are_kept_in_order() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    assert_eq!(client.submit(&named("one")).await, 514_594_995_218_126);
    assert_eq!(client.submit(&named("two")).await, 514_594_995_218_128);
    assert_eq!(emulator.submissions(), [named("one"), named("two")]);
    let names: Vec<_> = emulator.runs().into_iter().map(|run| run.run_name).collect();
    assert_eq!(names, ["one", "two"]);
}

#[tokio::test]
async fn the_same_token_is_the_same_run_until_it_is_deleted() {
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
    let (status, answer) = client.post(SUBMIT, &body).await;
    assert_eq!(status, 400);
    assert!(answer["message"].as_str().unwrap().contains("deleted"));
    assert_eq!(client.get(&format!("/api/2.2/jobs/runs/get?run_id={run_id}")).await.0, 400);
}

#[tokio::test]
async fn many_submits_of_one_token_at_once_start_one_run() {
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
async fn a_refused_body_starts_nothing() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let (status, answer) = client.post(SUBMIT, &json!({"tasks": [{"task_key": "main"}]})).await;
    assert_eq!((status.as_u16(), &answer["error_code"]), (400, &json!("INVALID_PARAMETER_VALUE")));
    assert!(emulator.runs().is_empty() && emulator.submissions().is_empty());

    let malformed = plain()
        .post(format!("{}{SUBMIT}", emulator.http_url()))
        .bearer_auth(DEFAULT_TOKEN)
        .body("{");
    let answer = malformed.send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.json::<Value>().await.unwrap()["error_code"], "MALFORMED_REQUEST");
}

#[tokio::test]
async fn a_body_over_10_mib_is_refused() {
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
async fn canned_answers_come_before_any_effect() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let busy = CannedAnswer::json(429, r#"{"error_code": "REQUEST_LIMIT_EXCEEDED"}"#)
        .with_header("retry-after", "1");
    emulator.answer_next(Endpoint::SubmitRun, busy, 2);
    for _ in 0..2 {
        let (status, answer) = client.post(SUBMIT, &named("etl")).await;
        assert_eq!(
            (status.as_u16(), &answer["error_code"]),
            (429, &json!("REQUEST_LIMIT_EXCEEDED"))
        );
    }
    assert!(emulator.runs().is_empty());
    client.submit(&named("etl")).await;
    let statuses: Vec<_> = emulator.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [429, 429, 200]);
}

#[tokio::test]
async fn a_gateway_without_2_2_still_serves_2_1() {
    let emulator = Emulator::builder().bad_target(ApiVersion::V2_2).start().await.unwrap();
    let client = Client::of(&emulator);
    let (status, answer) = client.post(SUBMIT, &named("etl")).await;
    assert_eq!((status.as_u16(), answer), (404, json!({"error": format!("Bad Target: {SUBMIT}")})));
    assert_eq!(client.post("/api/2.1/jobs/runs/submit", &named("etl")).await.0, 200);
}
