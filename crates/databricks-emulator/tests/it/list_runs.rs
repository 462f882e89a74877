//! `runs/list` and `runs/delete`.

use crate::client::{Client, emulator, named};
use serde_json::{Value, json};

fn ids(response: &Value) -> Vec<i64> {
    response["runs"].as_array().unwrap().iter().map(|run| run["run_id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn runs_field_is_absent_without_runs() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    assert_eq!(client.get("/api/2.2/jobs/runs/list").await.1, json!({}));
    assert_eq!(client.get("/api/2.1/jobs/runs/list").await.1, json!({"has_more": false}));
}

#[tokio::test]
async fn pages_list_the_latest_run_first() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let mut submitted = Vec::new();
    for n in 0..5 {
        submitted.push(client.submit(&named(&format!("r{n}"))).await);
    }
    submitted.reverse();
    let mut seen = Vec::new();
    let mut path = "/api/2.2/jobs/runs/list?limit=2&run_type=SUBMIT_RUN".to_owned();
    loop {
        let (_, page) = client.get(&path).await;
        assert_eq!(page.get("has_more"), None);
        assert_eq!(page["runs"][0].get("tasks"), None);
        seen.extend(ids(&page));
        let Some(token) = page["next_page_token"].as_str() else { break };
        path = format!("/api/2.2/jobs/runs/list?limit=2&page_token={token}");
    }
    assert_eq!(seen, submitted);
    let (_, rest) = client.get("/api/2.1/jobs/runs/list?offset=3&expand_tasks=true").await;
    assert_eq!(ids(&rest), submitted[3..]);
    assert_eq!(rest["runs"][0]["tasks"][0]["task_key"], "main");
}

#[tokio::test]
async fn filters_select_by_state_time_and_type() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let done = client.submit(&named("done")).await;
    let ended = client.ended_run(done).await;
    let active = client.submit(&named("active")).await;
    let list = async |query: &str| client.get(&format!("/api/2.2/jobs/runs/list?{query}")).await.1;

    assert_eq!(ids(&list("active_only=true").await), [active]);
    assert_eq!(ids(&list("completed_only=true").await), [done]);
    assert_eq!(ids(&list(&format!("job_id={}", ended["job_id"])).await), [done]);
    assert_eq!(list("run_type=JOB_RUN").await, json!({}));
    assert_eq!(list("start_time_from=99999999999999").await, json!({}));
    assert_eq!(ids(&list("start_time_from=1&start_time_to=99999999999999").await).len(), 2);
}

#[tokio::test]
async fn invalid_parameters_are_rejected() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let invalid = [
        "limit=27",
        "limit=-1",
        "limit=x",
        "active_only=True",
        "active_only=true&completed_only=true",
        "run_type=OTHER",
        "page_token=x",
    ];
    for query in invalid {
        let (status, response) = client.get(&format!("/api/2.2/jobs/runs/list?{query}")).await;
        assert_eq!(
            (status.as_u16(), &response["error_code"]),
            (400, &json!("INVALID_PARAMETER_VALUE")),
            "{query}"
        );
    }
    assert_eq!(client.get("/api/2.2/jobs/runs/list?limit=0").await.0, 200);
    assert_eq!(client.get("/api/2.2/jobs/runs/get").await.0, 400);
    assert_eq!(client.get("/api/2.2/jobs/runs/get?run_id=x").await.0, 400);
}

#[tokio::test]
async fn only_ended_runs_can_be_deleted() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let run_id = client.submit(&named("etl")).await;
    let delete =
        async || client.post("/api/2.2/jobs/runs/delete", &json!({"run_id": run_id})).await;
    assert_eq!(delete().await.1["error_code"], "INVALID_STATE");
    client.ended_run(run_id).await;
    assert_eq!(delete().await.0, 200);
    assert_eq!(emulator.run(run_id), None);
    assert_eq!(delete().await.0, 400);
}
