//! Prints the result of a soak.

use crate::Args;
use crate::invariants::{Observations, RunCounts, Violation};
use crate::scenario::ExecutorKind;
use databricks_emulator::FaultCount;
use flyte_executor_model::{End, Method, TaskStatus, TracedCall, TryOutcome};
use std::time::Duration;

/// How many violations are shown with their calls.
const SHOWN: usize = 5;

/// The totals of a soak.
pub(crate) struct Totals {
    pub(crate) runs: RunCounts,
    pub(crate) kills: usize,
    pub(crate) drains: u64,
    pub(crate) faults: Vec<FaultCount>,
    /// Connections broken before and after the request, and delayed chunks.
    pub(crate) network: [u64; 3],
    pub(crate) took: Duration,
}

pub(crate) fn print(
    args: &Args,
    observed: &Observations,
    totals: &Totals,
    violations: &[Violation],
    failed_drains: &[String],
) {
    let records = || observed.tasks.values();
    let ends = |wanted: fn(&End) -> bool| {
        records().filter(|record| record.finished.end.as_ref().is_some_and(wanted)).count()
    };
    let status =
        |wanted: TaskStatus| records().filter(|record| record.finished.status == wanted).count();
    let calls: Vec<&TracedCall> = records().flat_map(|record| &record.finished.calls).collect();
    let of = |method: Method| calls.iter().filter(|call| call.method == method).count();
    let errors = |method: Method| {
        calls.iter().filter(|call| call.method == method && call.outcome.is_err()).count()
    };
    let retries: u64 = records().map(|record| u64::from(record.finished.attempt)).sum();
    let tries: usize = calls.iter().map(|call| call.tries.len()).sum();
    let broken = calls
        .iter()
        .flat_map(|call| &call.tries)
        .filter(|each| each.outcome == TryOutcome::Broken)
        .count();
    let slowest = calls.iter().map(|call| call.took).max().unwrap_or_default();

    println!("\ntasks      {} of {}", observed.tasks.len(), args.tasks);
    let executor_kinds = ExecutorKind::ALL.map(|executor_kind| {
        format!("{executor_kind:?} {}", observed.count_by_executor(executor_kind))
    });
    println!("executors  {}", executor_kinds.join(", "));
    println!(
        "ends       {} succeeded, {} failed, {} aborted",
        ends(|end| *end == End::Success),
        ends(|end| matches!(end, End::Failure(_))),
        ends(|end| *end == End::Aborted),
    );
    println!("frozen     {}", status(TaskStatus::Frozen));
    println!("unfinished {}", status(TaskStatus::Active) + status(TaskStatus::Ended));
    println!(
        "attempts   {retries} retries; {} tasks failed because all their creates failed; {} because the executor lost the error of a create",
        records().filter(|record| record.failed_to_create()).count(),
        records().filter(|record| record.lost_an_error()).count(),
    );
    println!(
        "calls      {} ({} CreateTask, {} GetTask, {} DeleteTask) in {tries} tries, {broken} with a broken connection, the slowest {:.1} s",
        calls.len(),
        of(Method::Create),
        of(Method::Get),
        of(Method::Delete),
        slowest.as_secs_f64(),
    );
    println!(
        "errors     {} of CreateTask, {} of GetTask, {} of DeleteTask",
        errors(Method::Create),
        errors(Method::Get),
        errors(Method::Delete),
    );
    println!(
        "workspace  {} runs; servers killed {} times, drained {} times",
        totals.runs.all, totals.kills, totals.drains
    );
    let [before, after, held_up] = totals.network;
    let of_workspace: u64 = totals.faults.iter().map(|count| count.injected).sum();
    println!(
        "faults     {}: {of_workspace} of the workspace; on the network {before} connections broken before the request, {after} before the response, {held_up} chunks delayed",
        of_workspace + before + after + held_up,
    );
    let each = totals.faults.iter().map(|count| format!("{} {}", count.injected, count.name));
    println!("           {}", each.collect::<Vec<_>>().join(", "));
    println!(
        "orphans    {} whose server was killed between submit and response; {} whose server was killed before it cancelled them; {} whose next attempt's server was killed before it searched for them; {} whose response the executor lost",
        totals.runs.killed_before_response,
        totals.runs.killed_before_cancelling,
        totals.runs.killed_before_search,
        totals.runs.lost_by_executor,
    );
    println!("time       {:.1} s", totals.took.as_secs_f64());

    for fault in failed_drains {
        println!("VIOLATION  {fault}");
    }
    for violation in violations.iter().take(SHOWN) {
        println!("\nVIOLATION  seed {}, {violation}", args.seed);
        for line in observed.trace(violation.task) {
            println!("    {line}");
        }
    }
    for violation in violations.iter().skip(SHOWN) {
        println!("VIOLATION  seed {}, {violation}", args.seed);
    }
    match violations.len() + failed_drains.len() {
        0 => println!(
            "\nsoak passed: every task finished, none froze, no attempt has two runs, no run is orphaned"
        ),
        count => println!("\nsoak FAILED: {count} violations"),
    }
}
