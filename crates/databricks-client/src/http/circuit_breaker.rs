//! The circuit breaker of one host. Pure: the caller passes the time.
//!
//! Closed, it admits every call. After [`FAILURES_TO_OPEN`] consecutive failures of the host it opens and rejects calls
//! for [`OPEN_FOR`]. It then admits one probe at a time: a success closes it, a failure opens it again.

use std::time::Duration;

use tokio::time::Instant;

use super::CircuitBreakerState;

/// Consecutive failures that open the breaker.
pub(super) const FAILURES_TO_OPEN: u32 = 10;

/// Failures of concurrent calls within this time count once: a broken connection fails every call that it carries.
pub(super) const BURST: Duration = Duration::from_millis(50);

/// How long the open breaker rejects calls before it admits a probe.
pub(super) const OPEN_FOR: Duration = Duration::from_secs(2);

/// The timeout of a probe. A silent host must not delay the next probe.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct CircuitBreaker {
    state: State,
    /// The number of the last probe. Identifies a result that arrives after a later probe has started.
    last_probe: u64,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32, series: Option<FailureSeries> },
    Open { outage: Outage, probe: Probe },
}

/// When a series of consecutive failures began, and when its last counted failure was.
#[derive(Debug, Clone, Copy)]
struct FailureSeries {
    since: Instant,
    last: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// The next probe may start at this time.
    NotBefore(Instant),
    /// The probe with this number is in flight.
    InFlight(u64),
}

/// Since when a host fails, and its last error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outage {
    pub(super) since: Instant,
    pub(super) last_error: String,
}

/// A call that the breaker admitted. Pass its result to [`CircuitBreaker::record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Admitted {
    /// Admitted while closed, after this many consecutive failures.
    Closed(u32),
    /// The only call in flight while open, by its number.
    Probe(u64),
}

/// What the result of a call says about the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    /// The host responded.
    Healthy,
    /// The host did not respond, or responded with a server error. Contains the error.
    Failing(String),
    /// Inconclusive: the call was cancelled, or its timeout was too short.
    Unknown,
}

/// A call that the open breaker rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) outage: Outage,
    /// When the next probe may be admitted.
    pub(super) retry_after: Duration,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self { state: State::Closed { failures: 0, series: None }, last_probe: 0 }
    }
}

impl CircuitBreaker {
    /// Rejects a call that [`admit`](Self::admit) would reject now. Changes nothing.
    pub(super) fn check(&self, now: Instant) -> Result<(), Open> {
        let (outage, retry_after) = match &self.state {
            State::Closed { .. } => return Ok(()),
            State::Open { probe: Probe::NotBefore(at), .. } if now >= *at => return Ok(()),
            State::Open { outage, probe: Probe::NotBefore(at) } => {
                (outage, at.saturating_duration_since(now))
            }
            State::Open { outage, probe: Probe::InFlight(_) } => (outage, OPEN_FOR),
        };
        Err(Open { outage: outage.clone(), retry_after })
    }

