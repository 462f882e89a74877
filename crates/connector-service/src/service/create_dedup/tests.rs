use std::sync::Mutex;

use connector_core::{CreateContext, ErrorKind, TaskType};

use flyteidl2::{
    connector::TaskExecutionMetadata,
    core::{NodeExecutionIdentifier, TaskExecutionIdentifier},
    task::{Inputs, NamedLiteral},
};

use super::{entries::MAX_ABANDONED, in_flight::Response, ticket::OrphanedCreate, *};

const GRACE: Duration = Duration::from_secs(30);

fn request(action: &str, attempt: u32) -> CreateTaskRequest {
    let id = TaskExecutionIdentifier {
        node_execution_id: Some(NodeExecutionIdentifier {
            node_id: action.to_owned(),
            ..NodeExecutionIdentifier::default()
        }),
        retry_attempt: attempt,
        ..TaskExecutionIdentifier::default()
    };
    CreateTaskRequest {
        task_execution_metadata: Some(TaskExecutionMetadata {
            task_execution_id: Some(id),
            ..TaskExecutionMetadata::default()
        }),
        ..CreateTaskRequest::default()
    }
}

fn in_a_second() -> Instant {
    Instant::now() + Duration::from_secs(1)
}

async fn start(dedup: &CreateDedup, request: CreateTaskRequest) -> (Waiter, Ticket) {
    start_until(dedup, request, in_a_second()).await
}

async fn start_until(
    dedup: &CreateDedup,
    request: CreateTaskRequest,
    respond_by: Instant,
) -> (Waiter, Ticket) {
    match dedup.begin(Arc::new(with_sorted_inputs(request)), respond_by).await.unwrap() {
        Begun::Started(waiter, ticket) => (waiter, ticket),
        Begun::Joined(_) => panic!("joined"),
    }
}

/// Waits for the response.
async fn response(waiter: Waiter) -> Outcome {
    match waiter.wait(in_a_second()).await {
        Waited::Response(outcome) => outcome,
        Waited::Again(_) => panic!("no response"),
    }
}

