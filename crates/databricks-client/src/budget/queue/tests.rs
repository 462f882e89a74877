use std::num::NonZeroU32;

use proptest::{
    prop_oneof,
    strategy::{Just, Strategy},
};

use super::*;
use crate::budget::Rate;

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn rate(per_second: u32, burst: u32) -> Rate {
    Rate { per_second: number(per_second), burst: number(burst) }
}

fn policy(max_in_flight: u32, reads: Rate, writes: Rate) -> BudgetPolicy {
    BudgetPolicy { max_in_flight: number(max_in_flight), reads, writes }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn ticket(asked: Asked) -> Ticket {
    match asked {
        Asked::Queued(ticket) => ticket,
        other => panic!("{other:?} is no place in the queue"),
    }
}

#[test]
fn a_storm_of_reads_keeps_no_write_waiting() {
    let now = Instant::now();
    let mut queue = Queue::new(policy(8, rate(1_000, 1_000), rate(10, 10)), now);
    let reads: Vec<Asked> =
        (0..100).map(|_| queue.ask(Lane::Reads, now + seconds(60), now)).collect();
    assert_eq!(reads.iter().filter(|asked| **asked == Asked::Granted).count(), 6);
    assert_eq!(queue.ask(Lane::Writes, now + seconds(60), now), Asked::Granted);
    // Nor a storm of writes a read.
    let mut queue = Queue::new(policy(2, rate(10, 10), rate(10, 10)), now);
    assert_eq!(queue.ask(Lane::Writes, now + seconds(60), now), Asked::Granted);
    ticket(queue.ask(Lane::Writes, now + seconds(60), now));
    assert_eq!(queue.ask(Lane::Reads, now + seconds(60), now), Asked::Granted);
}

#[test]
fn a_newcomer_does_not_pass_those_who_wait() {
    let now = Instant::now();
    let mut queue = Queue::new(policy(2, rate(100, 100), rate(1, 1)), now);
    assert_eq!(queue.ask(Lane::Reads, now + seconds(60), now), Asked::Granted);
    let first = ticket(queue.ask(Lane::Reads, now + seconds(60), now));
    let second = ticket(queue.ask(Lane::Reads, now + seconds(60), now));
    queue.finish(Lane::Reads);
    // A place is free, and it is not the newcomer's.
    let third = ticket(queue.ask(Lane::Reads, now + seconds(60), now));
    assert_eq!(queue.grants(now), [first]);
    assert!(queue.leave(Lane::Reads, second) && !queue.leave(Lane::Reads, second));
    queue.finish(Lane::Reads);
    assert_eq!(queue.grants(now), [third]);
}

#[test]
fn of_both_lanes_the_one_who_came_first_gets_the_last_place() {
    let now = Instant::now();
    let mut queue = Queue::new(policy(1, rate(100, 100), rate(100, 100)), now);
    assert_eq!(queue.ask(Lane::Reads, now + seconds(60), now), Asked::Granted);
    let write = ticket(queue.ask(Lane::Writes, now + seconds(60), now));
    let read = ticket(queue.ask(Lane::Reads, now + seconds(60), now));
    queue.finish(Lane::Reads);
    assert_eq!(queue.grants(now), [write]);
    queue.finish(Lane::Writes);
    assert_eq!(queue.grants(now), [read]);
}

#[test]
fn a_wait_that_would_pass_the_deadline_is_refused_at_once() {
    let now = Instant::now();
    let mut queue = Queue::new(policy(8, rate(1, 1), rate(1, 1)), now);
    assert_eq!(queue.ask(Lane::Reads, now + seconds(3), now), Asked::Granted);
    ticket(queue.ask(Lane::Reads, now + seconds(3), now));
    ticket(queue.ask(Lane::Reads, now + seconds(3), now));
    match queue.ask(Lane::Reads, now + seconds(3), now) {
        Asked::Refused(hopeless) => {
            assert_eq!((hopeless.wait.as_secs(), hopeless.waiting), (3, 2));
        }
        other => panic!("{other:?}"),
    }
    ticket(queue.ask(Lane::Reads, now + seconds(4), now));
}

#[test]
fn time_lets_the_head_of_a_lane_go_and_nobody_else() {
    let now = Instant::now();
    let mut queue = Queue::new(policy(8, rate(1, 1), rate(1, 1)), now);
    assert_eq!(queue.ask(Lane::Reads, now + seconds(60), now), Asked::Granted);
    let first = ticket(queue.ask(Lane::Reads, now + seconds(60), now));
    let second = ticket(queue.ask(Lane::Reads, now + seconds(60), now));
    assert_eq!(queue.due(Lane::Reads, second, now), None);
    let due = queue.due(Lane::Reads, first, now).unwrap();
    assert_eq!((due - now).as_secs(), 1);
    assert_eq!(queue.grants(now), [0_u64; 0]);
    assert_eq!(queue.grants(due), [first]);
}

#[test]
fn too_many_requests_slow_one_lane_and_what_they_ask_for_holds_both() {
    let now = Instant::now();
    let mut queue = Queue::new(policy(8, rate(40, 40), rate(10, 10)), now);
    let hold = Hold { granted_at: now, retry_after: Some(seconds(5)) };
    queue.limited(Lane::Reads, hold, now);
    assert!((queue.load(Lane::Reads, now).2 - 20.0).abs() < 1e-6);
    assert!((queue.load(Lane::Writes, now).2 - 10.0).abs() < 1e-6);
    // Ten calls of the same moment are one sign.
    for _ in 0..10 {
        queue.limited(Lane::Reads, hold, now);
    }
    assert!((queue.load(Lane::Reads, now).2 - 20.0).abs() < 1e-6);
    for lane in [Lane::Reads, Lane::Writes] {
        assert!(matches!(queue.ask(lane, now + seconds(5), now), Asked::Refused(_)));
        let ticket = ticket(queue.ask(lane, now + seconds(6), now));
        assert!(queue.due(lane, ticket, now).unwrap() >= now + seconds(5));
    }
    assert_eq!(queue.grants(now + Duration::from_millis(4_999)).len(), 0);
    assert_eq!(queue.grants(now + Duration::from_millis(5_100)).len(), 2);
}

#[test]
fn no_answer_silences_a_workspace_for_more_than_a_minute() {
    let now = Instant::now();
    let mut queue = Queue::new(policy(8, rate(40, 40), rate(10, 10)), now);
    let hold = Hold { granted_at: now, retry_after: Some(Duration::MAX) };
    queue.limited(Lane::Reads, hold, now);
    let ticket = ticket(queue.ask(Lane::Reads, now + seconds(3_600), now));
    assert_eq!(queue.grants(now + LONGEST_HOLD + seconds(1)), [ticket]);
}

#[test]
fn it_is_idle_once_nobody_calls_and_the_buckets_are_full_again() {
    let now = Instant::now();
    let mut queue = Queue::new(policy(8, rate(1, 2), rate(1, 1)), now);
    assert!(queue.is_idle(now));
    assert_eq!(queue.ask(Lane::Reads, now + seconds(60), now), Asked::Granted);
    assert!(!queue.is_idle(now + seconds(60)));
    queue.finish(Lane::Reads);
    assert!(!queue.is_idle(now) && queue.is_idle(now + seconds(1)));
}

#[derive(Debug, Clone)]
enum Event {
    Ask(Lane, u64),
    Finish(Lane),
    Leave(usize),
    Limited(Lane, Option<u64>),
    Wait(u64),
}

fn lane() -> impl Strategy<Value = Lane> {
    prop_oneof![Just(Lane::Reads), Just(Lane::Writes)]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (lane(), 0_u64..20_000).prop_map(|(lane, patience)| Event::Ask(lane, patience)),
        6 => lane().prop_map(Event::Finish),
        2 => (0_usize..20).prop_map(Event::Leave),
        1 => (lane(), proptest::option::of(0_u64..3_000)).prop_map(|(lane, after)| Event::Limited(lane, after)),
        4 => (0_u64..400).prop_map(Event::Wait),
    ]
}

