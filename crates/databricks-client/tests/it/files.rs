//! Workspace files, the current user, and runs of existing jobs.

use databricks_client::{ErrorKind, jobs::Submission};
use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_json, method, path, query_param},
};

use crate::fixture::{builder, client_of};

#[tokio::test]
async fn run_now_is_retried_only_with_a_token() {
    for (token, calls) in [(Some("t-1"), 2), (None, 1)] {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/api/2.2/jobs/run-now"))
            .respond_with(ResponseTemplate::new(503))
            .up_to_n_times(1)
            .mount(&server)
            .await;
        Mock::given(method("POST"))
            .and(path("/api/2.2/jobs/run-now"))
            .and(body_json(json!({"job_id": 7, "idempotency_token": "t-1"})))
            .respond_with(
                ResponseTemplate::new(200)
                    .set_body_json(json!({"run_id": "12", "number_in_job": 12})),
            )
            .mount(&server)
            .await;
        let mut run = Submission::new(json!({"job_id": 7}).as_object().unwrap().clone());
        if let Some(token) = token {
            run = run.with_idempotency_token(token);
        }
        let outcome = client_of(builder(), &server.uri()).run_now(&run).await;
        assert_eq!(outcome.ok().map(databricks_client::RunId::get), token.map(|_| 12));
        assert_eq!(server.received_requests().await.unwrap().len(), calls);
    }
}

#[tokio::test]
async fn absent_file_is_none_and_the_404_of_a_gateway_is_an_error() {
    let server = MockServer::start().await;
    for (name, code) in
        [("/missing", "RESOURCE_DOES_NOT_EXIST"), ("/gateway", "ENDPOINT_NOT_FOUND")]
    {
        Mock::given(path("/api/2.0/workspace/get-status"))
            .and(query_param("path", name))
            .respond_with(
                ResponseTemplate::new(404)
                    .set_body_json(json!({"error_code": code, "message": "m"})),
            )
            .mount(&server)
            .await;
    }
    Mock::given(path("/api/2.0/workspace/get-status"))
        .and(query_param("path", "/exists"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(json!({"object_type": "FILE", "path": "/exists"})),
        )
        .mount(&server)
        .await;
    let client = client_of(builder(), &server.uri());
    assert_eq!(client.get_workspace_status("/missing").await.unwrap(), None);
    assert_eq!(
        client.get_workspace_status("/gateway").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let object = client.get_workspace_status("/exists").await.unwrap().unwrap();
    assert_eq!(object.object_type.as_deref(), Some("FILE"));
}

#[tokio::test]
async fn file_content_is_base64_in_requests_and_responses() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/api/2.0/workspace/import"))
        .and(body_json(
            json!({"path": "/f.py", "format": "AUTO", "content": "eA==", "overwrite": true}),
        ))
        .respond_with(ResponseTemplate::new(200).set_body_string("{}"))
        .expect(1)
        .mount(&server)
        .await;
    for (name, content) in [("/f.py", "eA=="), ("/bad", "!")] {
        Mock::given(path("/api/2.0/workspace/export"))
            .and(query_param("path", name))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "content": content })))
            .mount(&server)
            .await;
    }
    let client = client_of(builder(), &server.uri());
    client.import_workspace_file("/f.py", b"x", true).await.unwrap();
    assert_eq!(client.export_workspace_file("/f.py").await.unwrap().as_ref(), b"x");
    assert_eq!(client.export_workspace_file("/bad").await.unwrap_err().kind(), ErrorKind::Decode);
}

#[tokio::test]
async fn current_user_is_independent_of_the_jobs_api_version() {
    let server = MockServer::start().await;
    Mock::given(path("/api/2.0/preview/scim/v2/Me"))
        .respond_with(
            ResponseTemplate::new(404)
                .set_body_json(json!({"error": "Bad Target: /api/2.0/preview"})),
        )
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(path("/api/2.0/preview/scim/v2/Me"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(json!({"userName": "me@acme.example", "id": "1"})),
        )
        .mount(&server)
        .await;
    Mock::given(path("/api/2.2/jobs/runs/list"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({})))
        .expect(1)
        .mount(&server)
        .await;
    let client = client_of(builder(), &server.uri());
    assert_eq!(client.me().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(client.me().await.unwrap().user_name, "me@acme.example");
    // An unknown path of another API does not change the version of the Jobs API.
    client.list_runs(&databricks_client::jobs::ListRuns::default()).await.unwrap();
}
