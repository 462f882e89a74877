//! When a host has failed too often for more calls to make sense. Pure: the clock is handed in.
//!
//! Closed, it lets every call through. After [`FAILURES_TO_OPEN`] failures in a row of the host itself it opens, and
//! refuses calls for [`OPEN_FOR`]. Then one call at a time goes through as a probe: its success closes, its failure opens
//! again.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row, with no sign of life between them, that open it.
pub(crate) const FAILURES_TO_OPEN: u32 = 10;

/// Failures this close together, of calls that were under way at the same time, are one: a connection that breaks fails
/// every call that it carries.
pub(crate) const BURST: Duration = Duration::from_millis(50);

/// How long no call goes through before a probe may.
pub(crate) const OPEN_FOR: Duration = Duration::from_secs(2);

/// How long a probe may take: a host that stays silent must not keep the next probe waiting.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Lets calls to one host through, or refuses them.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    /// Probes so far, so that a probe that ends late is not taken for the one that is out.
    probes: u64,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32, row: Option<Row> },
    Open { outage: Outage, probe: Probe },
}

/// The times of a row of failures.
#[derive(Debug, Clone, Copy)]
struct Row {
    since: Instant,
    /// When the last one was that counts.
    last: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// None goes before that time.
    From(Instant),
    /// The one with that number is out.
    Out(u64),
}

/// Since when a host fails, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outage {
    /// The first failure of the row.
    pub(crate) since: Instant,
    /// The last failure of the row, in words.
    pub(crate) why: String,
}

/// A call that may be sent. What came of it must be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pass {
    /// One of many, let through after so many failures in a row.
    Plain(u32),
    /// The only one that finds out whether the host is back, by its number.
    Probe(u64),
}

/// What a call that was sent says of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It answered.
    Alive,
    /// It did not, or said that it is not well; in words.
    Failing(String),
    /// Nothing: the call was given up before anything could be known.
    None,
}

/// A call that is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Since when the host fails, and how.
    pub(crate) outage: Outage,
    /// When asking again may make sense.
    pub(crate) again_in: Duration,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    Closed,
    /// Calls are refused. Failing since that time.
    Open(Instant),
    /// The next call is a probe, or one is out. Failing since that time.
    HalfOpen(Instant),
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed { failures: 0, row: None }, probes: 0 }
    }
}

impl Breaker {
    /// Whether a call would be refused now. It takes nothing.
    pub(crate) fn check(&self, now: Instant) -> Result<(), Refused> {
        match &self.state {
            State::Closed { .. } => Ok(()),
            State::Open { probe: Probe::From(at), .. } if now >= *at => Ok(()),
            State::Open { outage, probe } => Err(Refused {
                outage: outage.clone(),
                again_in: match probe {
                    Probe::From(at) => at.saturating_duration_since(now),
                    Probe::Out(_) => OPEN_FOR,
                },
            }),
        }
    }

    /// Lets a call through, the first one after the wait as a probe.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<Pass, Refused> {
        self.check(now)?;
        match &mut self.state {
            State::Closed { failures, .. } => Ok(Pass::Plain(*failures)),
            State::Open { probe, .. } => {
                self.probes += 1;
                *probe = Probe::Out(self.probes);
                Ok(Pass::Probe(self.probes))
            }
        }
    }

    /// What came of a call that was let through.
    pub(crate) fn record(&mut self, pass: Pass, sign: Sign, now: Instant) {
        match (sign, &mut self.state) {
            // Whichever call it was: the host lives.
            (Sign::Alive, _) => self.state = State::Closed { failures: 0, row: None },
            (Sign::Failing(_), State::Closed { failures, row: Some(row) })
                if now < row.last + BURST && pass < Pass::Plain(*failures) => {}
            (Sign::Failing(why), State::Closed { failures, row }) => {
                *failures += 1;
                let since = row.map_or(now, |row| row.since);
                *row = Some(Row { since, last: now });
                if *failures >= FAILURES_TO_OPEN {
                    self.state = State::Open {
                        outage: Outage { since, why },
                        probe: Probe::From(now + OPEN_FOR),
                    };
                }
            }
            // A call that began before it opened says nothing new.
            (Sign::Failing(why), State::Open { outage, probe }) if is_out(pass, *probe) => {
                outage.why = why;
                *probe = Probe::From(now + OPEN_FOR);
            }
            // The next call takes the place of a probe that found nothing out.
            (Sign::None, State::Open { probe, .. }) if is_out(pass, *probe) => {
                *probe = Probe::From(now);
            }
            (Sign::Failing(_) | Sign::None, _) => {}
        }
    }

    /// How it stands.
    pub(crate) fn position(&self, now: Instant) -> Position {
        match &self.state {
            State::Closed { .. } => Position::Closed,
            State::Open { outage, probe: Probe::From(at) } if now < *at => {
                Position::Open(outage.since)
            }
            State::Open { outage, .. } => Position::HalfOpen(outage.since),
        }
    }
}

