//! The Jobs API: requests, and responses in their real form.

use databricks_client::{
    ErrorKind, RunId,
    jobs::{
        LifeCycleState, LifecycleStateV2, ListRuns, MissingTasks, QueueCode, ResultState, Run,
        Submission, TerminationCode, TerminationType,
    },
};
use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, body_json, header, method, path, query_param, query_param_is_missing},
};

use crate::fixture::{answer, body, client};

fn run_id(number: i64) -> RunId {
    RunId::try_from(number).unwrap()
}

fn fixture(text: &'static str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(text, "application/json")
}

/// Returns the run that the client parses from this response.
async fn read(text: &'static str) -> Run {
    let server = MockServer::start().await;
    Mock::given(path("/api/2.2/jobs/runs/get")).respond_with(fixture(text)).mount(&server).await;
    client(&server).get_run(run_id(7)).await.unwrap()
}

#[tokio::test]
async fn submission_is_sent_unchanged_with_token_and_headers() {
    let server = MockServer::start().await;
    let agent = format!(
        "it/1.2.3 databricks-client/{} os/{} auth/pat",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS
    );
    Mock::given(method("POST"))
        .and(path("/api/2.2/jobs/runs/submit"))
        .and(header("authorization", "Bearer dapi-test"))
        .and(header("content-type", "application/json"))
        .and(header("user-agent", agent.as_str()))
        .and(body_json(json!({
            "run_name": "r",
            "tasks": [{"task_key": "t", "new_cluster": {"num_workers": 2}}],
            "an_unknown_key": 9_007_199_254_740_993_i64,
            "idempotency_token": "once",
        })))
        .respond_with(answer(200, json!({"run_id": 334_747_067_049_496_i64})))
        .expect(1)
        .mount(&server)
        .await;
    let submission = Submission::new(body(json!({
        "run_name": "r",
        "tasks": [{"task_key": "t", "new_cluster": {"num_workers": 2}}],
        "an_unknown_key": 9_007_199_254_740_993_i64,
    })))
    .with_idempotency_token("once");
    let run = client(&server).submit_run(&submission).await.unwrap();
    assert_eq!(run.get(), 334_747_067_049_496);
}

#[tokio::test]
async fn each_call_has_its_path_token_and_user_agent() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer(200, json!({"run_id": 7}))).mount(&server).await;
    let client = client(&server);
    client.submit_run(&Submission::new(body(json!({})))).await.unwrap();
    client.get_run(run_id(7)).await.unwrap();
    client.get_run_output(run_id(8)).await.unwrap();
    client.cancel_run(run_id(7)).await.unwrap();
    client.list_runs(&ListRuns::default()).await.unwrap();
    let sent = server.received_requests().await.unwrap();
    let paths: Vec<String> = sent
        .iter()
        .map(|request| {
            let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
            format!("{} {}{query}", request.method, request.url.path())
        })
        .collect();
    let expected = [
        "POST /api/2.2/jobs/runs/submit",
        "GET /api/2.2/jobs/runs/get?run_id=7",
        "GET /api/2.2/jobs/runs/get-output?run_id=8",
        "POST /api/2.2/jobs/runs/cancel",
        "GET /api/2.2/jobs/runs/list",
    ];
    assert_eq!(paths, expected);
    for request in sent {
        assert_eq!(request.headers["authorization"], "Bearer dapi-test");
        assert!(request.headers["user-agent"].to_str().unwrap().starts_with("it/1.2.3 "));
        let is_read = request.method.as_str() == "GET";
        assert_eq!(request.body.is_empty(), is_read);
        assert_eq!(request.headers.contains_key("content-type"), !is_read);
    }
}

#[tokio::test]
async fn run_id_is_parsed_from_numbers_and_strings() {
    for id in [json!(9_007_199_254_740_993_i64), json!("9007199254740993")] {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(answer(200, json!({"run_id": id})))
            .mount(&server)
            .await;
        let run = client(&server).submit_run(&Submission::new(body(json!({})))).await.unwrap();
        assert_eq!(run.to_string(), "9007199254740993");
    }
}

