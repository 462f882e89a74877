//! Retries and their limits. Delays are tested in the unit tests of the policy.

use std::{
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use databricks_client::{ErrorKind, RetryPolicy, RunId, jobs::Submission};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::{
    fixture::{answer, body, builder, client, client_of, once, without_delays},
    raw_server::{Reply, http, listen},
};

const OK: &str = r#"{"run_id": 7}"#;

fn run_id() -> RunId {
    RunId::try_from(7).unwrap()
}

fn submission(token: Option<&str>) -> Submission {
    let submission = Submission::new(body(json!({"run_name": "r"})));
    match token {
        Some(token) => submission.with_idempotency_token(token),
        None => submission,
    }
}

/// Returns the number of requests that the server has read.
fn count(requests: &Receiver<()>) -> usize {
    requests.try_iter().count()
}

/// Waits until the server has read one more request. A paused clock does not advance during blocking work.
async fn next_request(requests: Receiver<()>) -> Receiver<()> {
    let waiting = move || {
        requests.recv_timeout(Duration::from_mins(1)).unwrap();
        requests
    };
    tokio::task::spawn_blocking(waiting).await.unwrap()
}

/// Returns a server that responds twice with a failure and then with a run.
async fn failing_twice(failure: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(failure).up_to_n_times(2).expect(2).mount(&server).await;
    Mock::given(any())
        .respond_with(answer(200, serde_json::from_str::<Value>(OK).unwrap()))
        .expect(1)
        .mount(&server)
        .await;
    server
}

#[tokio::test]
async fn read_is_retried_after_a_transient_failure() {
    for failure in [
        ResponseTemplate::new(429),
        ResponseTemplate::new(429).insert_header("retry-after", "0"),
        ResponseTemplate::new(500),
        ResponseTemplate::new(502).set_body_raw("<html></html>", "text/html"),
        ResponseTemplate::new(503).insert_header("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ResponseTemplate::new(504),
        answer(400, json!({"error_code": "COULD_NOT_ACQUIRE_LOCK"})),
        answer(400, json!({"message": "RPC token bucket limit has been exceeded"})),
    ] {
        let server = failing_twice(failure).await;
        client(&server).get_run(run_id()).await.unwrap();
    }
}

#[tokio::test]
async fn truncated_json_is_retried() {
    for cut in ["{", r#"{"run_id": "#, r#"{"run_id": 7"#, r#"{"run_id": 7, "state": {}"#] {
        let truncated = || ResponseTemplate::new(200).set_body_raw(cut, "application/json");
        client(&failing_twice(truncated()).await).get_run(run_id()).await.unwrap();
        let server = failing_twice(truncated()).await;
        assert_eq!(client(&server).submit_run(&submission(Some("t"))).await.unwrap(), run_id());
    }
    // Complete responses of another form are not retried.
    for unexpected in ["[]", r#"{"run_id": x}"#, r#"{"run_id": "seven"}"#, ""] {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(200).set_body_raw(unexpected, "application/json");
        Mock::given(any()).respond_with(answer).expect(1).mount(&server).await;
        let error = client(&server).submit_run(&submission(Some("t"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{unexpected}");
    }
}

#[tokio::test]
async fn permanent_failure_is_not_retried() {
    for status in [400, 401, 403, 404, 409, 422, 501] {
        let server = MockServer::start().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(status))
            .expect(1)
            .mount(&server)
            .await;
        let error = client(&server).get_run(run_id()).await.unwrap_err();
        assert_eq!((error.status(), error.attempts()), (Some(status), 1));
    }
}

#[tokio::test]
async fn lasting_failure_ends_after_the_last_attempt() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(503)).expect(18).mount(&server).await;
    // Separate pools, since ten failures would open the circuit breaker.
    for error in [
        client(&server).get_run(run_id()).await.unwrap_err(),
        client(&server).cancel_run(run_id()).await.unwrap_err(),
        client(&server).submit_run(&submission(Some("once"))).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Unavailable, 6));
    }
}

#[tokio::test]
async fn submission_with_a_token_is_retried_with_the_same_token() {
    let server = failing_twice(ResponseTemplate::new(503)).await;
    client(&server).submit_run(&submission(Some("once"))).await.unwrap();
    let sent = server.received_requests().await.unwrap();
    assert_eq!(sent.len(), 3);
    for request in sent {
        let body: Value = request.body_json().unwrap();
        assert_eq!(body, json!({"run_name": "r", "idempotency_token": "once"}));
    }
}