/// One lane as its callers see it.
#[derive(Debug, Default)]
struct Seen {
    granted: u32,
    in_flight: u32,
    last: Option<Ticket>,
    waiting: Vec<Ticket>,
}

proptest::proptest! {
    #[test]
    fn limits_hold_and_nobody_is_passed(
        max_in_flight in 1_u32..10,
        per_second in 1_u32..30,
        burst in 1_u32..10,
        events in proptest::collection::vec(event(), 0..400),
    ) {
        let start = Instant::now();
        let mut now = start;
        let rate = rate(per_second, burst);
        let mut queue = Queue::new(policy(max_in_flight, rate, rate), now);
        let (mut reads, mut writes) = (Seen::default(), Seen::default());
        for event in events {
            match event {
                Event::Wait(millis) => now += Duration::from_millis(millis),
                Event::Ask(lane, patience) => {
                    let seen = if lane == Lane::Reads { &mut reads } else { &mut writes };
                    match queue.ask(lane, now + Duration::from_millis(patience), now) {
                        Asked::Granted => {
                            proptest::prop_assert!(seen.waiting.is_empty());
                            seen.granted += 1;
                            seen.in_flight += 1;
                        }
                        Asked::Queued(ticket) => seen.waiting.push(ticket),
                        Asked::Refused(hopeless) => {
                            proptest::prop_assert!(hopeless.wait >= Duration::from_millis(patience));
                        }
                    }
                }
                Event::Finish(lane) => {
                    let seen = if lane == Lane::Reads { &mut reads } else { &mut writes };
                    if seen.in_flight > 0 {
                        seen.in_flight -= 1;
                        queue.finish(lane);
                    }
                }
                Event::Leave(n) => {
                    for (lane, seen) in [(Lane::Reads, &mut reads), (Lane::Writes, &mut writes)] {
                        if n < seen.waiting.len() {
                            proptest::prop_assert!(queue.leave(lane, seen.waiting.remove(n)));
                        }
                    }
                }
                Event::Limited(lane, after) => {
                    let retry_after = after.map(Duration::from_millis);
                    queue.limited(lane, Hold { granted_at: now, retry_after }, now);
                }
            }
            for ticket in queue.grants(now) {
                let seen = if reads.waiting.contains(&ticket) { &mut reads } else { &mut writes };
                // The first of its lane, and later than every one before.
                proptest::prop_assert_eq!(seen.waiting.remove(0), ticket);
                proptest::prop_assert!(seen.last.is_none_or(|last| last < ticket));
                seen.last = Some(ticket);
                seen.granted += 1;
                seen.in_flight += 1;
            }
            proptest::prop_assert!(reads.in_flight + writes.in_flight <= max_in_flight);
            for seen in [&reads, &writes] {
                let most = f64::from(burst) + f64::from(per_second) * (now - start).as_secs_f64();
                proptest::prop_assert!(f64::from(seen.granted) <= most + 0.01);
                proptest::prop_assert!(max_in_flight == 1 || seen.in_flight < max_in_flight);
            }
        }
        // Whoever still waits is let go as time passes and places become free.
        for _ in 0..10_000 {
            for (lane, seen) in [(Lane::Reads, &mut reads), (Lane::Writes, &mut writes)] {
                (0..std::mem::take(&mut seen.in_flight)).for_each(|_| queue.finish(lane));
            }
            now += Duration::from_millis(100);
            for ticket in queue.grants(now) {
                let seen = if reads.waiting.contains(&ticket) { &mut reads } else { &mut writes };
                proptest::prop_assert_eq!(seen.waiting.remove(0), ticket);
                seen.in_flight += 1;
            }
            if reads.waiting.is_empty() && writes.waiting.is_empty() {
                break;
            }
        }
        proptest::prop_assert!(reads.waiting.is_empty() && writes.waiting.is_empty());
    }
}