/// A creation whose caller received `DeadlineExceeded`.
async fn orphan(dedup: &CreateDedup, request: CreateTaskRequest) -> OrphanedCreate {
    let (waiter, ticket) = start(dedup, request).await;
    let error = response(waiter).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    ticket.settle(Ok(b"meta".to_vec())).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn task_that_a_caller_received_is_kept() {
    let dedup = CreateDedup::new(GRACE);
    let (waiter, ticket) = start(&dedup, request("a", 0)).await;
    let (response, settled) = tokio::join!(response(waiter), ticket.settle(Ok(b"meta".to_vec())));
    assert_eq!(response.unwrap(), b"meta");
    assert!(settled.is_none());
    assert!(dedup.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn task_of_a_disconnected_caller_is_kept() {
    let dedup = CreateDedup::new(GRACE);
    let (waiter, ticket) = start(&dedup, request("a", 0)).await;
    drop(waiter);
    assert!(ticket.settle(Ok(Vec::new())).await.is_none());
    assert!(dedup.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn orphan_is_cancelled_after_the_grace_period_and_not_reused() {
    let dedup = CreateDedup::new(GRACE);
    let orphan = orphan(&dedup, request("a", 0)).await;
    assert_eq!(orphan.meta.as_deref(), Some(&b"meta"[..]));
    let waits = Instant::now();
    assert!(orphan.wait_for_expiry().await);
    assert_eq!(waits.elapsed(), GRACE);
    let (_caller, ticket) = start(&dedup, request("a", 0)).await;
    assert_eq!(
        ticket.context(TaskType::new("x", 0), std::time::Instant::now()).abandoned_creates,
        1
    );
    let (_caller, other) = start(&dedup, request("a", 1)).await;
    assert_eq!(
        other.context(TaskType::new("x", 0), std::time::Instant::now()).abandoned_creates,
        0
    );
}

#[tokio::test(start_paused = true)]
async fn orphan_requested_again_within_the_grace_period_is_kept() {
    let dedup = CreateDedup::new(GRACE);
    let orphan = orphan(&dedup, request("a", 0)).await;
    let (_caller, ticket) = start(&dedup, request("a", 0)).await;
    assert!(!orphan.wait_for_expiry().await);
    // The same token finds the same run.
    assert_eq!(
        ticket.context(TaskType::new("x", 0), std::time::Instant::now()).abandoned_creates,
        0
    );
}

#[tokio::test(start_paused = true)]
async fn claimed_orphan_is_cancelled_if_the_claiming_request_fails() {
    let dedup = CreateDedup::new(GRACE);
    for may_have_started in [false, true] {
        let first = orphan(&dedup, request("a", 0)).await;
        let (waiter, ticket) = start(&dedup, request("a", 0)).await;
        assert!(!first.wait_for_expiry().await);
        // The claiming caller receives an error, so Flyte starts the next attempt.
        let error = Error::new(ErrorKind::Unavailable, "x").with_may_have_started(may_have_started);
        let (response, settled) = tokio::join!(response(waiter), ticket.settle(Err(error)));
        response.unwrap_err();
        let orphan = settled.unwrap();
        assert_eq!(orphan.meta.as_deref(), Some(&b"meta"[..]), "{may_have_started}");
        assert!(orphan.wait_for_expiry().await);
    }
}

#[tokio::test(start_paused = true)]
async fn claimed_orphan_is_kept_for_a_disconnected_caller() {
    let dedup = CreateDedup::new(GRACE);
    let first = orphan(&dedup, request("a", 0)).await;
    let (waiter, ticket) = start(&dedup, request("a", 0)).await;
    assert!(!first.wait_for_expiry().await);
    drop(waiter);
    let error = Error::new(ErrorKind::Unavailable, "x");
    assert!(ticket.settle(Err(error)).await.is_none());
    assert!(dedup.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn shutdown_shortens_the_grace_period() {
    let dedup = CreateDedup::new(GRACE);
    let orphan = orphan(&dedup, request("a", 0)).await;
    let waits = Instant::now();
    let due = tokio::spawn(async move { orphan.wait_for_expiry().await });
    tokio::task::yield_now().await;
    dedup.end_grace_periods(waits + Duration::from_secs(3));
    assert!(due.await.unwrap());
    assert_eq!(waits.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn error_that_may_have_started_a_task_leaves_an_orphan() {
    let dedup = CreateDedup::new(GRACE);
    for (attempt, may_have_started, is_orphan) in [(0, true, true), (1, false, false)] {
        let (waiter, ticket) = start(&dedup, request("a", attempt)).await;
        let error =
            Error::new(ErrorKind::Unavailable, "lost").with_may_have_started(may_have_started);
        let (response, settled) = tokio::join!(response(waiter), ticket.settle(Err(error)));
        assert_eq!(response.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(settled.map(|orphan| orphan.meta), is_orphan.then_some(None));
    }
}

#[tokio::test(start_paused = true)]
async fn identical_request_joins_regardless_of_input_order() {
    let dedup = CreateDedup::new(GRACE);
    let with_inputs = |names: [&str; 2]| {
        let literals = names
            .map(|name| NamedLiteral { name: name.to_owned(), ..NamedLiteral::default() })
            .to_vec();
        CreateTaskRequest {
            inputs: Some(Inputs { literals, ..Inputs::default() }),
            ..request("a", 0)
        }
    };
    let (first, ticket) = start(&dedup, with_inputs(["x", "y"])).await;
    let Begun::Joined(second) = dedup
        .begin(Arc::new(with_sorted_inputs(with_inputs(["y", "x"]))), in_a_second())
        .await
        .unwrap()
    else {
        panic!("started twice")
    };
    // The first caller receives an error and the second the task, so the task is kept.
    response(first).await.unwrap_err();
    let (response, settled) = tokio::join!(response(second), ticket.settle(Ok(b"meta".to_vec())));
    assert_eq!(response.unwrap(), b"meta");
    assert!(settled.is_none());
}

#[tokio::test(start_paused = true)]
async fn different_request_waits_and_starts_its_own_task() {
    let dedup = CreateDedup::new(GRACE);
    let (waiter, ticket) = start(&dedup, request("a", 0)).await;
    let mut differs = request("a", 0);
    differs.template = Some(flyteidl2::core::TaskTemplate::default());
    let error = dedup.begin(Arc::new(differs.clone()), in_a_second()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);

    let waiting = {
        let (dedup, until) = (dedup.clone(), in_a_second());
        tokio::spawn(async move { dedup.begin(Arc::new(differs), until).await })
    };
    let (response, _) = tokio::join!(response(waiter), ticket.settle(Ok(b"meta".to_vec())));
    response.unwrap();
    assert!(matches!(waiting.await.unwrap().unwrap(), Begun::Started(..)));
}

#[tokio::test(start_paused = true)]
async fn joined_caller_with_more_time_begins_again_after_an_error_for_lack_of_time() {
    for (kind, is_again) in [
        (ErrorKind::DeadlineExceeded, true),
        (ErrorKind::Unavailable, true),
        (ErrorKind::Exhausted, true),
        (ErrorKind::InvalidTask, false),
    ] {
        let dedup = CreateDedup::new(GRACE);
        let same = || Arc::new(request("a", 0));
        let (first, ticket) = start(&dedup, request("a", 0)).await;
        let patient = in_a_second() + Duration::from_secs(9);
        let Begun::Joined(second) = dedup.begin(same(), patient).await.unwrap() else {
            panic!("started twice")
        };
        let Begun::Joined(third) = dedup.begin(same(), in_a_second()).await.unwrap() else {
            panic!("started twice")
        };
        let again = async {
            match second.wait(patient).await {
                // The failed creation is not joined once more.
                Waited::Again(same) => Some(dedup.begin(same, patient).await.unwrap()),
                Waited::Response(_) => None,
            }
        };
        let error = Error::new(kind, "x").with_may_have_started(true);
        let (one, second, three, orphan) =
            tokio::join!(response(first), again, response(third), ticket.settle(Err(error)));
        assert_eq!([one.unwrap_err().kind(), three.unwrap_err().kind()], [kind; 2]);
        // The orphan that may exist has the same idempotency token, and is claimed.
        assert!(orphan.is_some());
        assert_eq!(matches!(second, Some(Begun::Started(..))), is_again, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn caller_whose_time_ends_learns_what_the_creation_waits_for() {
    let dedup = CreateDedup::new(GRACE);
    let (waiter, ticket) = start(&dedup, request("a", 0)).await;
    let cx = ticket.context(TaskType::new("x", 0), std::time::Instant::now());
    cx.pending_error.set(Error::new(ErrorKind::DeadlineExceeded, "no response within 0.7 s"));
    let error = response(waiter).await.unwrap_err();
    assert_eq!(error.to_string(), "no response within 0.7 s");
    assert!(error.may_have_started());
}

#[tokio::test(start_paused = true)]
async fn requests_without_an_execution_id_are_never_merged() {
    let dedup = CreateDedup::new(GRACE);
    let (_one, _ticket) = start(&dedup, CreateTaskRequest::default()).await;
    let (_other, _ticket) = start(&dedup, CreateTaskRequest::default()).await;
    let orphan = orphan(&dedup, CreateTaskRequest::default()).await;
    assert!(orphan.wait_for_expiry().await);
    assert_eq!(dedup.lock().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn number_of_remembered_abandoned_attempts_is_bounded() {
    let dedup = CreateDedup::new(Duration::ZERO);
    for attempt in 0..=u32::try_from(MAX_ABANDONED).unwrap() {
        let (mut waiter, ticket) = start(&dedup, request("a", attempt)).await;
        waiter.response = Response::Error;
        drop(waiter);
        assert!(ticket.settle(Ok(Vec::new())).await.unwrap().wait_for_expiry().await);
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert!(dedup.lock().len() <= MAX_ABANDONED);
    let (_caller, ticket) =
        start(&dedup, request("a", u32::try_from(MAX_ABANDONED).unwrap())).await;
    assert_eq!(ticket.abandoned, 1);
}

/// The cancellation of an orphan.
type Cancel = (Option<()>, Instant);

/// A connector whose service never responds. Records the cancellations of orphans.
#[derive(Debug, Clone, Default)]
struct Silent {
    cancels: Arc<Mutex<Vec<Cancel>>>,
}

impl connector_core::Connector for Silent {
    const NAME: &'static str = "Silent";
    type ResourceMeta = ();

    fn task_types(&self) -> Vec<TaskType> {
        vec![TaskType::new("x", 0)]
    }

    async fn create(&self, cx: CreateContext) -> Result<(), Error> {
        tokio::time::sleep_until(cx.response_deadline.unwrap().into()).await;
        Err(Error::new(ErrorKind::DeadlineExceeded, "no response").with_may_have_started(true))
    }

    async fn get(
        &self,
        _cx: connector_core::CallContext,
        (): (),
    ) -> Result<connector_core::Resource, Error> {
        Err(Error::internal("not called"))
    }

    async fn delete(&self, _cx: connector_core::CallContext, (): ()) -> Result<(), Error> {
        Err(Error::internal("not called"))
    }

    async fn cancel_abandoned(&self, _cx: CreateContext, meta: Option<()>) -> Result<(), Error> {
        self.cancels.lock().unwrap().push((meta, Instant::now()));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn response_is_awaited_for_two_minutes_or_until_shutdown_and_then_searched() {
    for (stops_after, cancelled_after) in [(None, 120 + 30), (Some(20), 20)] {
        let connector = Silent::default();
        let registry =
            connector_core::Registry::builder().register(connector.clone()).build().unwrap();
        let task_type = TaskType::new("x", 0);
        let handle = registry.find(&task_type).unwrap().clone();
        let dedup = CreateDedup::new(GRACE);
        let began = Instant::now();
        let (waiter, ticket) = start(&dedup, request("a", 0)).await;
        let cx = ticket.context(task_type, in_a_second().into_std());
        let running = tokio::spawn(run(ticket, handle, cx, |_| {}));
        response(waiter).await.unwrap_err();
        // Counted as detached as soon as no caller waits.
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(dedup.detached().len(), 1);
        if let Some(after) = stops_after {
            dedup.end_grace_periods(began + Duration::from_secs(after));
        }
        running.await.unwrap();
        let cancels = connector.cancels.lock().unwrap().clone();
        let seconds: Vec<_> =
            cancels.iter().map(|(meta, at)| (*meta, at.duration_since(began).as_secs())).collect();
        assert_eq!(seconds, [(None, cancelled_after)]);
    }
}

/// A connector that records cancellations of earlier attempts. The first ones fail.
#[derive(Debug, Clone)]
struct CancelRecorder {
    failures: usize,
    kind: ErrorKind,
    cancels: Arc<Mutex<Vec<Instant>>>,
}

impl connector_core::Connector for CancelRecorder {
    const NAME: &'static str = "Cancel Recorder";
    type ResourceMeta = String;

    fn task_types(&self) -> Vec<TaskType> {
        vec![TaskType::new("x", 0)]
    }

    async fn create(&self, _cx: CreateContext) -> Result<String, Error> {
        Ok(String::new())
    }

    async fn get(
        &self,
        _cx: connector_core::CallContext,
        _meta: String,
    ) -> Result<connector_core::Resource, Error> {
        Err(Error::internal("not called"))
    }

    async fn delete(&self, _cx: connector_core::CallContext, _meta: String) -> Result<(), Error> {
        Ok(())
    }

    async fn cancel_earlier_attempts(&self, _cx: CreateContext) -> Result<(), Error> {
        let mut cancels = self.cancels.lock().unwrap();
        cancels.push(Instant::now());
        if cancels.len() > self.failures { Ok(()) } else { Err(Error::new(self.kind, "no")) }
    }
}

/// Returns when an attempt cancelled the earlier ones, in seconds after its creation. The first `failures` fail.
async fn cancel_times(attempt: u32, failures: usize, kind: ErrorKind) -> Vec<u64> {
    let recorder = CancelRecorder { failures, kind, cancels: Arc::default() };
    let registry = connector_core::Registry::builder().register(recorder.clone()).build().unwrap();
    let task_type = TaskType::new("x", 0);
    let connector = registry.find(&task_type).unwrap().clone();
    let dedup = CreateDedup::new(GRACE);
    let began = Instant::now();
    let (waiter, ticket) = start(&dedup, request("a", attempt)).await;
    let cx = ticket.context(task_type, std::time::Instant::now());
    let running = tokio::spawn(run(ticket, connector, cx, |_| {}));
    response(waiter).await.unwrap();
    // The response waited for the first cancellation only.
    assert_eq!(began.elapsed(), Duration::ZERO);
    running.await.unwrap();
    let cancels = recorder.cancels.lock().unwrap();
    cancels.iter().map(|at| at.duration_since(began).as_secs()).collect()
}

#[tokio::test(start_paused = true)]
async fn later_attempt_cancels_earlier_ones_immediately_and_after_the_grace_period() {
    assert_eq!(cancel_times(0, 0, ErrorKind::Unavailable).await, [0; 0]);
    assert_eq!(cancel_times(1, 0, ErrorKind::Unavailable).await, [0, 30]);
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_the_wait_for_the_second_cancellation() {
    let dedup = CreateDedup::new(GRACE);
    let began = Instant::now();
    dedup.end_grace_periods(began + GRACE);
    dedup.sleep_until_stop(GRACE).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn failed_cancellation_of_earlier_attempts_is_retried() {
    assert_eq!(cancel_times(2, 1, ErrorKind::Unavailable).await, [0, 30]);
    assert_eq!(cancel_times(2, 3, ErrorKind::Unavailable).await, [0, 30, 32, 36]);
    // A permanent error is retried a few times.
    assert_eq!(cancel_times(2, 99, ErrorKind::Forbidden).await, [0, 30, 32, 36, 44, 60]);
    // A transient error is retried for an hour.
    let long = cancel_times(2, 999, ErrorKind::Unavailable).await;
    assert_eq!(long[..8], [0, 30, 32, 36, 44, 60, 92, 152]);
    let last = *long.last().unwrap();
    assert!((3_600..3_700).contains(&last), "{last}");
}
