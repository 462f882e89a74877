//! What every request passes on its way out: the breaker of its host and the budget of its credential.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::{
    Attempt, BreakerSnapshot, BudgetWait, Error, ErrorKind, Host, LastFailure, Observer,
    breaker::{Breaker, PROBE_TIMEOUT, Pass, Position, Refused, Sign},
    budget::{Budget, Lane, Permit, Waited},
    transport::Received,
};

/// A try that was given less time than that, and used it up, says nothing about the host.
pub(crate) const FAIR_CHANCE: Duration = Duration::from_secs(1);

/// The way out to one host.
#[derive(Debug)]
pub(crate) struct Gate {
    host: Host,
    observer: Option<Arc<dyn Observer>>,
    breaker: Mutex<Breaker>,
    attempts: AtomicU64,
    retries: AtomicU64,
    refused: AtomicU64,
    last_failure: Mutex<Option<LastFailure>>,
}

/// One request that may go out. What comes of it is told to [`Turn::finish`]; a turn that is dropped says nothing.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    gate: &'a Gate,
    permit: Permit,
    pass: Pass,
    is_finished: bool,
}

/// One try of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tried {
    pub(crate) endpoint: &'static str,
    /// 1 for the first.
    pub(crate) attempt: u32,
    /// How long it was given.
    pub(crate) timeout: Duration,
    /// How long it took.
    pub(crate) duration: Duration,
}

impl Gate {
    pub(crate) fn new(host: Host, observer: Option<Arc<dyn Observer>>) -> Self {
        Self {
            host,
            observer,
            breaker: Mutex::default(),
            attempts: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            last_failure: Mutex::default(),
        }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    ///
    /// `HostDown` when the host has failed too often, `Throttled` when the turn does not come before the deadline.
    pub(crate) async fn turn(
        &self,
        budget: &Arc<Budget>,
        lane: Lane,
        deadline: Instant,
    ) -> Result<Turn<'_>, Error> {
        // Asked before and after the wait: nobody waits for a host that is down, and it may go down meanwhile.
        let now = Instant::now();
        let checked = self.breaker().check(now);
        checked.map_err(|refused| self.down(&refused, now))?;
        let permit = match budget.turn(lane, deadline).await {
            Ok(permit) => {
                if !permit.waited().is_zero() {
                    self.tell_waited(lane, permit.waited(), true);
                }
                permit
            }
            Err(waited) => {
                let vain = match waited {
                    Waited::InVain(vain) => vain,
                    Waited::NotAtAll(_) => Duration::ZERO,
                };
                self.tell_waited(lane, vain, false);
                return Err(throttled(lane, waited));
            }
        };
        let now = Instant::now();
        let admitted = self.breaker().admit(now);
        let pass = admitted.map_err(|refused| self.down(&refused, now))?;
        Ok(Turn { gate: self, permit, pass, is_finished: false })
    }

    /// Whether calls go through.
    pub(crate) fn breaker_snapshot(&self, now: Instant) -> BreakerSnapshot {
        let failing_for = |since| now.saturating_duration_since(since);
        match self.breaker().position(now) {
            Position::Closed => BreakerSnapshot::Closed,
            Position::Open(since) => BreakerSnapshot::Open { failing_for: failing_for(since) },
            Position::HalfOpen(since) => {
                BreakerSnapshot::HalfOpen { failing_for: failing_for(since) }
            }
        }
    }

    /// Requests sent, those of them that were no first attempts, and calls not sent because the host was down.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.attempts), count(&self.retries), count(&self.refused))
    }

    pub(crate) fn last_failure(&self) -> Option<LastFailure> {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is told of what passes here.
    pub(crate) fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.as_ref()
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn down(&self, refused: &Refused, now: Instant) -> Error {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if let Some(observer) = &self.observer {
            observer.refused(&self.host);
        }
        let failing = now.saturating_duration_since(refused.outage.since);
        let text = format!(
            "not sent: the host has failed for {:.1} s, lastly with: {}",
            failing.as_secs_f64(),
            refused.outage.why
        );
        Error::new(ErrorKind::HostDown, text).with_retry_after(refused.again_in)
    }

    fn tell_waited(&self, lane: Lane, waited: Duration, is_granted: bool) {
        if let Some(observer) = &self.observer {
            observer.waited(&BudgetWait { host: &self.host, lane, waited, is_granted });
        }
    }
}

impl Turn<'_> {
    /// How long the try may take, of the time that there is.
    pub(crate) fn timeout(&self, timeout: Duration) -> Duration {
        match self.pass {
            Pass::Plain(_) => timeout,
            Pass::Probe(_) => timeout.min(PROBE_TIMEOUT),
        }
    }

    /// What came of it.
    pub(crate) fn finish(mut self, outcome: &Result<Received, Error>, tried: Tried) {
        self.is_finished = true;
        let gate = self.gate;
        gate.breaker().record(self.pass, sign(outcome, tried.timeout), Instant::now());
        gate.attempts.fetch_add(1, Ordering::Relaxed);
        if tried.attempt > 1 {
            gate.retries.fetch_add(1, Ordering::Relaxed);
        }
        let (status, failure) = match outcome {
            Ok(received) => (Some(received.status), None),
            Err(error) => (error.status(), Some(error.kind())),
        };
        if let Some(kind) = failure {
            let failed = LastFailure { kind, status, at: SystemTime::now() };
            *gate.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failed);
        }
        if let Err(error) = outcome
            && error.kind() == ErrorKind::RateLimited
        {
            self.permit.limited(error.retry_after());
        }
        if let Some(observer) = &gate.observer {
            observer.attempted(&Attempt {
                host: &gate.host,
                endpoint: tried.endpoint,
                status,
                failure,
                number: tried.attempt,
                duration: tried.duration,
            });
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.gate.breaker().record(self.pass, Sign::None, Instant::now());
        }
    }
}

