//! The budget that all callers of one workspace and credential share: the queue, with a clock and wakers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    BudgetPolicy, Lane,
    queue::{Asked, Hold, Hopeless, Queue, Ticket},
};

/// One workspace and one credential.
#[derive(Debug)]
pub(crate) struct Budget {
    /// The name of the credential that asked first.
    credential: String,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: Queue,
    /// Who waits. A ticket that is no longer here was granted, or its caller left.
    waiting: HashMap<Ticket, Arc<Notify>>,
    /// The first of each lane, who know that they are and look after the clock.
    heads: Vec<Ticket>,
    reads: Waits,
    writes: Waits,
    touched: Instant,
}

/// What the callers of a lane have gone through so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Waits {
    /// Callers that had to wait and got their turn.
    pub(crate) granted: u64,
    /// How long they all waited.
    pub(crate) waited: Duration,
    /// Callers that did not get a turn.
    pub(crate) refused: u64,
}

/// The right to make one call; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
    lane: Lane,
    granted_at: Instant,
    waited: Duration,
}

/// A caller that did not get its turn in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It waited that long, and its time ran out.
    InVain(Duration),
    /// It did not wait, because its time would have run out.
    NotAtAll(Hopeless),
}

/// How a lane stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneLoad {
    pub(crate) in_flight: u32,
    pub(crate) waiting: usize,
    pub(crate) per_second: f64,
    pub(crate) waits: Waits,
}

