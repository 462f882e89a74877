//! When rules inject faults.

use super::*;
use Endpoint::{GetRun, ListRuns, SubmitRun};

fn times(times: u32) -> std::num::NonZeroU32 {
    times.try_into().unwrap()
}

fn run_named(run_name: &str) -> RunIdentity {
    RunIdentity { run_id: None, run_name: Some(run_name.to_owned()) }
}

/// Returns the rule that injects a fault into each of these calls.
fn injected(faults: &FaultInjector, calls: &[(Endpoint, &str)]) -> Vec<Option<String>> {
    let rule = |(endpoint, run_name): &(Endpoint, &str)| {
        faults.next_call_fault(*endpoint, || run_named(run_name)).map(|injected| injected.rule)
    };
    calls.iter().map(rule).collect()
}

fn drops(calls: Calls, when: fn(Fault) -> When<Fault>) -> FaultRule {
    FaultRule::on_calls(calls, when(Fault::DropAfter))
}

#[test]
fn rules_apply_in_order_and_are_counted_and_exhausted() {
    let faults = FaultInjector::default();
    faults.add(drops(Calls::to([GetRun]), |fault| When::Next(times(2), fault)).named("a"));
    faults.add(drops(Calls::any(), When::once));
    let found = injected(&faults, &[(GetRun, "x"); 4]);
    assert_eq!(
        found.iter().map(Option::as_deref).collect::<Vec<_>>(),
        [Some("a"), Some("a"), Some("rule-2"), None]
    );
    assert_eq!((faults.count("a"), faults.count("rule-2"), faults.count("b")), (2, 1, 0));
    assert!(faults.counts().iter().all(|count| !count.active));
    assert!(faults.lock().rules.is_empty(), "exhausted rules are removed");
}

#[test]
fn rule_matches_its_endpoints_and_run_only() {
    let faults = FaultInjector::default();
    faults.add(drops(Calls::to([GetRun, SubmitRun]).of_run_named("etl"), When::Always));
    let found = injected(
        &faults,
        &[(GetRun, "etl"), (GetRun, "other"), (ListRuns, "etl"), (SubmitRun, "etl")],
    );
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false, true]);
    assert!(faults.remove("rule-1") && !faults.remove("rule-1"));
    faults.add(drops(Calls::any().of_run(7), When::Always));
    let seven = || RunIdentity { run_id: Some(7), run_name: None };
    assert!(faults.next_call_fault(GetRun, seven).is_some());
    assert!(faults.next_call_fault(GetRun, RunIdentity::default).is_none());
}

#[test]
fn script_injects_its_faults_in_order_and_then_none() {
    let faults = FaultInjector::default();
    let script = vec![None, Some(RunFault::Deleted), None, Some(Fault::CutBody(3).into())];
    faults.add(FaultRule::on_runs(RunCalls::to([]), When::Script(script)));
    let next =
        || faults.next_call_fault(GetRun, RunIdentity::default).map(|injected| injected.fault);
    let found = [next(), next(), next(), next(), next()];
    assert_eq!(found, [None, Some(RunFault::Deleted), None, Some(Fault::CutBody(3).into()), None]);
}

#[test]
fn random_faults_of_a_run_depend_on_the_seed_and_not_on_other_runs() {
    let by_chance = |seed, others: usize| {
        let half = Probability::new(0.5).unwrap();
        let rule = FaultRule::on_calls(Calls::any(), When::Chance(half, Fault::DropAfter));
        let faults = FaultInjector::new(FaultPlan { seed, rules: vec![rule] });
        let found = (0..64).map(|_| {
            injected(&faults, &vec![(GetRun, "other"); others]);
            injected(&faults, &[(GetRun, "etl")]) != [None]
        });
        found.collect::<Vec<_>>()
    };
    assert_eq!(by_chance(1, 0), by_chance(1, 3));
    assert_ne!(by_chance(1, 0), by_chance(2, 0));
    let count = by_chance(1, 0).into_iter().filter(|injected| *injected).count();
    assert!((16..=48).contains(&count), "{count}");
}

#[test]
fn connection_rules_close_open_connections_and_do_not_match_calls() {
    let faults = FaultInjector::default();
    let open = faults.https_connections();
    faults.add(drops(Calls::any(), When::once));
    assert!(!open.is_cancelled());
    faults.add(FaultRule::on_connections(When::once(ConnectionFault::Closed)));
    assert!(open.is_cancelled() && !faults.https_connections().is_cancelled());
    assert_eq!(
        faults.next_connection_fault().map(|injected| injected.fault),
        Some(ConnectionFault::Closed)
    );
    assert_eq!(faults.next_connection_fault(), None);
    assert_eq!(injected(&faults, &[(GetRun, "x")]), [Some("rule-1".to_owned())]);
}

#[test]
fn new_plan_replaces_rules_and_counts() {
    let faults = FaultInjector::default();
    faults.add(drops(Calls::any(), When::Always).named("old"));
    injected(&faults, &[(GetRun, "x")]);
    faults.set_plan(FaultPlan::default());
    assert_eq!((injected(&faults, &[(GetRun, "x")]), faults.counts()), (vec![None], Vec::new()));
}
