//! What is sent again, and what bounds it. The waits themselves are tested on the pure policy.

use std::{
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use databricks_client::{ErrorKind, RetryPolicy, RunId, jobs::SubmitRun};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::{
    raw::{Fate, http, listen},
    workspace::{answer, body, builder, client, client_of, hasty, once},
};

const OK: &str = r#"{"run_id": 7}"#;

fn run_id() -> RunId {
    RunId::try_from(7).unwrap()
}

fn submission(token: Option<&str>) -> SubmitRun {
    let submission = SubmitRun::new(body(json!({"run_name": "r"})));
    match token {
        Some(token) => submission.with_idempotency_token(token),
        None => submission,
    }
}

/// How many requests the listener has read.
fn count(requests: &Receiver<()>) -> usize {
    requests.try_iter().count()
}

/// Waits until the listener has read one more request. A paused clock stands still meanwhile, because tokio does not
/// advance it past work that blocks.
async fn one_more(requests: Receiver<()>) -> Receiver<()> {
    let waiting = move || {
        // A bound for a request that never comes, so that the test fails and does not hang.
        requests.recv_timeout(Duration::from_mins(1)).unwrap();
        requests
    };
    tokio::task::spawn_blocking(waiting).await.unwrap()
}

/// A server that gives one answer twice and then the run.
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
async fn a_read_is_sent_again_after_what_passes() {
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
async fn an_answer_that_breaks_off_is_asked_for_again() {
    for cut in ["{", r#"{"run_id": "#, r#"{"run_id": 7"#, r#"{"run_id": 7, "state": {}"#] {
        let whole = || ResponseTemplate::new(200).set_body_raw(cut, "application/json");
        client(&failing_twice(whole()).await).get_run(run_id()).await.unwrap();
        let server = failing_twice(whole()).await;
        assert_eq!(client(&server).submit_run(&submission(Some("t"))).await.unwrap(), run_id());
    }
    // What is whole and no answer of the API does not pass.
    for strange in ["[]", r#"{"run_id": x}"#, r#"{"run_id": "seven"}"#, ""] {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(200).set_body_raw(strange, "application/json");
        Mock::given(any()).respond_with(answer).expect(1).mount(&server).await;
        let error = client(&server).submit_run(&submission(Some("t"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{strange}");
    }
}

#[tokio::test]
async fn what_does_not_pass_is_sent_once() {
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
async fn what_lasts_is_given_up_after_the_last_attempt() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(503)).expect(18).mount(&server).await;
    // Clients of one pool would find out after ten failures that the host is down.
    for error in [
        client(&server).get_run(run_id()).await.unwrap_err(),
        client(&server).cancel_run(run_id()).await.unwrap_err(),
        client(&server).submit_run(&submission(Some("once"))).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Unavailable, 6));
    }
}

#[tokio::test]
async fn a_submission_with_a_token_is_sent_again_with_the_same_token() {
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
async fn a_submission_without_a_token_is_sent_once_whatever_happens() {
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
    let (address, requests) = listen(vec![Fate::Drop, http("200 OK", "", OK)]);
    let error = client_of(builder(), &address).submit_run(&submission(None)).await.unwrap_err();
    assert_eq!((error.kind(), count(&requests)), (ErrorKind::Connect, 1));
}

#[tokio::test]
async fn a_lost_answer_to_a_submission_with_a_token_is_asked_for_again() {
    let (address, requests) = listen(vec![Fate::Drop, http("200 OK", "", OK)]);
    let client = client_of(builder(), &address);
    assert_eq!(client.submit_run(&submission(Some("once"))).await.unwrap(), run_id());
    assert_eq!(count(&requests), 2);
}

#[tokio::test]
async fn a_cancel_is_sent_again() {
    let server = failing_twice(ResponseTemplate::new(503)).await;
    client(&server).cancel_run(run_id()).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_of_an_answer_is_tried_again() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"run_id\":";
    let (address, requests) = listen(vec![Fate::Send(cut.to_owned()), http("200 OK", "", OK)]);
    client_of(builder(), &address).get_run(run_id()).await.unwrap();
    assert_eq!(count(&requests), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up_after_the_timeout_and_tried_again() {
    let timeout = Duration::from_secs(5);
    let (address, requests) = listen(vec![Fate::Hang, Fate::Hang]);
    let policy = RetryPolicy { max_attempts: 2, ..hasty() };
    let client = client_of(builder().request_timeout(timeout).retry(policy), &address);
    let call = tokio::spawn(async move { client.get_run(run_id()).await });
    let requests = one_more(requests).await;
    tokio::time::advance(timeout).await;
    one_more(requests).await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Timeout, 2));
}

#[tokio::test]
async fn nobody_listening_is_told_after_the_last_attempt() {
    // A port that is taken, so that no other test gets it, and that nobody listens at.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = format!("http://{}", taken.local_addr().unwrap());
    let error = client_of(builder(), &address).get_run(run_id()).await.unwrap_err();
    assert_eq!((error.kind(), error.status(), error.attempts()), (ErrorKind::Connect, None, 6));
    let text = error.to_string();
    assert!(text.contains("no connection: tcp connect error: "), "{text}");
    assert!(text.contains("(after 6 attempts in "), "{text}");
    // The whole cause is told once: whoever walks the sources must not say it again.
    assert!(std::error::Error::source(&error).is_none());
    assert_eq!(text.matches("refused").count(), 1, "{text}");
}

#[tokio::test]
async fn a_wait_beyond_a_bound_ends_the_call_at_once() {
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
    // The caller's own bound, with a policy that would wait.
    let unhurried = RetryPolicy { max_elapsed: Duration::from_hours(2), ..hasty() };
    let client = client_of(builder().retry(unhurried), &server.uri())
        .with_deadline(Some(Instant::now() + Duration::from_mins(1)));
    assert_eq!(client.get_run(run_id()).await.unwrap_err().attempts(), 1);
}

#[tokio::test]
async fn nothing_is_sent_for_a_caller_whose_time_is_over() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer(200, json!({}))).expect(0).mount(&server).await;
    let client = client(&server).with_deadline(Some(Instant::now()));
    let error = client.get_run(run_id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_lost_on_its_way_leaves_time_for_others() {
    let (address, requests) = listen(vec![Fate::Hang, Fate::Hang, Fate::Hang]);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let client = client_of(builder(), &address).with_deadline(Some(deadline.into_std()));
    let call = tokio::spawn(async move { client.get_run(run_id()).await });
    one_more(requests).await;
    let error = call.await.unwrap().unwrap_err();
    // 6 s, then 2.4 s, then the rest.
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Timeout, 3));
    assert_eq!(error.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_left_at_the_callers_deadline() {
    let (address, requests) = listen(vec![Fate::Hang]);
    let patient = builder().retry(once()).request_timeout(Duration::from_hours(1));
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    let client = client_of(patient, &address).with_deadline(Some(deadline.into_std()));
    let call = tokio::spawn(async move { client.get_run(run_id()).await });
    one_more(requests).await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    // By the paused clock: the deadline ended it, and not the timeout of the try.
    assert_eq!(error.elapsed().as_secs(), 60);
}
