//! Budgets and breakers on the wire: what one caller meets, the others are spared.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use databricks_client::{
    Attempt, BreakerSnapshot, BudgetPolicy, BudgetWait, ClientPool, Credentials, ErrorKind, Host,
    Lane, Mint, Observer, Rate, RunId, WorkspaceSnapshot, jobs::SubmitRun,
};
use serde_json::json;
use tokio::net::TcpSocket;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, method},
};

use crate::{
    raw::{Fate, listen},
    workspace::{answer, body, builder, once, token},
};

fn run_id() -> RunId {
    RunId::try_from(7).unwrap()
}

fn host(address: &str) -> Host {
    Host::parse(address).unwrap()
}

fn snapshot(pool: &ClientPool, address: &str) -> WorkspaceSnapshot {
    let host = host(address);
    pool.workspaces().into_iter().find(|workspace| workspace.host == host).unwrap()
}

fn at_once(max_in_flight: u32) -> BudgetPolicy {
    BudgetPolicy {
        max_in_flight: NonZeroU32::new(max_in_flight).unwrap(),
        ..BudgetPolicy::default()
    }
}

async fn healthy() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer(200, json!({"run_id": 7}))).mount(&server).await;
    server
}

/// A port that is taken, so that no other test gets it, and that nobody listens at.
fn deaf() -> (TcpSocket, String) {
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = format!("http://{}", taken.local_addr().unwrap());
    (taken, address)
}

#[tokio::test]
async fn a_host_that_is_down_is_left_alone_and_another_is_served() {
    let (_taken, down) = deaf();
    let up = healthy().await;
    let pool = builder().build().unwrap();
    let client = pool.client(&host(&down), token());
    assert_eq!(client.get_run(run_id()).await.unwrap_err().attempts(), 6);
    // The tenth failure in a row is the last.
    let error = client.get_run(run_id()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::HostDown, 4));
    let error = client.get_run(run_id()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::HostDown, 0));
    assert!(error.is_retryable());
    let text = error.to_string();
    assert!(text.contains("not sent: the host has failed for "), "{text}");
    assert!(text.contains(" s, lastly with: no connection: "), "{text}");
    assert!(error.retry_after().unwrap() <= Duration::from_secs(2));

    pool.client(&host(&up.uri()), token()).get_run(run_id()).await.unwrap();
    let down = snapshot(&pool, &down);
    assert!(matches!(down.breaker, BreakerSnapshot::Open { .. }), "{down:?}");
    assert_eq!((down.attempts, down.retries, down.refused), (10, 8, 2));
    assert_eq!(down.last_failure.unwrap().kind, ErrorKind::Connect);
    let up = snapshot(&pool, &up.uri());
    assert_eq!((up.breaker, up.attempts, up.refused), (BreakerSnapshot::Closed, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_submission_waits_for_a_host_that_is_down_and_a_read_does_not() {
    let (_taken, down) = deaf();
    let client = builder().build().unwrap().client(&host(&down), token());
    while client.get_run(run_id()).await.unwrap_err().kind() != ErrorKind::HostDown {}
    let read = client.get_run(run_id()).await.unwrap_err();
    assert_eq!(
        (read.kind(), read.attempts(), read.elapsed()),
        (ErrorKind::HostDown, 0, Duration::ZERO)
    );
    assert!(!read.may_have_effect());
    // What was not sent had no effect, so this is true of a submission without a token too.
    for submission in [
        SubmitRun::new(body(json!({}))),
        SubmitRun::new(body(json!({}))).with_idempotency_token("once"),
    ] {
        let error = client.submit_run(&submission).await.unwrap_err();
        assert!(error.attempts() > 0, "{error}");
        assert!(error.elapsed() > Duration::from_secs(1), "{error}");
    }
    // Without time for it, it is told at once.
    let soon = tokio::time::Instant::now() + Duration::from_millis(500);
    let hurried = client.with_deadline(Some(soon.into_std()));
    let error = hurried.submit_run(&SubmitRun::new(body(json!({})))).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::HostDown, 0));
}

#[tokio::test]
async fn a_host_that_does_not_answer_takes_no_place_of_another() {
    let (silent, requests) = listen(vec![Fate::Hang]);
    let up = healthy().await;
    let pool = builder().budget(at_once(1)).build().unwrap();
    let client = pool.client(&host(&silent), token());
    let hanging = tokio::spawn({
        let client = client.clone();
        async move { client.get_run(run_id()).await }
    });
    tokio::task::spawn_blocking(move || requests.recv_timeout(Duration::from_mins(1)).unwrap())
        .await
        .unwrap();
    let hurried = client.with_deadline(Some(Instant::now() + Duration::from_millis(20)));
    let error = hurried.get_run(run_id()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Throttled, 0));
    assert!(error.to_string().contains("the budget of reads for this workspace"), "{error}");

    pool.client(&host(&up.uri()), token()).get_run(run_id()).await.unwrap();
    hanging.abort();
    assert!(hanging.await.unwrap_err().is_cancelled());
    // The place of a call that was given up is free again.
    assert_eq!(snapshot(&pool, &silent).budgets[0].reads.in_flight, 0);
}

