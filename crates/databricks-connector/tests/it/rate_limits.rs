//! How rate limits, deadlines and unreachable services affect calls.

use std::{
    net::TcpListener,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use connector_core::{Connector, ErrorKind, Phase};
use databricks_connector::{
    CallLimits, Config, StorageFuture, TaskStorage,
    telemetry::{CircuitBreakerState, Host, Observer, RateLimitWait, RequestAttempt, TokenFetch},
};
use databricks_emulator::{CannedResponse, Endpoint, Outcome, Pace, Script};
use serde_json::json;

use crate::harness::{Harness, call, meta, with_token};

/// Records the status of each attempt.
#[derive(Debug, Default)]
struct StatusRecorder(Mutex<Vec<Option<u16>>>);

impl Observer for StatusRecorder {
    fn on_attempt(&self, attempt: &RequestAttempt<'_>) {
        self.0.lock().unwrap().push(attempt.status);
    }

    fn on_rate_limit_wait(&self, _wait: &RateLimitWait<'_>) {}

    fn on_request_rejected(&self, _host: &Host) {}

    fn on_token_fetch(&self, _fetch: &TokenFetch<'_>) {}
}

fn running() -> Script {
    Script { pace: Pace::PerPoll(1_000), ..Script::default() }
}

fn requests(harness: &Harness) -> usize {
    harness.emulator.requests().len()
}

#[tokio::test]
async fn retry_after_of_a_workspace_is_reported_and_obeyed_by_all_calls() {
    let harness = Harness::start().await;
    let run = harness.started(running()).await;
    assert_eq!(harness.get(&run).await.phase, Phase::WaitingForResources);
    let limited = CannedResponse::json(429, "").with_header("retry-after", "45");
    harness.emulator.answer_next(Endpoint::GetRun, limited, 1);
    let resource = harness.get(&run).await;
    assert_eq!(resource.phase, Phase::WaitingForResources);
    assert!(resource.message.contains("Databricks returned 429"), "{}", resource.message);

    let before = requests(&harness);
    let resource = harness.get(&run).await;
    assert_eq!(resource.phase, Phase::WaitingForResources);
    assert!(resource.message.contains("not sent: rate limit on reads"), "{}", resource.message);
    let mut cx = harness.request("40_executor_first_attempt", json!({}));
    cx.deadline = call().deadline;
    let error = harness.connector.create(cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert!(error.retry_after().unwrap() > Duration::from_secs(30), "{error:?}");
    assert_eq!(requests(&harness), before);
}

#[tokio::test]
async fn status_429_without_retry_after_is_retried_within_the_call() {
    let seen = Arc::new(StatusRecorder::default());
    let observer = Arc::<StatusRecorder>::clone(&seen);
    let harness = Harness::with(|config| Config { observer: Some(observer), ..config }).await;
    let run = harness.started(running()).await;
    harness.emulator.answer_next(Endpoint::GetRun, CannedResponse::json(429, ""), 2);
    let (before, sent) = (requests(&harness), harness.connector.workspace_snapshots()[0].attempts);
    let resource = harness.get(&run).await;
    assert!(!resource.message.contains("the run could not be read"), "{}", resource.message);
    assert_eq!(requests(&harness) - before, 3);
    let snapshot = harness.connector.workspace_snapshots().remove(0);
    assert_eq!((snapshot.attempts - sent, snapshot.retries), (3, 2));
    assert_eq!(snapshot.circuit_breaker, CircuitBreakerState::Closed);
    let statuses = seen.0.lock().unwrap();
    assert_eq!(statuses[statuses.len() - 3..], [Some(429), Some(429), Some(200)]);
}

#[tokio::test]
async fn many_polls_do_not_delay_a_submission() {
    let calls = CallLimits { reads_per_second: NonZeroU32::MIN, ..CallLimits::default() };
    let harness = Arc::new(Harness::with(|config| Config { calls, ..config }).await);
    let run = harness.started(running()).await;
    let deadline = Some(Instant::now() + Duration::from_secs(10));
    let polls: Vec<_> = (0..200)
        .map(|_| {
            let (harness, run) = (Arc::clone(&harness), run.clone());
            let cx = call().with_deadline(deadline);
            tokio::spawn(async move { harness.connector.get(cx, run).await.unwrap().message })
        })
        .collect();
    // They start before the submission, and use up the reads of its deadline.
    tokio::task::yield_now().await;
    let mut cx = harness.request("40_executor_first_attempt", json!({}));
    cx.deadline = deadline;
    harness.connector.create(cx).await.unwrap();
    let mut rejected = 0;
    for poll in polls.into_iter().filter(tokio::task::JoinHandle::is_finished) {
        rejected += usize::from(poll.await.unwrap().contains("not sent: rate limit on reads"));
    }
    assert!(rejected > 150, "{rejected}");
}

#[tokio::test]
async fn call_without_deadline_has_the_default_timeout() {
    // Accepts connections, and never responds.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let harness = Harness::with(|config| Config {
        allowed_hosts: vec![silent.local_addr().unwrap().to_string()],
        call_timeout: Duration::from_millis(300),
        ..config
    })
    .await;
    let cx = with_token("dapi-canary").with_deadline(None);
    let resource = harness.connector.get(cx, meta(&address, "7")).await.unwrap();
    assert_eq!(resource.phase, Phase::Running);
    assert!(resource.message.contains("no response within 0.2 s"), "{}", resource.message);
}

#[tokio::test]
async fn unreachable_workspace_fails_the_task_after_the_configured_grace_period() {
    let harness =
        Harness::with(|config| Config { unreachable_patience: Some(Duration::ZERO), ..config })
            .await;
    let run = harness.started(running()).await;
    harness.emulator.answer_next(Endpoint::GetRun, CannedResponse::json(400, "{}"), 1);
    let resource = harness.get(&run).await;
    assert_eq!(resource.phase, Phase::Failed);
    assert!(
        resource.message.contains("the run itself may still be active"),
        "{}",
        resource.message
    );
}

/// A store that never responds.
#[derive(Debug)]
struct Unresponsive;

impl TaskStorage for Unresponsive {
    fn read<'a>(&'a self, _: &'a str, _: u64) -> StorageFuture<'a, Option<Vec<u8>>> {
        Box::pin(std::future::pending())
    }

    fn size<'a>(&'a self, _: &'a str) -> StorageFuture<'a, Option<u64>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn unresponsive_store_does_not_delay_the_response_past_the_deadline() {
    let harness =
        Harness::with(|config| Config { task_storage: Arc::new(Unresponsive), ..config }).await;
    let script = Script { steps: Vec::new(), outcome: Outcome::Success, ..Script::default() };
    let run = harness.started(script).await;
    let mut phases = Vec::new();
    for _ in 0..3 {
        let deadline = Instant::now() + Duration::from_secs(1);
        let cx = call().with_deadline(Some(deadline)).with_output_prefix("s3://bucket/run");
        phases.push(harness.connector.get(cx, run.clone()).await.unwrap().phase);
        assert!(Instant::now() < deadline);
    }
    assert_eq!(phases, [Phase::Running, Phase::Running, Phase::Succeeded]);
}