    /// Admits a call; the first one after [`OPEN_FOR`] as a probe.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Admitted, Open> {
        self.check(now)?;
        match &mut self.state {
            State::Closed { failures, .. } => Ok(Admitted::Closed(*failures)),
            State::Open { probe, .. } => {
                self.last_probe += 1;
                *probe = Probe::InFlight(self.last_probe);
                Ok(Admitted::Probe(self.last_probe))
            }
        }
    }

    /// Records the result of an admitted call.
    pub(super) fn record(&mut self, admitted: Admitted, health: Health, now: Instant) {
        match (health, &mut self.state) {
            // Any success closes the breaker, also that of a call from before the outage.
            (Health::Healthy, _) => self.state = State::Closed { failures: 0, series: None },
            // Part of a burst that has been counted.
            (Health::Failing(_), State::Closed { failures, series: Some(series) })
                if now < series.last + BURST && admitted < Admitted::Closed(*failures) => {}
            (Health::Failing(last_error), State::Closed { failures, series }) => {
                *failures += 1;
                let since = series.map_or(now, |series| series.since);
                *series = Some(FailureSeries { since, last: now });
                if *failures >= FAILURES_TO_OPEN {
                    let outage = Outage { since, last_error };
                    self.state = State::Open { outage, probe: Probe::NotBefore(now + OPEN_FOR) };
                }
            }
            (Health::Failing(last_error), State::Open { outage, probe })
                if is_in_flight(admitted, *probe) =>
            {
                outage.last_error = last_error;
                *probe = Probe::NotBefore(now + OPEN_FOR);
            }
            // The next call is a probe again.
            (Health::Unknown, State::Open { probe, .. }) if is_in_flight(admitted, *probe) => {
                *probe = Probe::NotBefore(now);
            }
            (Health::Failing(_) | Health::Unknown, _) => {}
        }
    }

    pub(super) fn state(&self, now: Instant) -> CircuitBreakerState {
        let State::Open { outage, probe } = &self.state else {
            return CircuitBreakerState::Closed;
        };
        let failing_for = now.saturating_duration_since(outage.since);
        match probe {
            Probe::NotBefore(at) if now < *at => CircuitBreakerState::Open { failing_for },
            Probe::NotBefore(_) | Probe::InFlight(_) => {
                CircuitBreakerState::HalfOpen { failing_for }
            }
        }
    }
}

