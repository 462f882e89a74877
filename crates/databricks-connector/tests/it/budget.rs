//! What the budget and the breaker of a workspace do to Flyte's calls.

use std::{
    net::TcpListener,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use connector_core::{Connector, ErrorKind, Phase};
use databricks_connector::{
    CallLimits, Config, Looked, Looking, TaskFiles,
    telemetry::{CircuitBreakerState, Host, Observer, RateLimitWait, RequestAttempt, TokenFetch},
};
use databricks_emulator::{CannedResponse, Endpoint, Outcome, Pace, Script};
use serde_json::json;

use crate::setup::{World, call, meta, with_token};

/// The statuses of every answer.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<Option<u16>>>);

impl Observer for Seen {
    fn on_attempt(&self, attempt: &RequestAttempt<'_>) {
        self.0.lock().unwrap().push(attempt.status);
    }

    fn on_rate_limit_wait(&self, _wait: &RateLimitWait<'_>) {}

    fn on_request_rejected(&self, _host: &Host) {}

    fn on_token_fetch(&self, _mint: &TokenFetch<'_>) {}
}

fn running() -> Script {
    Script { pace: Pace::PerPoll(1_000), ..Script::default() }
}

fn requests(world: &World) -> usize {
    world.emulator.requests().len()
}

#[tokio::test]
async fn a_pause_that_a_workspace_asks_for_is_told_and_no_call_breaks_it() {
    let world = World::start().await;
    let run = world.started(running()).await;
    assert_eq!(world.get(&run).await.phase, Phase::WaitingForResources);
    let limited = CannedResponse::json(429, "").with_header("retry-after", "45");
    world.emulator.answer_next(Endpoint::GetRun, limited, 1);
    let told = world.get(&run).await;
    assert_eq!(told.phase, Phase::WaitingForResources);
    assert!(told.message.contains("Databricks returned 429"), "{}", told.message);

    let before = requests(&world);
    let told = world.get(&run).await;
    assert_eq!(told.phase, Phase::WaitingForResources);
    assert!(told.message.contains("not sent: rate limit on reads"), "{}", told.message);
    let mut cx = world.request("40_executor_first_attempt", json!({}));
    cx.deadline = call().deadline;
    let error = world.connector.create(cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert!(error.retry_after().unwrap() > Duration::from_secs(30), "{error:?}");
    assert_eq!(requests(&world), before);
}

#[tokio::test]
async fn a_429_without_a_pause_is_tried_again_within_the_call() {
    let seen = Arc::new(Seen::default());
    let observer = Arc::<Seen>::clone(&seen);
    let world = World::with(|config| Config { observer: Some(observer), ..config }).await;
    let run = world.started(running()).await;
    world.emulator.answer_next(Endpoint::GetRun, CannedResponse::json(429, ""), 2);
    let (before, sent) = (requests(&world), world.connector.workspaces().snapshots()[0].attempts);
    let told = world.get(&run).await;
    assert!(!told.message.contains("no news"), "{}", told.message);
    assert_eq!(requests(&world) - before, 3);
    let stands = world.connector.workspaces().snapshots().remove(0);
    assert_eq!((stands.attempts - sent, stands.retries), (3, 2));
    assert_eq!(stands.circuit_breaker, CircuitBreakerState::Closed);
    let statuses = seen.0.lock().unwrap();
    assert_eq!(statuses[statuses.len() - 3..], [Some(429), Some(429), Some(200)]);
}

#[tokio::test]
async fn a_storm_of_polls_keeps_no_submission_waiting() {
    let calls = CallLimits { reads_per_second: NonZeroU32::MIN, ..CallLimits::default() };
    let world = Arc::new(World::with(|config| Config { calls, ..config }).await);
    let run = world.started(running()).await;
    let deadline = Some(Instant::now() + Duration::from_secs(10));
    let polls: Vec<_> = (0..200)
        .map(|_| {
            let (world, run) = (Arc::clone(&world), run.clone());
            let cx = call().with_deadline(deadline);
            tokio::spawn(async move { world.connector.get(cx, run).await.unwrap().message })
        })
        .collect();
    // All of them ask before the submission does, and leave no time for one more read.
    tokio::task::yield_now().await;
    let mut cx = world.request("40_executor_first_attempt", json!({}));
    cx.deadline = deadline;
    world.connector.create(cx).await.unwrap();
    let mut refused = 0;
    for poll in polls.into_iter().filter(tokio::task::JoinHandle::is_finished) {
        refused += usize::from(poll.await.unwrap().contains("not sent: rate limit on reads"));
    }
    assert!(refused > 150, "{refused}");
}

#[tokio::test]
async fn a_call_that_brings_no_deadline_has_ours() {
    // It takes connections, and nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let world = World::with(|config| Config {
        allowed_hosts: vec![silent.local_addr().unwrap().to_string()],
        call_timeout: Duration::from_millis(300),
        ..config
    })
    .await;
    let cx = with_token("dapi-canary").with_deadline(None);
    let told = world.connector.get(cx, meta(&address, "7")).await.unwrap();
    assert_eq!(told.phase, Phase::Running);
    assert!(told.message.contains("no answer within 0.2 s"), "{}", told.message);
}

#[tokio::test]
async fn an_unreachable_workspace_ends_the_task_only_where_the_operator_says_so() {
    let world =
        World::with(|config| Config { unreachable_patience: Some(Duration::ZERO), ..config }).await;
    let run = world.started(running()).await;
    world.emulator.answer_next(Endpoint::GetRun, CannedResponse::json(400, "{}"), 1);
    let told = world.get(&run).await;
    assert_eq!(told.phase, Phase::Failed);
    assert!(told.message.contains("the run itself may still be alive"), "{}", told.message);
}

/// A store that never answers.
#[derive(Debug)]
struct Silent;

impl TaskFiles for Silent {
    fn read<'a>(&'a self, _url: &'a str, _most: u64) -> Looking<'a, Vec<u8>> {
        Box::pin(std::future::pending::<Looked<Vec<u8>>>())
    }

    fn exists<'a>(&'a self, _url: &'a str) -> Looking<'a, ()> {
        Box::pin(std::future::pending::<Looked<()>>())
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_keeps_no_answer_from_flyte() {
    let world = World::with(|config| Config { task_files: Arc::new(Silent), ..config }).await;
    let script = Script { steps: Vec::new(), outcome: Outcome::Success, ..Script::default() };
    let run = world.started(script).await;
    let mut phases = Vec::new();
    for _ in 0..3 {
        let deadline = Instant::now() + Duration::from_secs(1);
        let cx = call().with_deadline(Some(deadline)).with_output_prefix("s3://bucket/run");
        phases.push(world.connector.get(cx, run.clone()).await.unwrap().phase);
        assert!(Instant::now() < deadline);
    }
    assert_eq!(phases, [Phase::Running, Phase::Running, Phase::Succeeded]);
}
