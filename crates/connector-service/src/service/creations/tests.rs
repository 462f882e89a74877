use std::time::Duration;

use flyteidl2::{
    connector::TaskExecutionMetadata,
    core::{NodeExecutionIdentifier, TaskExecutionIdentifier},
    task::{Inputs, NamedLiteral},
};

use super::*;

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

async fn start(creations: &Creations, request: CreateTaskRequest) -> (Caller, Ticket) {
    match creations.begin(request, in_a_second()).await.unwrap() {
        Begun::Started(caller, ticket) => (caller, ticket),
        Begun::Joined(_) => panic!("joined"),
    }
}

/// A creation whose caller was told that it was too late.
async fn abandoned(creations: &Creations, request: CreateTaskRequest) -> Abandonment {
    let (caller, ticket) = start(creations, request).await;
    let error = caller.answer(in_a_second()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    ticket.settle(Ok(b"meta".to_vec())).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn work_that_somebody_got_is_kept() {
    let creations = Creations::new(GRACE);
    let (caller, ticket) = start(&creations, request("a", 0)).await;
    let (answer, settled) =
        tokio::join!(caller.answer(in_a_second()), ticket.settle(Ok(b"meta".to_vec())));
    assert_eq!(answer.unwrap(), b"meta");
    assert!(settled.is_none());
    assert!(creations.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn work_whose_caller_went_away_is_left_alone() {
    let creations = Creations::new(GRACE);
    let (caller, ticket) = start(&creations, request("a", 0)).await;
    drop(caller);
    assert!(ticket.settle(Ok(Vec::new())).await.is_none());
    assert!(creations.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn work_that_came_too_late_is_given_up_after_the_grace_time_and_does_not_come_back() {
    let creations = Creations::new(GRACE);
    let abandonment = abandoned(&creations, request("a", 0)).await;
    assert_eq!(abandonment.meta.as_deref(), Some(&b"meta"[..]));
    let waits = Instant::now();
    assert!(abandonment.is_due().await);
    assert_eq!(waits.elapsed(), GRACE);
    let (_caller, ticket) = start(&creations, request("a", 0)).await;
    assert_eq!(
        ticket.context(TaskType::new("x", 0), std::time::Instant::now()).abandoned_creates,
        1
    );
    let (_caller, other) = start(&creations, request("a", 1)).await;
    assert_eq!(
        other.context(TaskType::new("x", 0), std::time::Instant::now()).abandoned_creates,
        0
    );
}

#[tokio::test(start_paused = true)]
async fn work_that_is_asked_for_again_within_the_grace_time_is_kept() {
    let creations = Creations::new(GRACE);
    let abandonment = abandoned(&creations, request("a", 0)).await;
    let (_caller, ticket) = start(&creations, request("a", 0)).await;
    assert!(!abandonment.is_due().await);
    // The same token finds the same run.
    assert_eq!(
        ticket.context(TaskType::new("x", 0), std::time::Instant::now()).abandoned_creates,
        0
    );
}

#[tokio::test(start_paused = true)]
async fn work_that_was_claimed_in_vain_is_given_up_after_all() {
    let creations = Creations::new(GRACE);
    for may_have_started in [false, true] {
        let first = abandoned(&creations, request("a", 0)).await;
        let (caller, ticket) = start(&creations, request("a", 0)).await;
        assert!(!first.is_due().await);
        // Whoever claimed it is told an error, so that Flyte starts the next attempt.
        let error = Error::new(ErrorKind::Unavailable, "x").with_may_have_started(may_have_started);
        let (answer, settled) =
            tokio::join!(caller.answer(in_a_second()), ticket.settle(Err(error)));
        answer.unwrap_err();
        let abandonment = settled.unwrap();
        assert_eq!(abandonment.meta.as_deref(), Some(&b"meta"[..]), "{may_have_started}");
        assert!(abandonment.is_due().await);
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_was_claimed_is_kept_for_a_caller_who_comes_back() {
    let creations = Creations::new(GRACE);
    let first = abandoned(&creations, request("a", 0)).await;
    let (caller, ticket) = start(&creations, request("a", 0)).await;
    assert!(!first.is_due().await);
    drop(caller);
    let error = Error::new(ErrorKind::Unavailable, "x");
    assert!(ticket.settle(Err(error)).await.is_none());
    assert!(creations.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_shortens_the_grace_time() {
    let creations = Creations::new(GRACE);
    let abandonment = abandoned(&creations, request("a", 0)).await;
    let waits = Instant::now();
    let due = tokio::spawn(async move { abandonment.is_due().await });
    tokio::task::yield_now().await;
    creations.end_graces(waits + Duration::from_secs(3));
    assert!(due.await.unwrap());
    assert_eq!(waits.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_may_have_had_an_effect_is_followed_up() {
    let creations = Creations::new(GRACE);
    for (attempt, may_have_started, follows) in [(0, true, true), (1, false, false)] {
        let (caller, ticket) = start(&creations, request("a", attempt)).await;
        let error =
            Error::new(ErrorKind::Unavailable, "lost").with_may_have_started(may_have_started);
        let (answer, settled) =
            tokio::join!(caller.answer(in_a_second()), ticket.settle(Err(error)));
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(settled.map(|abandonment| abandonment.meta), follows.then_some(None));
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_request_joins_the_one_in_flight_in_whatever_order_its_inputs_come() {
    let creations = Creations::new(GRACE);
    let with_inputs = |names: [&str; 2]| {
        let literals = names
            .map(|name| NamedLiteral { name: name.to_owned(), ..NamedLiteral::default() })
            .to_vec();
        CreateTaskRequest {
            inputs: Some(Inputs { literals, ..Inputs::default() }),
            ..request("a", 0)
        }
    };
    let (first, ticket) = start(&creations, with_inputs(["x", "y"])).await;
    let Begun::Joined(second) =
        creations.begin(with_inputs(["y", "x"]), in_a_second()).await.unwrap()
    else {
        panic!("started twice")
    };
    // The first is told that it is too late; the second gets the work, so that somebody has it.
    first.answer(in_a_second()).await.unwrap_err();
    let (answer, settled) =
        tokio::join!(second.answer(in_a_second()), ticket.settle(Ok(b"meta".to_vec())));
    assert_eq!(answer.unwrap(), b"meta");
    assert!(settled.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_differs_waits_for_the_one_in_flight_and_never_gets_its_answer() {
    let creations = Creations::new(GRACE);
    let (caller, ticket) = start(&creations, request("a", 0)).await;
    let mut differs = request("a", 0);
    differs.template = Some(flyteidl2::core::TaskTemplate::default());
    let error = creations.begin(differs.clone(), in_a_second()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);

    let waiting = {
        let (creations, until) = (creations.clone(), in_a_second());
        tokio::spawn(async move { creations.begin(differs, until).await })
    };
    let (answer, _) =
        tokio::join!(caller.answer(in_a_second()), ticket.settle(Ok(b"meta".to_vec())));
    answer.unwrap();
    assert!(matches!(waiting.await.unwrap().unwrap(), Begun::Started(..)));
}

#[tokio::test(start_paused = true)]
async fn requests_without_an_execution_are_never_taken_for_one_another() {
    let creations = Creations::new(GRACE);
    let (_one, _ticket) = start(&creations, CreateTaskRequest::default()).await;
    let (_other, _ticket) = start(&creations, CreateTaskRequest::default()).await;
    let abandonment = abandoned(&creations, CreateTaskRequest::default()).await;
    assert!(abandonment.is_due().await);
    assert_eq!(creations.lock().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn memory_of_work_that_was_given_up_is_bounded() {
    let creations = Creations::new(Duration::ZERO);
    for attempt in 0..=u32::try_from(MAX_PAST).unwrap() {
        let (mut caller, ticket) = start(&creations, request("a", attempt)).await;
        caller.told = Told::Error;
        drop(caller);
        assert!(ticket.settle(Ok(Vec::new())).await.unwrap().is_due().await);
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert!(creations.lock().len() <= MAX_PAST);
    let (_caller, ticket) = start(&creations, request("a", u32::try_from(MAX_PAST).unwrap())).await;
    assert_eq!(ticket.abandoned, 1);
}

/// A connector that notes when it was to stop earlier attempts, and cannot the first few times.
#[derive(Debug, Clone)]
struct Sweeper {
    failures: usize,
    kind: ErrorKind,
    looks: Arc<Mutex<Vec<Instant>>>,
}

impl connector_core::Connector for Sweeper {
    const NAME: &'static str = "Sweeper";
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
        Err(Error::internal("never asked"))
    }

    async fn delete(&self, _cx: connector_core::CallContext, _meta: String) -> Result<(), Error> {
        Ok(())
    }

    async fn cancel_earlier_attempts(&self, _cx: CreateContext) -> Result<(), Error> {
        let mut looks = self.looks.lock().unwrap();
        looks.push(Instant::now());
        if looks.len() > self.failures { Ok(()) } else { Err(Error::new(self.kind, "no")) }
    }
}

/// When that attempt had earlier ones stopped, in seconds from its creation, of which the first few were in vain.
async fn looks(attempt: u32, failures: usize, kind: ErrorKind) -> Vec<u64> {
    let sweeper = Sweeper { failures, kind, looks: Arc::default() };
    let registry = connector_core::Registry::builder().register(sweeper.clone()).build().unwrap();
    let task_type = TaskType::new("x", 0);
    let connector = registry.find(&task_type).unwrap().clone();
    let creations = Creations::new(GRACE);
    let began = Instant::now();
    let (caller, ticket) = start(&creations, request("a", attempt)).await;
    let cx = ticket.context(task_type, std::time::Instant::now());
    let carried = tokio::spawn(carry_out(ticket, connector, cx, |_| {}));
    caller.answer(in_a_second()).await.unwrap();
    // The answer has waited for the first one alone.
    assert_eq!(began.elapsed(), Duration::ZERO);
    carried.await.unwrap();
    let looks = sweeper.looks.lock().unwrap();
    looks.iter().map(|at| at.duration_since(began).as_secs()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_later_attempt_has_earlier_ones_stopped_at_once_and_after_the_grace_time() {
    assert_eq!(looks(0, 0, ErrorKind::Unavailable).await, [0; 0]);
    assert_eq!(looks(1, 0, ErrorKind::Unavailable).await, [0, 30]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_brings_the_second_look_at_once() {
    let creations = Creations::new(GRACE);
    let began = Instant::now();
    creations.end_graces(began + GRACE);
    creations.time_or_stop(GRACE).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_look_for_earlier_attempts_that_fails_is_repeated() {
    assert_eq!(looks(2, 1, ErrorKind::Unavailable).await, [0, 30]);
    assert_eq!(looks(2, 3, ErrorKind::Unavailable).await, [0, 30, 32, 36]);
    // What a human must mend is not tried for long.
    assert_eq!(looks(2, 99, ErrorKind::Forbidden).await, [0, 30, 32, 36, 44, 60]);
    // An outage is sat out, and no outage for ever.
    let long = looks(2, 999, ErrorKind::Unavailable).await;
    assert_eq!(long[..8], [0, 30, 32, 36, 44, 60, 92, 152]);
    let last = *long.last().unwrap();
    assert!((3_600..3_700).contains(&last), "{last}");
}