fn is_in_flight(admitted: Admitted, probe: Probe) -> bool {
    matches!((admitted, probe), (Admitted::Probe(one), Probe::InFlight(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing() -> Health {
        Health::Failing("no connection".to_owned())
    }

    /// A breaker that failures opened a second after the start.
    fn open_breaker(start: Instant) -> CircuitBreaker {
        let mut breaker = CircuitBreaker::default();
        for n in 0..FAILURES_TO_OPEN {
            let admitted = breaker.admit(start).unwrap();
            let at = if n == 0 { start } else { start + Duration::from_secs(1) };
            breaker.record(admitted, failing(), at);
        }
        breaker
    }

    #[test]
    fn ten_consecutive_failures_open_the_breaker() {
        let start = Instant::now();
        let mut breaker = open_breaker(start);
        let later = start + Duration::from_secs(1);
        let outage = Outage { since: start, last_error: "no connection".to_owned() };
        assert_eq!(breaker.admit(later), Err(Open { outage, retry_after: OPEN_FOR }));
        let failing_for = Duration::from_secs(1);
        assert_eq!(breaker.state(later), CircuitBreakerState::Open { failing_for });
    }

    #[test]
    fn broken_connection_with_many_calls_counts_as_one_failure() {
        let start = Instant::now();
        let mut breaker = CircuitBreaker::default();
        for n in 0..FAILURES_TO_OPEN - 1 {
            for _ in 0..100 {
                breaker.record(Admitted::Closed(0), failing(), start + BURST * n);
            }
        }
        assert_eq!(breaker.state(start + BURST * 8), CircuitBreakerState::Closed);
        breaker.record(Admitted::Closed(0), failing(), start + BURST * 9);
        let failing_for = BURST * 9;
        assert_eq!(breaker.state(start + BURST * 9), CircuitBreakerState::Open { failing_for });
    }

    #[test]
    fn successful_probe_closes_the_breaker() {
        let start = Instant::now();
        let mut breaker = open_breaker(start);
        let later = start + Duration::from_secs(1) + OPEN_FOR;
        let failing_for = later - start;
        assert_eq!(breaker.state(later), CircuitBreakerState::HalfOpen { failing_for });
        let probe = breaker.admit(later).unwrap();
        assert!(matches!(probe, Admitted::Probe(_)));
        assert_eq!(breaker.admit(later).unwrap_err().retry_after, OPEN_FOR);
        breaker.record(probe, Health::Healthy, later);
        assert_eq!(breaker.state(later), CircuitBreakerState::Closed);
        assert_eq!(breaker.admit(later), Ok(Admitted::Closed(0)));
    }

    #[test]
    fn failed_probe_opens_the_breaker_again_and_extends_the_outage() {
        let start = Instant::now();
        let mut breaker = open_breaker(start);
        let later = start + Duration::from_secs(10);
        let probe = breaker.admit(later).unwrap();
        breaker.record(probe, Health::Failing("503".to_owned()), later);
        let outage = breaker.admit(later).unwrap_err().outage;
        assert_eq!((outage.since, outage.last_error.as_str()), (start, "503"));
        assert!(breaker.admit(later + OPEN_FOR).is_ok());
    }

    #[test]
    fn inconclusive_probe_is_followed_by_another_probe() {
        let start = Instant::now();
        let mut breaker = open_breaker(start);
        let later = start + Duration::from_secs(10);
        let probe = breaker.admit(later).unwrap();
        breaker.record(probe, Health::Unknown, later);
        assert!(matches!(breaker.admit(later), Ok(Admitted::Probe(_))));
    }

    #[test]
    fn failures_of_earlier_calls_do_not_affect_the_open_breaker() {
        let start = Instant::now();
        let mut breaker = open_breaker(start);
        let later = start + Duration::from_secs(1) + OPEN_FOR;
        breaker.record(Admitted::Closed(0), failing(), later);
        assert!(matches!(breaker.admit(later), Ok(Admitted::Probe(_))));
        breaker.record(Admitted::Closed(0), Health::Unknown, later);
        breaker.record(Admitted::Closed(0), failing(), later);
        assert!(breaker.admit(later).is_err());
        // The success of an earlier call closes it.
        breaker.record(Admitted::Closed(0), Health::Healthy, later);
        assert_eq!(breaker.admit(later), Ok(Admitted::Closed(0)));
    }

    #[derive(Debug, Clone)]
    enum Event {
        Admit,
        Record(usize, Health),
        Advance(u64),
    }

    fn event() -> impl proptest::strategy::Strategy<Value = Event> {
        use proptest::{
            prop_oneof,
            strategy::{Just, Strategy as _},
        };
        prop_oneof![
            3 => Just(Event::Admit),
            3 => (0_usize..20).prop_map(|n| Event::Record(n, failing())),
            1 => (0_usize..20).prop_map(|n| Event::Record(n, Health::Healthy)),
            1 => (0_usize..20).prop_map(|n| Event::Record(n, Health::Unknown)),
            1 => (0_u64..3_000).prop_map(Event::Advance),
        ]
    }

    proptest::proptest! {
        #[test]
        fn breaker_opens_only_after_ten_failures_and_admits_one_probe_at_a_time(
            events in proptest::collection::vec(event(), 0..300),
        ) {
            let (mut breaker, mut now) = (CircuitBreaker::default(), Instant::now());
            let (mut in_flight, mut consecutive) = (Vec::new(), 0_u32);
            for event in events {
                match event {
                    Event::Advance(millis) => now += Duration::from_millis(millis),
                    Event::Admit => match breaker.admit(now) {
                        Ok(admitted) => in_flight.push(admitted),
                        Err(open) => {
                            proptest::prop_assert!(consecutive >= FAILURES_TO_OPEN);
                            proptest::prop_assert!(open.retry_after <= OPEN_FOR);
                        }
                    },
                    Event::Record(n, health) if n < in_flight.len() => {
                        match health {
                            Health::Healthy => consecutive = 0,
                            Health::Failing(_) => consecutive += 1,
                            Health::Unknown => {}
                        }
                        breaker.record(in_flight.swap_remove(n), health, now);
                    }
                    Event::Record(..) => {}
                }
                // A probe of a past outage may be in flight, but not two of the same outage.
                let probes = in_flight.iter().filter(|admitted| matches!((admitted, &breaker.state),
                    (Admitted::Probe(n), State::Open { probe: Probe::InFlight(current), .. }) if n == current)).count();
                proptest::prop_assert!(probes <= 1);
            }
        }
    }
}
