//! Rate limits and circuit breakers: the result of one call affects others.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use databricks_client::{
    CircuitBreakerState, ClientPool, Credentials, ErrorKind, Host, Observer, Rate, RateLimitPolicy,
    RateLimitWait, RequestAttempt, RequestClass, RunId, TokenFetch, WorkspaceSnapshot,
    jobs::Submission,
};
use serde_json::json;
use tokio::net::TcpSocket;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, method},
};

use crate::{
    fixture::{answer, body, builder, once, token},
    raw_server::{Reply, listen},
};

fn run_id() -> RunId {
    RunId::try_from(7).unwrap()
}

fn host(address: &str) -> Host {
    Host::parse(address).unwrap()
}

fn snapshot(pool: &ClientPool, address: &str) -> WorkspaceSnapshot {
    let host = host(address);
    pool.snapshots().into_iter().find(|workspace| workspace.host == host).unwrap()
}

fn in_flight(max_in_flight: u32) -> RateLimitPolicy {
    RateLimitPolicy {
        max_in_flight: NonZeroU32::new(max_in_flight).unwrap(),
        ..RateLimitPolicy::default()
    }
}

async fn healthy() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer(200, json!({"run_id": 7}))).mount(&server).await;
    server
}

/// Returns a bound port without a listener, so that connections are refused.
fn refusing_port() -> (TcpSocket, String) {
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = format!("http://{}", taken.local_addr().unwrap());
    (taken, address)
}

#[tokio::test]
async fn open_circuit_breaker_stops_calls_to_one_host_only() {
    let (_taken, down) = refusing_port();
    let up = healthy().await;
    let pool = builder().build().unwrap();
    let client = pool.client(&host(&down), token());
    assert_eq!(client.get_run(run_id()).await.unwrap_err().attempts(), 6);
    // The tenth consecutive failure opens the breaker.
    let error = client.get_run(run_id()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::HostDown, 4));
    let error = client.get_run(run_id()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::HostDown, 0));
    assert!(error.is_retryable());
    let text = error.to_string();
    assert!(text.contains("not sent: the host has failed for "), "{text}");
    assert!(text.contains(" s, last error: no connection: "), "{text}");
    assert!(error.retry_after().unwrap() <= Duration::from_secs(2));

    pool.client(&host(&up.uri()), token()).get_run(run_id()).await.unwrap();
    let down = snapshot(&pool, &down);
    assert!(matches!(down.circuit_breaker, CircuitBreakerState::Open { .. }), "{down:?}");
    assert_eq!((down.attempts, down.retries, down.rejected), (10, 8, 2));
    assert_eq!(down.last_failure.unwrap().kind, ErrorKind::Connect);
    let up = snapshot(&pool, &up.uri());
    assert_eq!((up.circuit_breaker, up.attempts, up.rejected), (CircuitBreakerState::Closed, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn submission_waits_for_a_host_that_is_down_and_a_read_fails() {
    let (_taken, down) = refusing_port();
    let client = builder().build().unwrap().client(&host(&down), token());
    let mut failures = 0;
    while client.get_run(run_id()).await.unwrap_err().kind() != ErrorKind::HostDown {
        failures += 1;
        assert!(failures < 10, "the breaker stays closed");
    }
    let read = client.get_run(run_id()).await.unwrap_err();
    assert_eq!(
        (read.kind(), read.attempts(), read.elapsed()),
        (ErrorKind::HostDown, 0, Duration::ZERO)
    );
    assert!(!read.may_have_effect());
    // A request that was not sent had no effect, so a submission without a token waits too.
    for submission in [
        Submission::new(body(json!({}))),
        Submission::new(body(json!({}))).with_idempotency_token("once"),
    ] {
        let error = client.submit_run(&submission).await.unwrap_err();
        assert!(error.attempts() > 0, "{error}");
        assert!(error.elapsed() > Duration::from_secs(1), "{error}");
    }
    // Without enough time it fails immediately.
    let soon = tokio::time::Instant::now() + Duration::from_millis(500);
    let short = client.with_deadline(Some(soon.into_std()));
    let error = short.submit_run(&Submission::new(body(json!({})))).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::HostDown, 0));
}

#[tokio::test]
async fn silent_host_uses_no_slot_of_another_host() {
    let (silent, requests) = listen(vec![Reply::Hang]);
    let up = healthy().await;
    let pool = builder().rate_limit(in_flight(1)).build().unwrap();
    let client = pool.client(&host(&silent), token());
    let hanging = tokio::spawn({
        let client = client.clone();
        async move { client.get_run(run_id()).await }
    });
    tokio::task::spawn_blocking(move || requests.recv_timeout(Duration::from_mins(1)).unwrap())
        .await
        .unwrap();
    let short = client.with_deadline(Some(Instant::now() + Duration::from_millis(20)));
    let error = short.get_run(run_id()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Throttled, 0));
    assert!(error.to_string().contains("rate limit on reads of this workspace"), "{error}");

    pool.client(&host(&up.uri()), token()).get_run(run_id()).await.unwrap();
    hanging.abort();
    assert!(hanging.await.unwrap_err().is_cancelled());
    // The slot of an aborted call is free again.
    assert_eq!(snapshot(&pool, &silent).rate_limits[0].reads.in_flight, 0);
}