#[tokio::test]
async fn failed_run_is_parsed() {
    let run = read(include_str!("fixtures/run_failed.json")).await;
    let state = run.state.as_ref().unwrap();
    assert_eq!(state.life_cycle_state, Some(LifeCycleState::InternalError));
    assert_eq!(state.result_state, Some(ResultState::Failed));
    let status = run.status.as_ref().unwrap();
    assert_eq!(status.state, Some(LifecycleStateV2::Terminated));
    let details = status.termination_details.as_ref().unwrap();
    assert_eq!(details.code, Some(TerminationCode::RunExecutionError));
    assert_eq!(details.kind, Some(TerminationType::ClientError));
    assert_eq!(run.run_id, Some(run_id(514_594_995_218_126)));
    assert_eq!((run.execution_duration, run.run_duration), (Some(0), Some(95_000)));
    assert_eq!(run.end_time, Some(1_755_000_095_000));
    // One element per attempt.
    assert_eq!(run.tasks.len(), 2);
    let latest = run.latest_attempts();
    assert_eq!(latest.len(), 1);
    assert_eq!(latest[0].run_id, Some(run_id(514_594_995_218_128)));
    let cluster = latest[0].cluster_instance.as_ref().unwrap();
    assert_eq!(cluster.cluster_id.as_deref(), Some("0812-093011-abcd1234"));
    assert_eq!(cluster.spark_context_id.as_deref(), Some("2683025026034934417"));
}

#[tokio::test]
async fn cancelled_run_has_termination_type_success() {
    let run = read(include_str!("fixtures/run_canceled.json")).await;
    let details = run.status.unwrap().termination_details.unwrap();
    assert_eq!(details.code, Some(TerminationCode::UserCanceled));
    assert_eq!(details.kind, Some(TerminationType::Success));
    assert_eq!(run.state.unwrap().user_cancelled_or_timedout, Some(true));
}

#[tokio::test]
async fn queued_run_has_a_reason() {
    let run = read(include_str!("fixtures/run_queued.json")).await;
    let queue = run.status.unwrap().queue_details.unwrap();
    assert_eq!(queue.code, Some(QueueCode::ActiveRunsLimitReached));
    // 0 means not yet known. A task that has not started has no run id.
    assert_eq!(run.end_time, Some(0));
    assert_eq!(run.tasks[0].run_id, None);
}

#[tokio::test]
async fn unknown_null_and_absent_fields_are_accepted() {
    let run = read(include_str!("fixtures/run_with_unknown_fields.json")).await;
    assert_eq!(run.status.unwrap().state, Some(LifecycleStateV2::Other("HIBERNATING".to_owned())));
    assert_eq!(
        run.state.unwrap().life_cycle_state,
        Some(LifeCycleState::Other("HIBERNATING".to_owned()))
    );
    assert_eq!(run.run_id, Some(run_id(9_007_199_254_740_993)));
    assert_eq!((run.start_time, run.end_time, run.job_id), (Some(1_755_000_000_000), None, None));
    assert_eq!(run.tasks[0].task_key, "");
    assert!(run.iterations.is_empty());
    let empty = read("{}").await;
    assert_eq!((empty.run_id, empty.status, empty.tasks.len()), (None, None, 0));
}

#[tokio::test]
async fn all_pages_of_a_run_are_read() {
    let server = MockServer::start().await;
    let page = |token: Option<&str>, response: serde_json::Value| {
        let mock = Mock::given(method("GET"))
            .and(path("/api/2.2/jobs/runs/get"))
            .and(query_param("run_id", "7"));
        let mock = match token {
            Some(token) => mock.and(query_param("page_token", token)),
            None => mock.and(query_param_is_missing("page_token")),
        };
        mock.respond_with(answer(200, response)).expect(1)
    };
    page(None, json!({"run_id": 7, "tasks": [{"task_key": "a"}], "next_page_token": "p=2&x"}))
        .mount(&server)
        .await;
    // A page may lack its arrays.
    page(Some("p=2&x"), json!({"run_id": 7, "next_page_token": "p3"})).mount(&server).await;
    page(Some("p3"), json!({"run_id": 7, "tasks": [{"task_key": "b"}], "next_page_token": ""}))
        .mount(&server)
        .await;
    let run = client(&server).get_run(run_id(7)).await.unwrap();
    let keys: Vec<&str> = run.tasks.iter().map(|task| task.task_key.as_str()).collect();
    assert_eq!((keys, run.next_page_token), (vec!["a", "b"], None));
}

#[tokio::test]
async fn for_each_run_has_pages_of_iterations_and_one_task() {
    let server = MockServer::start().await;
    let task = json!({"task_key": "each"});
    for (token, iterations, next) in [
        ("", json!([{"task_key": "i0"}]), "p2"),
        ("p2", json!([{"task_key": "i1"}]), "p3"),
        ("p3", json!([]), ""),
    ] {
        let mock = Mock::given(path("/api/2.2/jobs/runs/get"));
        let mock = if token.is_empty() {
            mock.and(query_param_is_missing("page_token"))
        } else {
            mock.and(query_param("page_token", token))
        };
        mock.respond_with(answer(
            200,
            json!({"tasks": [task], "iterations": iterations, "next_page_token": next}),
        ))
        .mount(&server)
        .await;
    }
    let run = client(&server).get_run(run_id(7)).await.unwrap();
    assert_eq!((run.tasks.len(), run.iterations.len()), (1, 2));
}