impl Budget {
    pub(crate) fn new(credential: &str, policy: BudgetPolicy, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            credential: credential.to_owned(),
            inner: Mutex::new(Inner {
                queue: Queue::new(policy, now),
                waiting: HashMap::new(),
                heads: Vec::new(),
                reads: Waits::default(),
                writes: Waits::default(),
                touched: now,
            }),
        })
    }

    pub(crate) fn credential(&self) -> &str {
        &self.credential
    }

    /// Waits for a turn, but not beyond the deadline, and not at all when that is hopeless.
    pub(crate) async fn turn(
        self: &Arc<Self>,
        lane: Lane,
        deadline: Instant,
    ) -> Result<Permit, Waited> {
        let started = Instant::now();
        let (ticket, wake) = {
            let mut inner = self.lock();
            inner.settle(started);
            inner.touched = started;
            match inner.queue.ask(lane, deadline, started) {
                Asked::Granted => return Ok(self.permit(lane, started, Duration::ZERO)),
                Asked::Refused(hopeless) => {
                    inner.waits(lane).refused += 1;
                    return Err(Waited::NotAtAll(hopeless));
                }
                Asked::Queued(ticket) => {
                    let wake = Arc::new(Notify::new());
                    inner.waiting.insert(ticket, Arc::clone(&wake));
                    (ticket, wake)
                }
            }
        };
        let mut place = Place { budget: self, lane, ticket, is_left: false };
        loop {
            let now = Instant::now();
            let until = {
                let mut inner = self.lock();
                inner.settle(now);
                let waited = now.saturating_duration_since(started);
                if !inner.waiting.contains_key(&ticket) {
                    place.is_left = true;
                    let waits = inner.waits(lane);
                    waits.granted += 1;
                    waits.waited = waits.waited.saturating_add(waited);
                    return Ok(self.permit(lane, now, waited));
                }
                if now >= deadline {
                    inner.waits(lane).refused += 1;
                    return Err(Waited::InVain(waited));
                }
                inner.queue.due(lane, ticket, now).map_or(deadline, |due| due.min(deadline))
            };
            tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// How a lane stands.
    pub(crate) fn load(&self, lane: Lane, now: Instant) -> LaneLoad {
        let mut inner = self.lock();
        let (in_flight, waiting, per_second) = inner.queue.load(lane, now);
        LaneLoad { in_flight, waiting, per_second, waits: *inner.waits(lane) }
    }

    /// When somebody last asked, if it can be forgotten without anybody noticing.
    pub(crate) fn idle_since(&self, now: Instant) -> Option<Instant> {
        let inner = self.lock();
        inner.queue.is_idle(now).then_some(inner.touched)
    }

    fn permit(self: &Arc<Self>, lane: Lane, granted_at: Instant, waited: Duration) -> Permit {
        Permit { budget: Arc::clone(self), lane, granted_at, waited }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing between lock and unlock can leave the queue half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Wakes those who are let go, and those who have become the first of their lane.
    fn settle(&mut self, now: Instant) {
        for ticket in self.queue.grants(now) {
            if let Some(wake) = self.waiting.remove(&ticket) {
                wake.notify_one();
            }
        }
        let heads: Vec<Ticket> = self.queue.heads().collect();
        for ticket in heads.iter().filter(|ticket| !self.heads.contains(ticket)) {
            if let Some(wake) = self.waiting.get(ticket) {
                wake.notify_one();
            }
        }
        self.heads = heads;
    }

    /// A call is over. The first of each lane may have waited for its place, and now wait for the clock.
    fn finish(&mut self, lane: Lane, now: Instant) {
        self.queue.finish(lane);
        self.heads.clear();
        self.settle(now);
    }

    fn waits(&mut self, lane: Lane) -> &mut Waits {
        match lane {
            Lane::Reads => &mut self.reads,
            Lane::Writes => &mut self.writes,
        }
    }
}

impl Permit {
    /// How long its caller waited for it.
    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }

    /// The workspace answered 429.
    pub(crate) fn limited(&self, retry_after: Option<Duration>) {
        let mut inner = self.budget.lock();
        let hold = Hold { granted_at: self.granted_at, retry_after };
        inner.queue.limited(self.lane, hold, Instant::now());
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.lock().finish(self.lane, Instant::now());
    }
}

/// The place of a caller that waits. Given back when the caller goes away.
struct Place<'a> {
    budget: &'a Budget,
    lane: Lane,
    ticket: Ticket,
    is_left: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        let mut inner = self.budget.lock();
        inner.waiting.remove(&self.ticket);
        if inner.queue.leave(self.lane, self.ticket) {
            inner.settle(Instant::now());
        } else {
            // It was let go, and went away before it knew.
            inner.finish(self.lane, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::budget::Rate;

    fn budget(max_in_flight: u32, per_second: u32) -> Arc<Budget> {
        let [max_in_flight, per_second] =
            [max_in_flight, per_second].map(|n| NonZeroU32::new(n).unwrap());
        let rate = Rate { per_second, burst: NonZeroU32::MIN };
        let policy = BudgetPolicy { max_in_flight, reads: rate, writes: rate };
        Budget::new("mine", policy, Instant::now())
    }

    fn soon(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_in_order_and_at_the_rate() {
        let budget = budget(100, 2);
        let (started, deadline) = (Instant::now(), soon(60));
        let callers: Vec<_> = (0..5)
            .map(|n| {
                let budget = Arc::clone(&budget);
                tokio::spawn(async move {
                    let permit = budget.turn(Lane::Reads, deadline).await.unwrap();
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
        let load = budget.load(Lane::Reads, Instant::now());
        assert_eq!((load.in_flight, load.waiting, load.waits.granted), (0, 0, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_hears_before_its_deadline_that_no_place_became_free() {
        let budget = budget(1, 1_000);
        let _taken = budget.turn(Lane::Reads, soon(60)).await.unwrap();
        let started = Instant::now();
        let refused = budget.turn(Lane::Reads, soon(3)).await.unwrap_err();
        assert_eq!(refused, Waited::InVain(Duration::from_secs(3)));
        assert_eq!(started.elapsed(), Duration::from_secs(3));
        assert_eq!(budget.load(Lane::Reads, Instant::now()).waits.refused, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_whose_time_cannot_suffice_hears_at_once() {
        let budget = budget(100, 1);
        drop(budget.turn(Lane::Reads, soon(60)).await.unwrap());
        let started = Instant::now();
        let refused = budget.turn(Lane::Reads, soon(1)).await.unwrap_err();
        assert!(matches!(refused, Waited::NotAtAll(hopeless) if hopeless.waiting == 0));
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_goes_away_leaves_its_turn_to_the_next() {
        let budget = budget(1, 1_000);
        let taken = budget.turn(Lane::Reads, soon(60)).await.unwrap();
        let mut gone = Box::pin(budget.turn(Lane::Reads, soon(60)));
        let mut next = Box::pin(budget.turn(Lane::Reads, soon(60)));
        assert!(is_waiting(&mut gone).await && is_waiting(&mut next).await);
        // The turn is the first one's already when it goes away.
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(taken);
        drop(gone);
        next.await.unwrap();
        let load = budget.load(Lane::Reads, Instant::now());
        assert_eq!((load.in_flight, load.waiting), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_go_on_when_the_first_of_them_goes_away() {
        let budget = budget(100, 1);
        drop(budget.turn(Lane::Reads, soon(60)).await.unwrap());
        let mut gone = Box::pin(budget.turn(Lane::Reads, soon(60)));
        let mut next = Box::pin(budget.turn(Lane::Reads, soon(60)));
        assert!(is_waiting(&mut gone).await && is_waiting(&mut next).await);
        let started = Instant::now();
        drop(gone);
        next.await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_the_workspace_asks_for_is_everybodys() {
        let budget = budget(100, 10);
        let permit = budget.turn(Lane::Reads, soon(60)).await.unwrap();
        permit.limited(Some(Duration::from_secs(5)));
        let started = Instant::now();
        drop(budget.turn(Lane::Writes, soon(60)).await.unwrap());
        assert_eq!(started.elapsed().as_secs(), 5);
    }

    /// Polls it once, and tells that it waits.
    async fn is_waiting<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())
        })
        .await
    }
}
