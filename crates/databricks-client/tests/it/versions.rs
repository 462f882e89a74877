//! Hosts whose gateway does not know version 2.2 of the Jobs API (databricks-api.md#further-facts).

use databricks_client::{ErrorKind, JobsApiVersion, RunId, jobs::Submission};
use serde_json::json;
use wiremock::{
    Mock, MockServer,
    matchers::{any, body_json, path},
};

use crate::fixture::{answer, body, builder, client, client_of, once};

fn bad_target(version: &str) -> wiremock::ResponseTemplate {
    answer(404, json!({"error": format!("Bad Target: /api/{version}/jobs/runs/submit")}))
}

#[tokio::test]
async fn unknown_version_2_2_is_tried_once_then_2_1_is_used() {
    let server = MockServer::start().await;
    Mock::given(path("/api/2.2/jobs/runs/submit"))
        .respond_with(bad_target("2.2"))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/api/2.1/jobs/runs/submit"))
        .and(body_json(json!({"run_name": "r"})))
        .respond_with(answer(200, json!({"run_id": 7})))
        .expect(2)
        .mount(&server)
        .await;
    Mock::given(path("/api/2.1/jobs/runs/get"))
        .respond_with(answer(200, json!({"run_id": 7})))
        .expect(1)
        .mount(&server)
        .await;
    // Without a token and without retries: the gateway did not forward the request, so no run was started.
    let pool = builder().retry(once()).build().unwrap();
    let host = server.uri().parse().unwrap();
    let client = pool.client(&host, crate::fixture::token());
    let submission = Submission::new(body(json!({"run_name": "r"})));
    assert_eq!(client.submit_run(&submission).await.unwrap().get(), 7);
    assert_eq!(client.submit_run(&submission).await.unwrap().get(), 7);
    // The fallback applies to all clients of the host.
    let other = pool.client(&host, crate::fixture::token());
    other.get_run(RunId::try_from(7).unwrap()).await.unwrap();
}

#[tokio::test]
async fn host_without_either_version_is_an_error() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(bad_target("2.x")).expect(2).mount(&server).await;
    let error = client(&server).get_run(RunId::try_from(7).unwrap()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::NotFound, 2));
    assert!(error.to_string().starts_with("GET /api/2.1/jobs/runs/get at "), "{error}");
}

#[tokio::test]
async fn other_404_does_not_change_the_version() {
    let server = MockServer::start().await;
    Mock::given(path("/api/2.2/jobs/runs/get"))
        .respond_with(answer(404, json!({"message": "Not Found"})))
        .expect(2)
        .mount(&server)
        .await;
    let client = client(&server);
    for _ in 0..2 {
        let error = client.get_run(RunId::try_from(7).unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn version_2_1_can_be_configured() {
    let server = MockServer::start().await;
    Mock::given(path("/api/2.1/jobs/runs/get"))
        .respond_with(answer(200, json!({"run_id": 7})))
        .expect(1)
        .mount(&server)
        .await;
    let client = client_of(builder().jobs_api(JobsApiVersion::V2_1), &server.uri());
    client.get_run(RunId::try_from(7).unwrap()).await.unwrap();
}
