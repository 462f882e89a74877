//! Starts runs once, lists them, and waits until they have ended.

use std::time::Duration;

use databricks_client::{
    ErrorKind, RunId,
    jobs::{ListRuns, Outcome, Run, Submission, WaitForEnd},
};
use databricks_emulator::{Emulator, Script};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer,
    matchers::{any, path, query_param, query_param_is_missing},
};

use crate::fixture::{answer, body, builder, client, client_of};

fn task(task_key: &str) -> Value {
    json!({"task_key": task_key, "existing_cluster_id": "0801-120000-abcdefgh",
        "spark_python_task": {"python_file": "dbfs:/a.py"}})
}

#[tokio::test]
async fn runs_of_all_pages_are_a_stream_that_reads_no_page_too_early() {
    let emulator = Emulator::builder().token("dapi-test").start().await.unwrap();
    let client = client_of(builder(), &emulator.http_url());
    let submit = async |run_name: String| {
        let submission = Submission::new(body(json!({"run_name": run_name, "tasks": [task("t")]})));
        client.submit_run(&submission).await.unwrap()
    };
    let mut submitted = Vec::new();
    for number in 0..5 {
        submitted.push(submit(number.to_string()).await);
    }
    submitted.reverse();
    let lists = || emulator.requests().iter().filter(|sent| sent.path.ends_with("/list")).count();
    let filter = ListRuns { limit: Some(2), ..ListRuns::default() };
    let runs: Vec<Run> = client.runs(filter.clone()).try_collect().await.unwrap();
    let ids: Vec<RunId> = runs.into_iter().filter_map(|run| run.run_id).collect();
    assert_eq!((ids, lists()), (submitted.clone(), 3));
    let first: Vec<Run> = client.runs(filter.clone()).take(2).try_collect().await.unwrap();
    assert_eq!((first.len(), lists()), (2, 4));
    // The second page on.
    let page_token = client.list_runs(&filter).await.unwrap().next_page_token;
    let rest = client.runs(ListRuns { page_token, ..filter }).try_collect::<Vec<Run>>().await;
    assert_eq!(rest.unwrap()[0].run_id, Some(submitted[2]));
}

#[tokio::test]
async fn stream_of_runs_ends_at_the_first_error() {
    let server = MockServer::start().await;
    let page = json!({"runs": [{"run_id": 8}], "next_page_token": "p2"});
    Mock::given(query_param_is_missing("page_token"))
        .respond_with(answer(200, page))
        .mount(&server)
        .await;
    let denied = json!({"error_code": "PERMISSION_DENIED", "message": "no"});
    Mock::given(query_param("page_token", "p2"))
        .respond_with(answer(403, denied))
        .expect(1)
        .mount(&server)
        .await;
    let kinds: Vec<Option<ErrorKind>> = client(&server)
        .runs(ListRuns::default())
        .map(|run| run.err().map(|error| error.kind()))
        .collect()
        .await;
    assert_eq!(kinds, [None, Some(ErrorKind::Forbidden)]);
}

#[tokio::test]
async fn wait_for_end_returns_the_run_with_all_its_tasks_and_its_outcome() {
    let emulator = Emulator::builder().token("dapi-test").start().await.unwrap();
    emulator.set_script("etl", Script::failed("ValueError: no such table", "Traceback"));
    let client = client_of(builder(), &emulator.http_url());
    let tasks: Vec<Value> = (0..101).map(|number| task(&format!("t{number}"))).collect();
    let submission = Submission::new(body(json!({"run_name": "etl", "tasks": tasks})));
    let run_id = client.submit_run(&submission).await.unwrap();
    let wait = WaitForEnd::within(Duration::from_mins(5)).poll_interval(Duration::from_millis(1));
    let run = client.wait_for_end(run_id, wait).await.unwrap();
    assert_eq!((run.outcome(), run.tasks.len()), (Some(Outcome::UserFailure), 101));
    // Only the last read has a second page.
    let reads = emulator.requests().into_iter().filter(|sent| sent.path.ends_with("/get"));
    let pages: Vec<bool> = reads.map(|sent| sent.query.contains("page_token")).collect();
    assert_eq!(pages.iter().filter(|is_second| **is_second).count(), 1);
    assert!(pages.len() > 2 && pages.ends_with(&[true]), "{pages:?}");
}

#[tokio::test]
async fn wait_for_end_stops_in_time_and_names_the_state() {
    let server = MockServer::start().await;
    Mock::given(path("/api/2.2/jobs/runs/get"))
        .respond_with(answer(200, json!({"run_id": 7, "status": {"state": "PENDING"}})))
        .expect(2)
        .mount(&server)
        .await;
    let client = client(&server);
    // No time for a second read; the client's own deadline counts too.
    for (client, wait) in [
        (client.clone(), WaitForEnd::within(Duration::from_millis(900))),
        (client.with_timeout(Duration::from_millis(900)), WaitForEnd::within(Duration::MAX)),
    ] {
        let error = client.wait_for_end(RunId::try_from(7).unwrap(), wait).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("its state is PENDING"), "{error}");
    }
}

#[tokio::test]
async fn idempotency_token_of_a_body_is_used_by_submit_and_by_run_now() {
    for (token, expected) in [
        (json!("mine"), Some("mine")),
        // Databricks treats an empty token as none, and so does the client.
        (json!(""), None),
        (json!(null), None),
        (json!(7), None),
    ] {
        let submission = Submission::new(body(json!({"idempotency_token": token})));
        assert_eq!(submission.idempotency_token(), expected, "{token}");
        for is_submit in [true, false] {
            let server = MockServer::start().await;
            // A request with a token is sent again.
            Mock::given(any())
                .respond_with(answer(503, json!({})))
                .up_to_n_times(1)
                .mount(&server)
                .await;
            Mock::given(any()).respond_with(answer(200, json!({"run_id": 7}))).mount(&server).await;
            let client = client(&server);
            let started = if is_submit {
                client.submit_run(&submission).await
            } else {
                client.run_now(&submission).await
            };
            assert_eq!(started.is_ok(), expected.is_some(), "{token}");
            let sent = server.received_requests().await.unwrap();
            let body: Value = sent[0].body_json().unwrap();
            // An invalid token is left to Databricks.
            let expected =
                if token == json!(7) { Some(token.clone()) } else { expected.map(Into::into) };
            assert_eq!(body.get("idempotency_token").cloned(), expected, "{token}");
        }
    }
    let replaced =
        Submission::new(body(json!({"idempotency_token": 7}))).with_idempotency_token("x");
    assert_eq!(serde_json::to_value(replaced).unwrap(), json!({"idempotency_token": "x"}));
    let emptied = Submission::new(body(json!({}))).with_idempotency_token("");
    assert_eq!(emptied.idempotency_token(), None);
}