#[tokio::test]
async fn retry_after_applies_to_all_callers_with_the_credential() {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(429).insert_header("retry-after", "40"))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(any()).respond_with(answer(200, json!({"run_id": 7}))).mount(&server).await;
    let pool = builder().build().unwrap();
    let address = host(&server.uri());
    let error = pool.client(&address, token()).get_run(run_id()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::RateLimited, 1));
    let soon = Some(Instant::now() + Duration::from_secs(20));
    let another = pool.client(&address, token()).with_deadline(soon);
    let submission = Submission::new(body(json!({}))).with_idempotency_token("once");
    for error in [
        another.get_run(run_id()).await.unwrap_err(),
        another.submit_run(&submission).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Throttled, 0));
        assert!(error.retry_after().unwrap() > Duration::from_secs(20), "{error}");
        assert!(error.to_string().contains("past its deadline"), "{error}");
    }
    // Another credential has its own rate limit.
    let theirs = Credentials::personal_access_token("theirs", "dapi-theirs".to_owned().into());
    pool.client(&address, theirs).get_run(run_id()).await.unwrap();
    assert_eq!(server.received_requests().await.unwrap().len(), 2);
    let limits = snapshot(&pool, &server.uri()).rate_limits;
    let names: Vec<&str> = limits.iter().map(|limit| limit.credential.as_str()).collect();
    assert_eq!(names, ["the test's token", "theirs"]);
    assert_eq!((limits[0].reads.rejected, limits[0].writes.rejected), (1, 1));
}

#[tokio::test]
async fn status_429_slows_reads_and_keeps_the_breaker_closed() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(429))
        .expect(12)
        .mount(&server)
        .await;
    let reads = Rate::per_second(NonZeroU32::new(1_000).unwrap());
    let policy = RateLimitPolicy { reads, ..RateLimitPolicy::default() };
    let pool = builder().rate_limit(policy).build().unwrap();
    let client = pool.client(&host(&server.uri()), token());
    for _ in 0..2 {
        let error = client.get_run(run_id()).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::RateLimited, 6));
    }
    let state = snapshot(&pool, &server.uri());
    assert_eq!(state.circuit_breaker, CircuitBreakerState::Closed);
    assert!(state.rate_limits[0].reads.rate_per_second < 500.0, "{state:?}");
    assert!((state.rate_limits[0].writes.rate_per_second - 20.0).abs() < 1e-6, "{state:?}");
}

#[tokio::test]
async fn client_with_request_class_counts_reads_as_writes() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(429)).expect(1).mount(&server).await;
    let pool = builder().retry(once()).build().unwrap();
    let client = pool.client(&host(&server.uri()), token()).with_request_class(RequestClass::Write);
    client.get_run(run_id()).await.unwrap_err();
    let limit = &snapshot(&pool, &server.uri()).rate_limits[0];
    assert!(limit.writes.rate_per_second < 15.0, "{limit:?}");
    assert!((limit.reads.rate_per_second - 50.0).abs() < 1e-6, "{limit:?}");
}

/// Records events as text.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<String>>);

impl Observer for Recorder {
    fn on_attempt(&self, attempt: &RequestAttempt<'_>) {
        self.note(format!(
            "{} {:?} {:?} {}",
            attempt.endpoint, attempt.status, attempt.failure, attempt.number
        ));
    }

    fn on_rate_limit_wait(&self, wait: &RateLimitWait<'_>) {
        self.note(format!("{} {}", wait.class.as_str(), wait.is_granted));
    }

    fn on_request_rejected(&self, _host: &Host) {
        self.note("rejected".to_owned());
    }

    fn on_token_fetch(&self, fetch: &TokenFetch<'_>) {
        self.note(format!("{} {:?}", fetch.kind, fetch.failure));
    }
}

impl Recorder {
    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }
}

#[tokio::test]
async fn observer_receives_each_attempt_and_each_rejection() {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(503))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(any()).respond_with(answer(200, json!({"run_id": 7}))).mount(&server).await;
    let (_taken, down) = refusing_port();
    let recorder = Arc::new(Recorder::default());
    let pool = builder().observer(Arc::<Recorder>::clone(&recorder)).build().unwrap();
    pool.client(&host(&server.uri()), token()).get_run(run_id()).await.unwrap();
    let events = std::mem::take(&mut *recorder.0.lock().unwrap());
    assert_eq!(events, ["runs/get Some(503) Some(Unavailable) 1", "runs/get Some(200) None 2"]);
    let client = pool.client(&host(&down), token());
    for _ in 0..3 {
        client.get_run(run_id()).await.unwrap_err();
    }
    let events = std::mem::take(&mut *recorder.0.lock().unwrap());
    assert_eq!(events.len(), 12);
    assert_eq!(events[10..], ["rejected", "rejected"]);
}

#[tokio::test]
async fn call_past_its_deadline_has_no_effect() {
    let up = healthy().await;
    let client = builder().build().unwrap().client(&host(&up.uri()), token());
    let late = client.with_deadline(Some(Instant::now()));
    let error = late.submit_run(&Submission::new(body(json!({})))).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Timeout, 0), "{error}");
    assert!(!error.may_have_effect());
}