fn is_out(pass: Pass, probe: Probe) -> bool {
    matches!((pass, probe), (Pass::Probe(ended), Probe::Out(out)) if ended == out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing() -> Sign {
        Sign::Failing("no connection".to_owned())
    }

    /// Opened by a row of failures that began at the given time and ended a second later.
    fn opened(start: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for n in 0..FAILURES_TO_OPEN {
            let pass = breaker.admit(start).unwrap();
            breaker.record(
                pass,
                failing(),
                if n == 0 { start } else { start + Duration::from_secs(1) },
            );
        }
        breaker
    }

    #[test]
    fn ten_failures_in_a_row_open_it_and_it_says_since_when_and_why() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let refused = breaker.admit(start + Duration::from_secs(1)).unwrap_err();
        assert_eq!(
            refused,
            Refused {
                outage: Outage { since: start, why: "no connection".to_owned() },
                again_in: OPEN_FOR
            }
        );
        assert_eq!(breaker.position(start + Duration::from_secs(1)), Position::Open(start));
    }

    #[test]
    fn a_connection_that_breaks_under_many_calls_is_one_failure() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for n in 0..FAILURES_TO_OPEN - 1 {
            for _ in 0..100 {
                breaker.record(Pass::Plain(0), failing(), start + BURST * n);
            }
        }
        assert_eq!(breaker.position(start + BURST * 8), Position::Closed);
        breaker.record(Pass::Plain(0), failing(), start + BURST * 9);
        assert_eq!(breaker.position(start + BURST * 9), Position::Open(start));
    }

    #[test]
    fn after_two_seconds_one_probe_goes_through_and_its_success_closes_it() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let later = start + Duration::from_secs(1) + OPEN_FOR;
        assert_eq!(breaker.position(later), Position::HalfOpen(start));
        let probe = breaker.admit(later).unwrap();
        assert!(matches!(probe, Pass::Probe(_)));
        assert_eq!(breaker.admit(later).unwrap_err().again_in, OPEN_FOR);
        breaker.record(probe, Sign::Alive, later);
        assert_eq!(breaker.position(later), Position::Closed);
        assert_eq!(breaker.admit(later), Ok(Pass::Plain(0)));
    }

    #[test]
    fn the_failure_of_a_probe_opens_it_again_and_the_outage_is_the_same() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let later = start + Duration::from_secs(10);
        let probe = breaker.admit(later).unwrap();
        breaker.record(probe, Sign::Failing("503".to_owned()), later);
        let refused = breaker.admit(later).unwrap_err();
        assert_eq!((refused.outage.since, refused.outage.why.as_str()), (start, "503"));
        assert!(breaker.admit(later + OPEN_FOR).is_ok());
    }

    #[test]
    fn a_probe_that_found_nothing_out_makes_room_for_the_next() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let later = start + Duration::from_secs(10);
        let probe = breaker.admit(later).unwrap();
        breaker.record(probe, Sign::None, later);
        assert!(matches!(breaker.admit(later), Ok(Pass::Probe(_))));
    }

    #[test]
    fn calls_from_before_neither_keep_it_open_nor_free_the_place_of_the_probe() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let later = start + Duration::from_secs(1) + OPEN_FOR;
        breaker.record(Pass::Plain(0), failing(), later);
        assert!(matches!(breaker.admit(later), Ok(Pass::Probe(_))));
        breaker.record(Pass::Plain(0), Sign::None, later);
        breaker.record(Pass::Plain(0), failing(), later);
        assert!(breaker.admit(later).is_err());
        // An answer is an answer.
        breaker.record(Pass::Plain(0), Sign::Alive, later);
        assert_eq!(breaker.admit(later), Ok(Pass::Plain(0)));
    }

    #[derive(Debug, Clone)]
    enum Event {
        Ask,
        End(usize, Sign),
        Wait(u64),
    }

    fn event() -> impl proptest::strategy::Strategy<Value = Event> {
        use proptest::{
            prop_oneof,
            strategy::{Just, Strategy as _},
        };
        prop_oneof![
            3 => Just(Event::Ask),
            3 => (0_usize..20).prop_map(|n| Event::End(n, failing())),
            1 => (0_usize..20).prop_map(|n| Event::End(n, Sign::Alive)),
            1 => (0_usize..20).prop_map(|n| Event::End(n, Sign::None)),
            1 => (0_u64..3_000).prop_map(Event::Wait),
        ]
    }

    proptest::proptest! {
        #[test]
        fn it_never_opens_under_ten_in_a_row_and_never_has_two_probes_out(
            events in proptest::collection::vec(event(), 0..300),
        ) {
            let (mut breaker, mut now) = (Breaker::default(), Instant::now());
            let (mut out, mut row) = (Vec::new(), 0_u32);
            for event in events {
                match event {
                    Event::Wait(millis) => now += Duration::from_millis(millis),
                    Event::Ask => match breaker.admit(now) {
                        Ok(pass) => out.push(pass),
                        Err(refused) => {
                            proptest::prop_assert!(row >= FAILURES_TO_OPEN);
                            proptest::prop_assert!(refused.again_in <= OPEN_FOR);
                        }
                    },
                    Event::End(n, sign) if n < out.len() => {
                        match sign {
                            Sign::Alive => row = 0,
                            Sign::Failing(_) => row += 1,
                            Sign::None => {}
                        }
                        breaker.record(out.swap_remove(n), sign, now);
                    }
                    Event::End(..) => {}
                }
                // A probe of an outage that is over may still be out, but no two of the same.
                let probes = out.iter().filter(|pass| matches!((pass, &breaker.state),
                    (Pass::Probe(n), State::Open { probe: Probe::Out(out), .. }) if n == out)).count();
                proptest::prop_assert!(probes <= 1);
            }
        }
    }
}
