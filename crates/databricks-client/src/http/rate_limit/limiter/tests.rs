use std::{num::NonZeroU32, pin::Pin};

use proptest::{
    prop_oneof,
    strategy::{Just, Strategy},
    test_runner::TestCaseError,
};

use super::*;
use crate::Rate;

use RequestClass::{Read, Write};

/// A limiter with the same rate for reads and writes.
fn limiter(max_in_flight: u32, per_second: u32, burst: u32) -> Arc<RateLimiter> {
    let [max_in_flight, per_second, burst] =
        [max_in_flight, per_second, burst].map(|n| NonZeroU32::new(n).unwrap());
    let rate = Rate { per_second, burst };
    let policy = RateLimitPolicy { max_in_flight, reads: rate, writes: rate };
    RateLimiter::new("mine", policy, Instant::now())
}

fn in_seconds(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

type Caller = Pin<Box<dyn Future<Output = Result<Permit, Rejection>> + Send>>;

/// A caller that has not been polled.
fn caller(limiter: &Arc<RateLimiter>, class: RequestClass, deadline: Instant) -> Caller {
    let limiter = Arc::clone(limiter);
    Box::pin(async move { limiter.acquire(class, deadline).await })
}

/// Polls a future once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Starts a caller. Returns it if it must wait.
async fn waiting(limiter: &Arc<RateLimiter>, class: RequestClass) -> Caller {
    let mut caller = caller(limiter, class, in_seconds(60));
    assert!(poll_once(&mut caller).await.is_pending());
    caller
}

/// Returns a permit that is available immediately.
async fn permit(limiter: &Arc<RateLimiter>, class: RequestClass) -> Permit {
    match poll_once(&mut caller(limiter, class, in_seconds(60))).await {
        Poll::Ready(permit) => permit.unwrap(),
        Poll::Pending => panic!("no permit is available"),
    }
}

#[tokio::test(start_paused = true)]
async fn permits_are_given_in_order_and_at_the_rate() {
    let limiter = limiter(100, 2, 1);
    let (started, deadline) = (Instant::now(), in_seconds(60));
    let callers: Vec<_> = (0..5)
        .map(|n| {
            let limiter = Arc::clone(&limiter);
            tokio::spawn(async move {
                let permit = limiter.acquire(Read, deadline).await.unwrap();
                (n, started.elapsed().as_millis(), permit.waited().as_millis())
            })
        })
        .collect();
    for (n, caller) in callers.into_iter().enumerate() {
        let (caller, at, waited) = caller.await.unwrap();
        let expected = 500 * n as u128;
        assert_eq!((caller, at), (n, waited));
        assert!((expected..expected + 5).contains(&at), "{n} {at}");
    }
    let reads = limiter.snapshot(Instant::now()).reads;
    assert_eq!((reads.in_flight, reads.waiting, reads.waits), (0, 0, 4));
}

#[tokio::test(start_paused = true)]
async fn caller_is_rejected_at_its_deadline_if_no_slot_becomes_free() {
    let limiter = limiter(1, 1_000, 1);
    let _taken = permit(&limiter, Read).await;
    let started = Instant::now();
    let rejection = limiter.acquire(Read, in_seconds(3)).await.unwrap_err();
    assert_eq!(rejection, Rejection::TimedOut(Duration::from_secs(3)));
    assert_eq!(started.elapsed(), Duration::from_secs(3));
    assert_eq!(limiter.snapshot(Instant::now()).reads.rejected, 1);
}

#[tokio::test(start_paused = true)]
async fn caller_is_rejected_immediately_if_its_deadline_is_too_early() {
    let limiter = limiter(100, 1, 1);
    drop(permit(&limiter, Read).await);
    let started = Instant::now();
    let rejection = limiter.acquire(Read, in_seconds(1)).await.unwrap_err();
    assert!(matches!(rejection, Rejection::WouldTimeOut { waiting: 0, .. }));
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn wait_of_a_rejection_includes_the_waiters() {
    let limiter = limiter(8, 1, 1);
    drop(permit(&limiter, Read).await);
    let _waiting = [waiting(&limiter, Read).await, waiting(&limiter, Read).await];
    let rejection = limiter.acquire(Read, in_seconds(3)).await.unwrap_err();
    let Rejection::WouldTimeOut { wait, waiting: 2 } = rejection else { panic!("{rejection:?}") };
    assert_eq!(wait.as_secs(), 3);
    assert!(poll_once(&mut caller(&limiter, Read, in_seconds(4))).await.is_pending());
}

#[tokio::test(start_paused = true)]
async fn dropped_caller_passes_its_permit_to_the_next() {
    let limiter = limiter(1, 1_000, 1);
    let taken = permit(&limiter, Read).await;
    let dropped = waiting(&limiter, Read).await;
    let next = waiting(&limiter, Read).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    // The first waiter gets the slot, and is dropped before it is polled.
    drop(taken);
    drop(dropped);
    next.await.unwrap();
    let reads = limiter.snapshot(Instant::now()).reads;
    assert_eq!((reads.in_flight, reads.waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn callers_proceed_after_the_first_of_them_is_dropped() {
    let limiter = limiter(100, 1, 1);
    drop(permit(&limiter, Read).await);
    let dropped = waiting(&limiter, Read).await;
    let next = waiting(&limiter, Read).await;
    let started = Instant::now();
    drop(dropped);
    next.await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_class_has_slots_that_the_other_cannot_take() {
    for (class, other) in [(Read, Write), (Write, Read)] {
        for (max_in_flight, available) in [(8, 6), (2, 1)] {
            let limiter = limiter(max_in_flight, 1_000, 1_000);
            let mut permits = Vec::new();
            for _ in 0..available {
                permits.push(permit(&limiter, class).await);
            }
            let _waiting = waiting(&limiter, class).await;
            permit(&limiter, other).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn new_caller_does_not_overtake_waiters() {
    let limiter = limiter(2, 100, 100);
    let taken = permit(&limiter, Read).await;
    let mut first = waiting(&limiter, Read).await;
    let second = waiting(&limiter, Read).await;
    drop(taken);
    let mut third = waiting(&limiter, Read).await;
    let Poll::Ready(taken) = poll_once(&mut first).await else { panic!("the first has a slot") };
    drop(second);
    assert!(poll_once(&mut third).await.is_pending());
    drop(taken);
    assert!(poll_once(&mut third).await.is_ready());
}

#[tokio::test(start_paused = true)]
async fn last_slot_goes_to_the_earliest_waiter_of_both_classes() {
    let limiter = limiter(1, 100, 100);
    let taken = permit(&limiter, Read).await;
    let mut write = waiting(&limiter, Write).await;
    let mut read = waiting(&limiter, Read).await;
    drop(taken);
    assert!(poll_once(&mut read).await.is_pending());
    let Poll::Ready(taken) = poll_once(&mut write).await else { panic!("the write has a slot") };
    assert!(poll_once(&mut read).await.is_pending());
    drop(taken);
    assert!(poll_once(&mut read).await.is_ready());
}

#[tokio::test(start_paused = true)]
async fn one_token_starts_only_the_first_waiter() {
    let limiter = limiter(8, 1, 1);
    drop(permit(&limiter, Read).await);
    let mut first = waiting(&limiter, Read).await;
    let mut second = waiting(&limiter, Read).await;
    tokio::time::advance(Duration::from_millis(999)).await;
    assert!(poll_once(&mut first).await.is_pending());
    tokio::time::advance(Duration::from_millis(2)).await;
    assert!(poll_once(&mut first).await.is_ready());
    assert!(poll_once(&mut second).await.is_pending());
}

#[tokio::test(start_paused = true)]
async fn status_429_cuts_one_class_and_retry_after_pauses_both() {
    let limiter = limiter(80, 40, 40);
    let is_rate = |class, rate: f64| {
        let snapshot = limiter.class(class).snapshot(Instant::now());
        (snapshot.rate_per_second - rate).abs() < 1e-6
    };
    let mut permits = Vec::new();
    for _ in 0..10 {
        permits.push(permit(&limiter, Read).await);
    }
    // Ten responses to requests of the same moment cut the rate once.
    for permit in permits {
        permit.rate_limited(Some(Duration::from_secs(5)));
        assert!(is_rate(Read, 20.0) && is_rate(Write, 40.0));
    }
    for class in [Read, Write] {
        assert!(limiter.acquire(class, in_seconds(5)).await.is_err());
        let started = Instant::now();
        let mut caller = caller(&limiter, class, in_seconds(6));
        assert!(poll_once(&mut caller).await.is_pending());
        drop(caller);
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
    let mut callers = [waiting(&limiter, Read).await, waiting(&limiter, Write).await];
    tokio::time::advance(Duration::from_millis(4_999)).await;
    for caller in &mut callers {
        assert!(poll_once(caller).await.is_pending());
    }
    tokio::time::advance(Duration::from_millis(101)).await;
    for caller in &mut callers {
        assert!(poll_once(caller).await.is_ready());
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_pauses_calls_for_at_most_a_minute() {
    let limiter = limiter(8, 40, 40);
    permit(&limiter, Read).await.rate_limited(Some(Duration::MAX));
    let started = Instant::now();
    limiter.acquire(Read, in_seconds(3_600)).await.unwrap();
    assert!(started.elapsed() <= MAX_HOLD + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn limiter_is_idle_when_no_request_is_in_flight_and_the_buckets_are_full() {
    let limiter = limiter(8, 1, 2);
    assert!(limiter.is_idle(Instant::now()));
    let permit = permit(&limiter, Read).await;
    assert!(!limiter.is_idle(in_seconds(60)));
    drop(permit);
    assert!(!limiter.is_idle(Instant::now()) && limiter.is_idle(in_seconds(1)));
}

#[derive(Debug, Clone)]
enum Event {
    /// A call with this time in milliseconds until its deadline.
    Call(RequestClass, u64),
    Finish(RequestClass),
    DropWaiter(usize),
    RateLimited(RequestClass, Option<u64>),
    Advance(u64),
}

/// A deadline that no waiter reaches, in milliseconds.
const NO_DEADLINE: u64 = 100_000_000;

fn class() -> impl Strategy<Value = RequestClass> {
    prop_oneof![Just(Read), Just(Write)]
}

fn event() -> impl Strategy<Value = Event> {
    let left = prop_oneof![0_u64..20_000, Just(NO_DEADLINE)];
    prop_oneof![
        8 => (class(), left).prop_map(|(class, left)| Event::Call(class, left)),
        6 => class().prop_map(Event::Finish),
        2 => (0_usize..20).prop_map(Event::DropWaiter),
        1 => (class(), proptest::option::of(0_u64..3_000)).prop_map(|(class, after)| Event::RateLimited(class, after)),
        4 => (0_u64..400).prop_map(Event::Advance),
    ]
}

struct Simulation {
    limiter: Arc<RateLimiter>,
    waiting: Vec<(RequestClass, Instant, Caller)>,
    in_flight: Vec<Permit>,
    started: [f64; 2],
}

impl Simulation {
    /// Polls all waiters until none makes progress. Each that starts must be the first of its class.
    async fn poll_waiters(&mut self) -> Result<(), TestCaseError> {
        let mut n = 0;
        while let Some((class, deadline, caller)) = self.waiting.get_mut(n) {
            let (class, deadline) = (*class, *deadline);
            match poll_once(caller).await {
                Poll::Pending => n += 1,
                Poll::Ready(outcome) => {
                    let first = self.waiting.iter().position(|(other, ..)| *other == class);
                    drop(self.waiting.remove(n));
                    match outcome {
                        Ok(permit) => {
                            proptest::prop_assert_eq!(first, Some(n));
                            self.started[usize::from(class == Write)] += 1.0;
                            self.in_flight.push(permit);
                        }
                        Err(Rejection::TimedOut(_)) => {
                            proptest::prop_assert!(Instant::now() >= deadline);
                        }
                        Err(Rejection::WouldTimeOut { wait, .. }) => {
                            proptest::prop_assert!(Instant::now() + wait >= deadline);
                        }
                    }
                    n = 0;
                }
            }
        }
        Ok(())
    }

    fn in_flight(&self, class: RequestClass) -> usize {
        self.in_flight.iter().filter(|permit| permit.class == class).count()
    }

    async fn run(
        &mut self,
        events: Vec<Event>,
        policy: (usize, u32, u32),
    ) -> Result<(), TestCaseError> {
        let (max_in_flight, per_second, burst) = policy;
        let start = Instant::now();
        for event in events {
            match event {
                Event::Advance(millis) => tokio::time::advance(Duration::from_millis(millis)).await,
                Event::Call(class, left) => {
                    let deadline = Instant::now() + Duration::from_millis(left);
                    self.waiting.push((class, deadline, caller(&self.limiter, class, deadline)));
                }
                Event::Finish(class) => {
                    if let Some(n) = self.in_flight.iter().position(|permit| permit.class == class)
                    {
                        drop(self.in_flight.remove(n));
                    }
                }
                Event::DropWaiter(n) if n < self.waiting.len() => drop(self.waiting.remove(n)),
                Event::DropWaiter(_) => {}
                Event::RateLimited(class, after) => {
                    if let Some(permit) = self.in_flight.iter().find(|permit| permit.class == class)
                    {
                        permit.rate_limited(after.map(Duration::from_millis));
                    }
                }
            }
            self.poll_waiters().await?;
            proptest::prop_assert!(self.in_flight.len() <= max_in_flight);
            let most = f64::from(burst) + f64::from(per_second) * start.elapsed().as_secs_f64();
            for (class, started) in [Read, Write].into_iter().zip(self.started) {
                proptest::prop_assert!(started <= most + 0.01);
                proptest::prop_assert!(max_in_flight == 1 || self.in_flight(class) < max_in_flight);
            }
        }
        // Every waiter without a deadline starts as time passes and slots become free.
        let expected = self
            .waiting
            .iter()
            .filter(|(_, deadline, _)| *deadline > start + Duration::from_secs(50_000));
        let expected = expected.count();
        let mut started = 0;
        for _ in 0..10_000 {
            if self.waiting.is_empty() {
                break;
            }
            self.in_flight.clear();
            tokio::time::advance(Duration::from_millis(100)).await;
            self.poll_waiters().await?;
            started += self.in_flight.len();
        }
        proptest::prop_assert!(self.waiting.is_empty() && started >= expected);
        Ok(())
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(100))]
    #[test]
    fn limits_hold_and_no_waiter_is_overtaken(
        max_in_flight in 1_u32..10,
        per_second in 1_u32..30,
        burst in 1_u32..10,
        events in proptest::collection::vec(event(), 0..400),
    ) {
        let simulation = async {
            let limiter = limiter(max_in_flight, per_second, burst);
            let (waiting, in_flight) = (Vec::new(), Vec::new());
            let mut simulation = Simulation { limiter, waiting, in_flight, started: [0.0; 2] };
            simulation.run(events, (max_in_flight as usize, per_second, burst)).await
        };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        // Without the task budget of tokio, which would make ready futures pending.
        runtime.block_on(tokio::task::unconstrained(simulation))?;
    }
}