#[tokio::test]
async fn number_of_pages_of_a_run_is_limited() {
    let server = MockServer::start().await;
    Mock::given(path("/api/2.2/jobs/runs/get"))
        .respond_with(answer(
            200,
            json!({"tasks": [{"task_key": "a"}], "next_page_token": "again"}),
        ))
        .expect(1..=100)
        .mount(&server)
        .await;
    let run = client(&server).get_run(run_id(7)).await.unwrap();
    assert_eq!((run.tasks.len(), run.missing_tasks), (0, Some(MissingTasks::TooMany)));
}

#[tokio::test]
async fn failed_later_page_keeps_the_state_of_the_run() {
    for (response, is_transient) in [
        (ResponseTemplate::new(503), true),
        (ResponseTemplate::new(200).set_body_string("[]"), false),
        (answer(400, json!({"error_code": "INVALID_PARAMETER_VALUE", "message": "m"})), false),
    ] {
        let server = MockServer::start().await;
        Mock::given(query_param("page_token", "p2")).respond_with(response).mount(&server).await;
        let first = json!({"status": {"state": "TERMINATED"}, "tasks": [{"task_key": "a"}],
            "next_page_token": "p2"});
        Mock::given(any()).respond_with(answer(200, first)).with_priority(9).mount(&server).await;
        let run = client(&server).get_run(run_id(7)).await.unwrap();
        assert!(run.has_ended() && run.tasks.len() == 1);
        match run.missing_tasks {
            Some(MissingTasks::Unreadable { is_transient: found, .. }) => {
                assert_eq!(found, is_transient);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn tasks_beyond_the_bound_are_dropped_and_the_state_is_kept() {
    let tasks = |count: usize| vec![json!({"task_key": "a"}); count];
    let run_with =
        |tasks: Vec<serde_json::Value>| json!({"tasks": tasks, "status": {"state": "TERMINATED"}});
    for (count, kept) in [(9_999, 9_999), (10_000, 0), (200_000, 0)] {
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(answer(200, run_with(tasks(count)))).mount(&server).await;
        let run = client(&server).get_run(run_id(7)).await.unwrap();
        assert!(run.has_ended());
        assert_eq!(run.tasks.len(), kept);
        assert_eq!(run.missing_tasks, (kept == 0).then_some(MissingTasks::TooMany));
    }
    // The bound counts all pages.
    let server = MockServer::start().await;
    let mut page = run_with(tasks(600));
    page["next_page_token"] = json!("again");
    Mock::given(any()).respond_with(answer(200, page)).expect(1..=18).mount(&server).await;
    let run = client(&server).get_run(run_id(7)).await.unwrap();
    assert!(run.has_ended());
    assert_eq!((run.tasks.len(), run.missing_tasks), (0, Some(MissingTasks::TooMany)));
}

#[tokio::test]
async fn list_beyond_the_bound_is_too_large() {
    let server = MockServer::start().await;
    let body = json!({"runs": vec![json!({}); 10_001]});
    Mock::given(any()).respond_with(answer(200, body)).mount(&server).await;
    let error = client(&server).list_runs(&ListRuns::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn output_of_a_task_is_parsed() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/api/2.2/jobs/runs/get-output"))
        .and(query_param("run_id", "8"))
        .respond_with(fixture(include_str!("fixtures/output_failed.json")))
        .mount(&server)
        .await;
    let output = client(&server).get_run_output(run_id(8)).await.unwrap();
    assert_eq!(output.logs.as_deref(), Some("line 1\nline 2\n"));
    assert_eq!(output.logs_truncated, Some(false));
    assert_eq!(output.error.as_deref(), Some("ValueError: no such table"));
    assert!(output.error_trace.unwrap().starts_with("Traceback"));
    let notebook = output.notebook_output.unwrap();
    assert_eq!((notebook.result.as_deref(), notebook.truncated), (Some("42"), Some(false)));
}

#[tokio::test]
async fn longest_log_of_databricks_is_read() {
    let server = MockServer::start().await;
    let log = "\u{1}".repeat(2_500_000);
    Mock::given(method("GET")).respond_with(answer(200, json!({"logs": log}))).mount(&server).await;
    // 2.5 million control characters are 15 MB of JSON.
    let output = client(&server).get_run_output(run_id(8)).await.unwrap();
    assert_eq!(output.logs.map(|logs| logs.len()), Some(2_500_000));
}

#[tokio::test]
async fn get_output_of_a_whole_run_is_invalid() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(answer(
            400,
            json!({
                "error_code": "INVALID_PARAMETER_VALUE",
                "message": "Retrieving the output of runs with multiple tasks is not supported.",
            }),
        ))
        .expect(1)
        .mount(&server)
        .await;
    let error = client(&server).get_run_output(run_id(7)).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Invalid, Some(400)));
}

#[tokio::test]
async fn cancel_accepts_any_body() {
    for accepted in [
        ResponseTemplate::new(200),
        ResponseTemplate::new(202).set_body_string("{}"),
        ResponseTemplate::new(200).set_body_string("null"),
    ] {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/api/2.2/jobs/runs/cancel"))
            .and(body_json(json!({"run_id": 9_007_199_254_740_993_i64})))
            .respond_with(accepted)
            .expect(1)
            .mount(&server)
            .await;
        client(&server).cancel_run(run_id(9_007_199_254_740_993)).await.unwrap();
    }
}

#[tokio::test]
async fn list_runs_sends_its_filter() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/api/2.2/jobs/runs/list"))
        .and(query_param("active_only", "true"))
        .and(query_param("run_type", "SUBMIT_RUN"))
        .and(query_param("limit", "24"))
        .and(query_param("page_token", "a b&c"))
        .and(query_param("start_time_from", "1755000000000"))
        .and(query_param_is_missing("completed_only"))
        .and(query_param_is_missing("expand_tasks"))
        .respond_with(answer(
            200,
            json!({"runs": [{"run_id": 8}, {"run_id": "7"}], "next_page_token": "n"}),
        ))
        .mount(&server)
        .await;
    let list = ListRuns {
        active_only: true,
        run_type: Some("SUBMIT_RUN".to_owned()),
        limit: Some(24),
        page_token: Some("a b&c".to_owned()),
        start_time_from: Some(1_755_000_000_000),
        ..ListRuns::default()
    };
    let page = client(&server).list_runs(&list).await.unwrap();
    let ids: Vec<i64> = page.runs.iter().filter_map(|run| run.run_id).map(RunId::get).collect();
    assert_eq!((ids, page.next()), (vec![8, 7], Some("n")));
}

#[tokio::test]
async fn page_without_runs_is_accepted() {
    for empty in [json!({}), json!({"runs": null, "next_page_token": ""}), json!({"runs": []})] {
        let server = MockServer::start().await;
        Mock::given(method("GET")).respond_with(answer(200, empty)).mount(&server).await;
        let page = client(&server).list_runs(&ListRuns::default()).await.unwrap();
        assert_eq!((page.runs.len(), page.next()), (0, None));
    }
}

#[tokio::test]
async fn output_of_sql_and_run_job_tasks_is_parsed() {
    let server = MockServer::start().await;
    let output = json!({
        "sql_output": {"file_output": {"query_result": {
            "columns": [{"name": "n"}], "rows": [{"values": [{"string_value": "7"}, {}]}, {"values": null}]}}},
        "run_job_output": {"run_id": 334_747_067_049_496_i64},
    });
    Mock::given(path("/api/2.2/jobs/runs/get-output"))
        .respond_with(answer(200, output))
        .mount(&server)
        .await;
    let output = client(&server).get_run_output(run_id(7)).await.unwrap();
    let result = output.sql_output.unwrap().file_output.unwrap().query_result.unwrap();
    assert_eq!(result.columns[0].name.as_deref(), Some("n"));
    assert_eq!(result.rows[0].values[0].string_value.as_deref(), Some("7"));
    assert_eq!(result.rows[0].values[1].string_value, None);
    assert_eq!(output.run_job_output.unwrap().run_id, Some(run_id(334_747_067_049_496)));
}

#[tokio::test]
async fn unknown_form_of_sql_output_does_not_hide_the_error() {
    let server = MockServer::start().await;
    Mock::given(path("/api/2.2/jobs/runs/get-output"))
        .respond_with(answer(200, json!({"error": "boom", "sql_output": {"file_output": [7]}})))
        .mount(&server)
        .await;
    let output = client(&server).get_run_output(run_id(7)).await.unwrap();
    let file = output.sql_output.and_then(|sql| sql.file_output);
    assert_eq!((output.error.as_deref(), file), (Some("boom"), None));
}