#[tokio::test]
async fn submission_without_a_token_is_never_retried() {
    for status in [429, 503] {
        let server = MockServer::start().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(status))
            .expect(1)
            .mount(&server)
            .await;
        let error = client(&server).submit_run(&submission(None)).await.unwrap_err();
        assert_eq!((error.attempts(), error.is_retryable()), (1, true));
    }
    let (address, requests) = listen(vec![Reply::Close, http("200 OK", "", OK)]);
    let error = client_of(builder(), &address).submit_run(&submission(None)).await.unwrap_err();
    assert_eq!((error.kind(), count(&requests)), (ErrorKind::Connect, 1));
}

#[tokio::test]
async fn lost_response_to_a_submission_with_a_token_is_retried() {
    let (address, requests) = listen(vec![Reply::Close, http("200 OK", "", OK)]);
    let client = client_of(builder(), &address);
    assert_eq!(client.submit_run(&submission(Some("once"))).await.unwrap(), run_id());
    assert_eq!(count(&requests), 2);
}

#[tokio::test]
async fn cancel_is_retried() {
    let server = failing_twice(ResponseTemplate::new(503)).await;
    client(&server).cancel_run(run_id()).await.unwrap();
}

#[tokio::test]
async fn broken_connection_is_retried() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"run_id\":";
    let (address, requests) = listen(vec![Reply::Send(cut.to_owned()), http("200 OK", "", OK)]);
    client_of(builder(), &address).get_run(run_id()).await.unwrap();
    assert_eq!(count(&requests), 2);
}

#[tokio::test(start_paused = true)]
async fn silent_server_is_retried_after_the_timeout() {
    let timeout = Duration::from_secs(5);
    let (address, requests) = listen(vec![Reply::Hang, Reply::Hang]);
    let policy = RetryPolicy { max_attempts: 2, ..without_delays() };
    let client = client_of(builder().request_timeout(timeout).retry(policy), &address);
    let call = tokio::spawn(async move { client.get_run(run_id()).await });
    let requests = next_request(requests).await;
    tokio::time::advance(timeout).await;
    next_request(requests).await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Timeout, 2));
}

#[tokio::test]
async fn refused_connection_is_reported_after_the_last_attempt() {
    // A bound port without a listener, so that connections are refused.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = format!("http://{}", taken.local_addr().unwrap());
    let error = client_of(builder(), &address).get_run(run_id()).await.unwrap_err();
    assert_eq!((error.kind(), error.status(), error.attempts()), (ErrorKind::Connect, None, 6));
    let text = error.to_string();
    assert!(text.contains("no connection: tcp connect error: "), "{text}");
    assert!(text.contains("(after 6 attempts in "), "{text}");
    // The message contains the whole cause, so there is no source.
    assert!(std::error::Error::source(&error).is_none());
    assert_eq!(text.matches("refused").count(), 1, "{text}");
}

#[tokio::test]
async fn delay_above_a_limit_ends_the_call_immediately() {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(429).insert_header("retry-after", "3600"))
        .expect(2)
        .mount(&server)
        .await;
    let client = client(&server);
    let error = client.get_run(run_id()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::RateLimited, 1));
    assert_eq!(error.retry_after(), Some(Duration::from_hours(1)));
    // The deadline, with a policy that would wait.
    let patient = RetryPolicy { max_elapsed: Duration::from_hours(2), ..without_delays() };
    let client = client_of(builder().retry(patient), &server.uri())
        .with_deadline(Some(Instant::now() + Duration::from_mins(1)));
    assert_eq!(client.get_run(run_id()).await.unwrap_err().attempts(), 1);
}

#[tokio::test]
async fn no_request_is_sent_after_the_deadline() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer(200, json!({}))).expect(0).mount(&server).await;
    let client = client(&server).with_deadline(Some(Instant::now()));
    let error = client.get_run(run_id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn lost_request_leaves_time_for_retries() {
    let (address, requests) = listen(vec![Reply::Hang, Reply::Hang, Reply::Hang]);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let client = client_of(builder(), &address).with_deadline(Some(deadline.into_std()));
    let call = tokio::spawn(async move { client.get_run(run_id()).await });
    next_request(requests).await;
    let error = call.await.unwrap().unwrap_err();
    // 6 s, then 2.4 s, then the rest.
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Timeout, 3));
    assert_eq!(error.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn call_to_a_silent_server_ends_at_the_deadline() {
    let (address, requests) = listen(vec![Reply::Hang]);
    let patient = builder().retry(once()).request_timeout(Duration::from_hours(1));
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    let client = client_of(patient, &address).with_deadline(Some(deadline.into_std()));
    let call = tokio::spawn(async move { client.get_run(run_id()).await });
    next_request(requests).await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    // By the paused clock: the deadline ended it, not the timeout of the attempt.
    assert_eq!(error.elapsed().as_secs(), 60);
}
