//! When rules strike.

use super::*;
use Endpoint::{GetRun, ListRuns, SubmitRun};

fn times(times: u32) -> std::num::NonZeroU32 {
    times.try_into().unwrap()
}

fn of(run_name: &str) -> Subject {
    Subject { run_id: None, run_name: Some(run_name.to_owned()) }
}

/// The rules that strike at these calls, in their order.
fn strikes(faults: &Faults, calls: &[(Endpoint, &str)]) -> Vec<Option<String>> {
    let strike = |(endpoint, run_name): &(Endpoint, &str)| {
        faults.strike_call(*endpoint, || of(run_name)).map(|strike| strike.rule)
    };
    calls.iter().map(strike).collect()
}

fn drops(calls: Calls, when: fn(Fault) -> When<Fault>) -> FaultRule {
    FaultRule::on_calls(calls, when(Fault::DropAfter))
}

#[test]
fn counted_faults_come_in_order_run_out_and_are_counted() {
    let faults = Faults::default();
    faults.add(drops(Calls::to([GetRun]), |fault| When::Next(times(2), fault)).named("a"));
    faults.add(drops(Calls::any(), When::once));
    let found = strikes(&faults, &[(GetRun, "x"); 4]);
    assert_eq!(
        found.iter().map(Option::as_deref).collect::<Vec<_>>(),
        [Some("a"), Some("a"), Some("rule-2"), None]
    );
    assert_eq!((faults.struck("a"), faults.struck("rule-2"), faults.struck("b")), (2, 1, 0));
    assert!(faults.counts().iter().all(|count| !count.waiting));
    assert!(faults.lock().rules.is_empty(), "what is over is not kept");
}

#[test]
fn a_rule_is_for_its_endpoints_and_its_run_alone() {
    let faults = Faults::default();
    faults.add(drops(Calls::to([GetRun, SubmitRun]).of_run_named("etl"), When::Always));
    let found = strikes(
        &faults,
        &[(GetRun, "etl"), (GetRun, "other"), (ListRuns, "etl"), (SubmitRun, "etl")],
    );
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false, true]);
    assert!(faults.remove("rule-1") && !faults.remove("rule-1"));
    faults.add(drops(Calls::any().of_run(7), When::Always));
    let seven = || Subject { run_id: Some(7), run_name: None };
    assert!(faults.strike_call(GetRun, seven).is_some());
    assert!(faults.strike_call(GetRun, Subject::default).is_none());
}

#[test]
fn a_script_strikes_in_its_order_and_is_over_at_its_end() {
    let faults = Faults::default();
    let script = vec![None, Some(RunFault::Deleted), None, Some(Fault::CutBody(3).into())];
    faults.add(FaultRule::on_runs(RunCalls::to([]), When::Script(script)));
    let next = || faults.strike_call(GetRun, Subject::default).map(|strike| strike.fault);
    let found = [next(), next(), next(), next(), next()];
    assert_eq!(found, [None, Some(RunFault::Deleted), None, Some(Fault::CutBody(3).into()), None]);
}

#[test]
fn chance_is_the_same_for_a_run_whatever_happens_to_others_and_differs_by_seed() {
    let by_chance = |seed, others: usize| {
        let half = Probability::new(0.5).unwrap();
        let rule = FaultRule::on_calls(Calls::any(), When::Chance(half, Fault::DropAfter));
        let faults = Faults::of(FaultPlan { seed, rules: vec![rule] });
        let found = (0..64).map(|_| {
            strikes(&faults, &vec![(GetRun, "other"); others]);
            strikes(&faults, &[(GetRun, "etl")]) != [None]
        });
        found.collect::<Vec<_>>()
    };
    assert_eq!(by_chance(1, 0), by_chance(1, 3));
    assert_ne!(by_chance(1, 0), by_chance(2, 0));
    let struck = by_chance(1, 0).into_iter().filter(|struck| *struck).count();
    assert!((16..=48).contains(&struck), "{struck}");
}

#[test]
fn connections_fail_apart_from_calls_and_the_open_ones_end() {
    let faults = Faults::default();
    let open = faults.open_connections();
    faults.add(drops(Calls::any(), When::once));
    assert!(!open.is_cancelled());
    faults.add(FaultRule::on_connections(When::once(ConnectionFault::Closed)));
    assert!(open.is_cancelled() && !faults.open_connections().is_cancelled());
    assert_eq!(
        faults.strike_connection().map(|strike| strike.fault),
        Some(ConnectionFault::Closed)
    );
    assert_eq!(faults.strike_connection(), None);
    assert_eq!(strikes(&faults, &[(GetRun, "x")]), [Some("rule-1".to_owned())]);
}

#[test]
fn a_new_plan_starts_anew() {
    let faults = Faults::default();
    faults.add(drops(Calls::any(), When::Always).named("old"));
    strikes(&faults, &[(GetRun, "x")]);
    faults.replace(FaultPlan::default());
    assert_eq!((strikes(&faults, &[(GetRun, "x")]), faults.counts()), (vec![None], Vec::new()));
}