#[tokio::test]
async fn what_one_caller_is_told_to_wait_all_callers_with_its_credential_wait() {
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
    let submission = SubmitRun::new(body(json!({}))).with_idempotency_token("once");
    for error in [
        another.get_run(run_id()).await.unwrap_err(),
        another.submit_run(&submission).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Throttled, 0));
        assert!(error.retry_after().unwrap() > Duration::from_secs(20), "{error}");
        assert!(error.to_string().contains("which its caller does not have"), "{error}");
    }
    // Another credential has a budget of its own.
    let theirs = Credentials::personal_access_token("theirs", "dapi-theirs".to_owned().into());
    pool.client(&address, theirs).get_run(run_id()).await.unwrap();
    assert_eq!(server.received_requests().await.unwrap().len(), 2);
    let budgets = snapshot(&pool, &server.uri()).budgets;
    let names: Vec<&str> = budgets.iter().map(|budget| budget.credential.as_str()).collect();
    assert_eq!(names, ["the test's token", "theirs"]);
    assert_eq!((budgets[0].reads.refused, budgets[0].writes.refused), (1, 1));
}

#[tokio::test]
async fn too_many_requests_slow_the_reads_and_never_open_the_breaker() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(429))
        .expect(12)
        .mount(&server)
        .await;
    let reads = Rate::per_second(NonZeroU32::new(1_000).unwrap());
    let budget = BudgetPolicy { reads, ..BudgetPolicy::default() };
    let pool = builder().budget(budget).build().unwrap();
    let client = pool.client(&host(&server.uri()), token());
    for _ in 0..2 {
        let error = client.get_run(run_id()).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::RateLimited, 6));
    }
    let stands = snapshot(&pool, &server.uri());
    assert_eq!(stands.breaker, BreakerSnapshot::Closed);
    assert!(stands.budgets[0].reads.per_second < 500.0, "{stands:?}");
    assert!((stands.budgets[0].writes.per_second - 20.0).abs() < 1e-6, "{stands:?}");
}

#[tokio::test]
async fn what_is_read_for_a_submission_is_taken_from_the_writes() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(429)).expect(1).mount(&server).await;
    let pool = builder().retry(once()).build().unwrap();
    let client = pool.client(&host(&server.uri()), token()).in_lane(Lane::Writes);
    client.get_run(run_id()).await.unwrap_err();
    let budget = &snapshot(&pool, &server.uri()).budgets[0];
    assert!(budget.writes.per_second < 15.0, "{budget:?}");
    assert!((budget.reads.per_second - 50.0).abs() < 1e-6, "{budget:?}");
}

/// Writes down what it is told.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn attempted(&self, attempt: &Attempt<'_>) {
        self.note(format!(
            "{} {:?} {:?} {}",
            attempt.endpoint, attempt.status, attempt.failure, attempt.number
        ));
    }

    fn waited(&self, wait: &BudgetWait<'_>) {
        self.note(format!("{} {}", wait.lane.name(), wait.is_granted));
    }

    fn refused(&self, _host: &Host) {
        self.note("refused".to_owned());
    }

    fn minted(&self, mint: &Mint<'_>) {
        self.note(format!("{} {:?}", mint.kind, mint.failure));
    }
}

impl Notes {
    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }
}

#[tokio::test]
async fn an_observer_is_told_of_every_attempt_and_of_what_is_not_sent() {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(503))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(any()).respond_with(answer(200, json!({"run_id": 7}))).mount(&server).await;
    let (_taken, down) = deaf();
    let notes = Arc::new(Notes::default());
    let pool = builder().observer(Arc::<Notes>::clone(&notes)).build().unwrap();
    pool.client(&host(&server.uri()), token()).get_run(run_id()).await.unwrap();
    let told = std::mem::take(&mut *notes.0.lock().unwrap());
    assert_eq!(told, ["runs/get Some(503) Some(Unavailable) 1", "runs/get Some(200) None 2"]);
    let client = pool.client(&host(&down), token());
    for _ in 0..3 {
        client.get_run(run_id()).await.unwrap_err();
    }
    let told = std::mem::take(&mut *notes.0.lock().unwrap());
    assert_eq!(told.len(), 12);
    assert_eq!(told[10..], ["refused", "refused"]);
}

#[tokio::test]
async fn a_call_whose_time_is_over_before_it_is_sent_had_no_effect() {
    let up = healthy().await;
    let client = builder().build().unwrap().client(&host(&up.uri()), token());
    let late = client.with_deadline(Some(Instant::now()));
    let error = late.submit_run(&SubmitRun::new(body(json!({})))).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Timeout, 0), "{error}");
    assert!(!error.may_have_effect());
}