/// What the outcome of a try says of the host: only no connection, no answer in time and 5xx speak against it. What it
/// answers with 4xx, 429 among them, or with 501, it answers in good health.
fn sign(outcome: &Result<Received, Error>, timeout: Duration) -> Sign {
    let Err(error) = outcome else { return Sign::Alive };
    match (error.status(), error.kind()) {
        (Some(501), _) => Sign::Alive,
        (Some(500..), _) | (None, ErrorKind::Connect) => Sign::Failing(error.to_string()),
        (None, ErrorKind::Timeout) if timeout >= FAIR_CHANCE => Sign::Failing(error.to_string()),
        (None, ErrorKind::Timeout | ErrorKind::Config) => Sign::None,
        (_, _) => Sign::Alive,
    }
}

fn throttled(lane: Lane, waited: Waited) -> Error {
    let lane = lane.name();
    match waited {
        Waited::InVain(waited) => Error::new(
            ErrorKind::Throttled,
            format!(
                "not sent: the budget of {lane} for this workspace and credential was full for {:.1} s",
                waited.as_secs_f64()
            ),
        ),
        Waited::NotAtAll(hopeless) => Error::new(
            ErrorKind::Throttled,
            format!(
                "not sent: the budget of {lane} for this workspace and credential is full; \
                 {} calls wait, and the next one would for {:.1} s, which its caller does not have",
                hopeless.waiting,
                hopeless.wait.as_secs_f64()
            ),
        )
        .with_retry_after(hopeless.wait),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_body::ErrorBody;

    const LONG: Duration = Duration::from_secs(5);

    fn answered(status: u16, body: &str) -> Result<Received, Error> {
        Err(Error::of_answer(status, ErrorBody::parse(body.as_bytes()), None, true))
    }

    #[test]
    fn only_no_connection_no_answer_and_5xx_speak_against_a_host() {
        for kind in [ErrorKind::Connect, ErrorKind::Timeout] {
            let outcome = Err(Error::new(kind, "x"));
            assert_eq!(sign(&outcome, LONG), Sign::Failing("x".to_owned()), "{kind:?}");
        }
        for status in [500, 502, 503, 504] {
            assert!(matches!(sign(&answered(status, ""), LONG), Sign::Failing(_)), "{status}");
        }
        for status in [302, 400, 401, 403, 404, 408, 409, 422, 429, 501] {
            assert_eq!(sign(&answered(status, ""), LONG), Sign::Alive, "{status}");
        }
        let transient = r#"{"error_code": "TEMPORARILY_UNAVAILABLE"}"#;
        assert_eq!(sign(&answered(400, transient), LONG), Sign::Alive);
        let received = Received { status: 200, body: bytes::Bytes::new() };
        assert_eq!(sign(&Ok(received), LONG), Sign::Alive);
    }

    #[test]
    fn a_caller_in_a_hurry_says_nothing_of_a_host() {
        let outcome = Err(Error::new(ErrorKind::Timeout, "x"));
        assert_eq!(sign(&outcome, Duration::from_millis(999)), Sign::None);
    }

    fn gate() -> (Gate, Arc<Budget>) {
        let budget = Budget::new("mine", crate::BudgetPolicy::default(), Instant::now());
        (Gate::new("h.example".parse().unwrap(), None), budget)
    }

    async fn turn<'a>(gate: &'a Gate, budget: &Arc<Budget>) -> Result<Turn<'a>, Error> {
        gate.turn(budget, Lane::Reads, Instant::now() + LONG).await
    }

    fn finish(turn: Turn<'_>, outcome: &Result<Received, Error>) {
        let tried =
            Tried { endpoint: "runs/get", attempt: 1, timeout: LONG, duration: Duration::ZERO };
        turn.finish(outcome, tried);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_is_back_is_called_again_after_two_seconds_and_one_probe() {
        let (gate, budget) = gate();
        for _ in 0..10 {
            finish(turn(&gate, &budget).await.unwrap(), &answered(503, ""));
        }
        assert_eq!(turn(&gate, &budget).await.unwrap_err().kind(), ErrorKind::HostDown);
        tokio::time::advance(Duration::from_secs(2)).await;
        let probe = turn(&gate, &budget).await.unwrap();
        assert_eq!(probe.timeout(Duration::from_mins(1)), PROBE_TIMEOUT);
        assert_eq!(turn(&gate, &budget).await.unwrap_err().kind(), ErrorKind::HostDown);
        // A caller that goes away with the probe leaves it to the next.
        drop(probe);
        let probe = turn(&gate, &budget).await.unwrap();
        finish(probe, &answered(404, ""));
        assert!(turn(&gate, &budget).await.is_ok());
        assert_eq!(gate.breaker_snapshot(Instant::now()), BreakerSnapshot::Closed);
    }
}
