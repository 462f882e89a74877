//! Errors of failed and unexpected responses.

use databricks_client::{Error, ErrorKind, RunId, jobs::ListRuns, jobs::Submission};
use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, method},
};

use crate::{
    fixture::{answer, body, builder, client, client_of, no_such_run, once},
    raw_server::{Reply, http, listen},
};

fn run_id() -> RunId {
    RunId::try_from(7).unwrap()
}

/// Returns the error of a single attempt to read a run.
async fn error_of(response: ResponseTemplate) -> Error {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(response).expect(1).mount(&server).await;
    client_of(builder().retry(once()), &server.uri()).get_run(run_id()).await.unwrap_err()
}

/// Returns the error of a single attempt to read a run from a raw server.
async fn error_of_raw_reply(reply: Reply) -> Error {
    let (address, _requests) = listen(vec![reply]);
    let pool = builder().retry(once()).max_response_bytes(100);
    client_of(pool, &address).get_run(run_id()).await.unwrap_err()
}

#[tokio::test]
async fn each_form_of_an_error_body_is_parsed() {
    // In the order of databricks-api.md#error-bodies.
    for (status, kind, body, code, message) in [
        (
            400,
            ErrorKind::Invalid,
            r#"{"error_code": "INVALID_STATE", "message": "m", "details": [{"@type": "x"}, 7]}"#,
            Some("INVALID_STATE"),
            Some("m"),
        ),
        (409, ErrorKind::Conflict, r#"{"error_code": 6, "message": "m"}"#, Some("6"), Some("m")),
        (501, ErrorKind::Unavailable, r#"{"error_code": "X"}"#, Some("X"), None),
        (400, ErrorKind::Invalid, r#"{"error": "old"}"#, None, Some("old")),
        (
            404,
            ErrorKind::NotFound,
            r#"{"detail": "gone", "status": "404", "scimType": "noTarget"}"#,
            Some("noTarget"),
            Some("gone"),
        ),
        (
            401,
            ErrorKind::Unauthenticated,
            r#"{"error": "invalid_client", "error_description": "d", "error_codes": [7000215],
                "correlation_id": "c", "error_uri": "https://x.example"}"#,
            Some("invalid_client"),
            Some("d"),
        ),
        (
            403,
            ErrorKind::Forbidden,
            r#"{"errorCode": "E1", "errorSummary": "s"}"#,
            Some("E1"),
            Some("s"),
        ),
        (403, ErrorKind::Forbidden, "PERMISSION_DENIED: no", Some("PERMISSION_DENIED"), Some("no")),
        (502, ErrorKind::Unavailable, "<html><pre>\n down </pre></html>", None, Some("down")),
        (403, ErrorKind::Forbidden, "<?xml version='1.0'?><Error>no</Error>", None, None),
        (500, ErrorKind::Unavailable, "", None, None),
        (429, ErrorKind::RateLimited, "", None, None),
        (400, ErrorKind::Invalid, "[\"a list\"]", None, None),
        (503, ErrorKind::Unavailable, "null", None, None),
    ] {
        // The content type is ignored.
        for content_type in ["application/json", "text/html"] {
            let error =
                error_of(ResponseTemplate::new(status).set_body_raw(body, content_type)).await;
            assert_eq!((error.kind(), error.status()), (kind, Some(status)), "{status} {body}");
            assert_eq!((error.api_code(), error.api_message()), (code, message), "{body}");
        }
    }
}

#[tokio::test]
async fn truncated_response_is_a_connection_error() {
    for start in [
        "HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{\"run_id\": 7}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nd\r\n{\"run_id\": 7}\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "SSH-2.0-x\r\n",
        "",
    ] {
        let error = error_of_raw_reply(Reply::Send(start.to_owned())).await;
        assert_eq!((error.kind(), error.status()), (ErrorKind::Connect, None), "{start}");
        assert!(error.is_retryable(), "{start}");
    }
}

#[tokio::test]
async fn status_of_an_error_response_counts_if_its_body_is_truncated() {
    for (status, kind) in [(403, ErrorKind::Forbidden), (503, ErrorKind::Unavailable)] {
        let start = format!("HTTP/1.1 {status} X\r\ncontent-length: 90\r\n\r\n{{\"error_code\":");
        let error = error_of_raw_reply(Reply::Send(start)).await;
        assert_eq!((error.kind(), error.status()), (kind, Some(status)));
        assert_eq!((error.api_code(), error.api_message()), (None, None));
    }
}

#[tokio::test]
async fn response_is_read_only_up_to_the_limit() {
    let whole = format!("{{\"run_id\": 7{}}}", " ".repeat(87));
    let (address, _requests) = listen(vec![http("200 OK", "", &whole)]);
    let pool = builder().retry(once()).max_response_bytes(100);
    assert_eq!(whole.len(), 100);
    client_of(pool, &address).get_run(run_id()).await.unwrap();
    // The rest is not sent: a client that waited for it would report a broken connection.
    let start = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{}", "x".repeat(101));
    let error = error_of_raw_reply(Reply::Send(start)).await;
    assert_eq!((error.kind(), error.status()), (ErrorKind::TooLarge, Some(200)));
}

#[tokio::test]
async fn error_contains_the_request_and_the_message_of_databricks() {
    let error = error_of(answer(
        400,
        json!({
            "error_code": "INVALID_PARAMETER_VALUE",
            "message": "no\nsuch \u{1b}[31mthing",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.RequestInfo", "request_id": "r-1"},
            ],
        }),
    ))
    .await;
    // The read of a run has no other parameter than the run.
    assert_eq!(error.kind(), ErrorKind::RunNotFound);
    assert_eq!(error.status(), Some(400));
    assert_eq!(error.api_code(), Some("INVALID_PARAMETER_VALUE"));
    assert_eq!(error.api_message(), Some("no such thing"));
    assert_eq!(error.request_id(), Some("r-1"));
    assert_eq!((error.attempts(), error.is_retryable()), (1, false));
    let text = error.to_string();
    assert!(text.starts_with("GET /api/2.2/jobs/runs/get at http://127.0.0.1:"), "{text}");
    let expected = "Databricks returned 400, INVALID_PARAMETER_VALUE: no such thing (request r-1)";
    assert!(text.ends_with(expected), "{text}");
}

#[tokio::test]
async fn run_not_found_requires_a_code_or_the_message_of_the_workspace() {
    for status in [400, 404] {
        assert_eq!(error_of(answer(status, no_such_run())).await.kind(), ErrorKind::RunNotFound);
    }
    for other in [
        ResponseTemplate::new(404),
        answer(404, json!({"error_code": "ENDPOINT_NOT_FOUND", "message": "No API found"})),
        ResponseTemplate::new(404).set_body_raw("<html><title>404</title></html>", "text/html"),
    ] {
        assert_eq!(error_of(other).await.kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn cancel_can_fail_as_run_not_found_and_a_submission_cannot() {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(answer(400, no_such_run())).mount(&server).await;
    let client = client(&server);
    assert_eq!(client.cancel_run(run_id()).await.unwrap_err().kind(), ErrorKind::RunNotFound);
    let submission = Submission::new(body(json!({})));
    assert_eq!(client.submit_run(&submission).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn rejected_credential_and_missing_permission_have_different_kinds() {
    let error = error_of(answer(401, json!({"error_code": "UNAUTHENTICATED"}))).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    // An invalid token can cause an HTML page (databricks-api.md#further-facts).
    let page = "<html><title>Invalid access token.</title></html>";
    let error = error_of(ResponseTemplate::new(403).set_body_raw(page, "text/html")).await;
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert_eq!(error.api_message(), Some("Invalid access token."));
}

#[tokio::test]
async fn html_page_with_status_200_is_unauthenticated() {
    for page in [
        ResponseTemplate::new(200).set_body_raw("<html>login</html>", "text/html; charset=utf-8"),
        ResponseTemplate::new(200).set_body_raw(" <!doctype html>", "application/json"),
        ResponseTemplate::new(200).set_body_raw("", "TEXT/HTML"),
    ] {
        let error = error_of(page).await;
        assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthenticated, Some(200)));
    }
}

#[tokio::test]
async fn json_object_is_accepted_with_any_content_type() {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_raw(" {\"run_id\": 7}", "text/html"))
        .mount(&server)
        .await;
    let submission = Submission::new(body(json!({})));
    assert_eq!(client(&server).submit_run(&submission).await.unwrap(), run_id());
}

#[tokio::test]
async fn cancel_that_receives_a_login_page_fails() {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_raw("<html>", "text/html"))
        .mount(&server)
        .await;
    let error = client(&server).cancel_run(run_id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
}

#[tokio::test]
async fn redirect_is_never_followed() {
    let elsewhere = MockServer::start().await;
    Mock::given(any()).respond_with(answer(200, json!({}))).expect(0).mount(&elsewhere).await;
    for (status, location, kind) in [
        (302, format!("{}/elsewhere", elsewhere.uri()), ErrorKind::Decode),
        (307, format!("{}/api", elsewhere.uri()), ErrorKind::Decode),
        (302, "/login.html".to_owned(), ErrorKind::Unauthenticated),
        (303, "/login.html?error=private-link-validation-error:1".to_owned(), ErrorKind::Forbidden),
    ] {
        let redirect = ResponseTemplate::new(status).insert_header("location", location.as_str());
        let error = error_of(redirect).await;
        assert_eq!((error.kind(), error.status()), (kind, Some(status)), "{location}");
    }
}

#[tokio::test]
async fn unexpected_response_is_an_error_that_does_not_quote_it() {
    for unreadable in
        ["", "[]", "null", "7", "\"quoted\"", "{\"run_id\": quoted}", "{\"tasks\"; 7}"]
    {
        let error =
            error_of(ResponseTemplate::new(200).set_body_raw(unreadable, "application/json")).await;
        assert_eq!((error.kind(), error.status()), (ErrorKind::Decode, Some(200)), "{unreadable}");
        assert_eq!(error.attempts(), 1);
        assert!(!error.to_string().contains("quoted"), "{error}");
    }
}

#[tokio::test]
async fn submission_without_a_run_id_in_the_response_is_an_error() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer(200, json!({}))).mount(&server).await;
    let submission = Submission::new(body(json!({})));
    let error = client(&server).submit_run(&submission).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
}

#[tokio::test]
async fn response_above_the_limit_is_rejected() {
    let server = MockServer::start().await;
    let long = json!({"runs": [], "padding": "x".repeat(200)});
    Mock::given(any()).respond_with(answer(200, long)).expect(1).mount(&server).await;
    let client = client_of(builder().max_response_bytes(100), &server.uri());
    let error = client.list_runs(&ListRuns::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::TooLarge, false));
}

#[tokio::test]
async fn long_error_body_is_truncated_and_parsed() {
    let page = format!("<html><title>Down</title>{}</html>", "x".repeat(200_000));
    let error = error_of(ResponseTemplate::new(503).set_body_raw(page, "text/html")).await;
    assert_eq!((error.kind(), error.api_message()), (ErrorKind::Unavailable, Some("Down")));
    let json = json!({"error_code": "X", "message": "m", "padding": "x".repeat(200_000)});
    let error = error_of(answer(400, json)).await;
    // Truncated JSON is not quoted.
    assert_eq!((error.kind(), error.api_message()), (ErrorKind::Invalid, None));
    assert!(error.to_string().len() < 200, "{error}");
}

#[tokio::test]
async fn token_that_is_invalid_in_a_header_is_not_sent() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer(200, json!({}))).expect(0).mount(&server).await;
    let credentials = databricks_client::Credentials::personal_access_token(
        "the task's secret",
        "dapi-test\n".to_owned().into(),
    );
    let host = server.uri().parse().unwrap();
    let client = builder().build().unwrap().client(&host, credentials);
    let error = client.get_run(run_id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("the task's secret"), "{error}");
    assert_eq!((client.host(), client.credentials().name()), (&host, "the task's secret"));
}
