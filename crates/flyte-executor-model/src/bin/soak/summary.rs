//! What is printed at the end.

use crate::Args;
use crate::cast::Flavour;
use crate::ledger::{Ledger, Runs, Violation};
use databricks_emulator::FaultCount;
use flyte_executor_model::{End, Ended, Standing, Traced, Verb};
use std::time::Duration;

/// How many broken promises are shown with their traces.
const SHOWN: usize = 5;

/// What was counted while it ran.
pub(crate) struct Figures {
    pub(crate) runs: Runs,
    pub(crate) kills: usize,
    pub(crate) drains: u64,
    pub(crate) faults: Vec<FaultCount>,
    /// Before the request, after it, and held up.
    pub(crate) network: [u64; 3],
    pub(crate) took: Duration,
}

pub(crate) fn print(
    args: &Args,
    ledger: &Ledger,
    figures: &Figures,
    violations: &[Violation],
    bad_drains: &[String],
) {
    let records = || ledger.tasks.values();
    let ends = |wanted: fn(&End) -> bool| {
        records().filter(|record| record.finished.end.as_ref().is_some_and(wanted)).count()
    };
    let standing =
        |wanted: Standing| records().filter(|record| record.finished.standing == wanted).count();
    let calls: Vec<&Traced> = records().flat_map(|record| &record.finished.calls).collect();
    let of = |verb: Verb| calls.iter().filter(|call| call.verb == verb).count();
    let errors =
        |verb: Verb| calls.iter().filter(|call| call.verb == verb && call.outcome.is_err()).count();
    let retries: u64 = records().map(|record| u64::from(record.finished.attempt)).sum();
    let tries: usize = calls.iter().map(|call| call.tries.len()).sum();
    let broken = calls
        .iter()
        .flat_map(|call| &call.tries)
        .filter(|each| each.ended == Ended::Broken)
        .count();
    let slowest = calls.iter().map(|call| call.took).max().unwrap_or_default();

    println!("\ntasks      {} of {}", ledger.tasks.len(), args.tasks);
    let flavours =
        Flavour::ALL.map(|flavour| format!("{flavour:?} {}", ledger.of_flavour(flavour)));
    println!("executors  {}", flavours.join(", "));
    println!(
        "ends       {} succeeded, {} failed, {} aborted",
        ends(|end| *end == End::Success),
        ends(|end| matches!(end, End::Failure(_))),
        ends(|end| *end == End::Aborted),
    );
    println!("frozen     {}", standing(Standing::Frozen));
    println!("unfinished {}", standing(Standing::Underway) + standing(Standing::Ended));
    println!(
        "attempts   {retries} retries; {} tasks ended because no create of theirs was taken; {} because the executor lost the error of a create",
        records().filter(|record| record.is_lost_to_creates()).count(),
        records().filter(|record| record.lost_an_error()).count(),
    );
    println!(
        "calls      {} ({} CreateTask, {} GetTask, {} DeleteTask) in {tries} tries, {broken} broken by a kill, the slowest {:.1} s",
        calls.len(),
        of(Verb::Create),
        of(Verb::Get),
        of(Verb::Delete),
        slowest.as_secs_f64(),
    );
    println!(
        "errors     {} of CreateTask, {} of GetTask, {} of DeleteTask",
        errors(Verb::Create),
        errors(Verb::Get),
        errors(Verb::Delete),
    );
    println!(
        "workspace  {} runs; servers killed {} times, drained {} times",
        figures.runs.all, figures.kills, figures.drains
    );
    let [before, after, held_up] = figures.network;
    let of_workspace: u64 = figures.faults.iter().map(|count| count.injected).sum();
    println!(
        "faults     {}: {of_workspace} of the workspace, and on the network {before} connections broken on the way there, {after} on the way back, {held_up} pieces held up",
        of_workspace + before + after + held_up,
    );
    let each = figures.faults.iter().map(|count| format!("{} {}", count.injected, count.name));
    println!("           {}", each.collect::<Vec<_>>().join(", "));
    println!(
        "left alive {} whose server was killed between submit and answer; {} whose server was killed before it could give them up; {} whose next attempt's server was killed before it could find them; {} of which the executor itself lost the answer",
        figures.runs.killed_before_answer,
        figures.runs.killed_before_giving_up,
        figures.runs.killed_before_looking,
        figures.runs.lost_by_the_executor,
    );
    println!("time       {:.1} s", figures.took.as_secs_f64());

    for fault in bad_drains {
        println!("BROKEN     {fault}");
    }
    for violation in violations.iter().take(SHOWN) {
        println!("\nBROKEN     seed {}, {violation}", args.seed);
        for line in ledger.trace(violation.task) {
            println!("    {line}");
        }
    }
    for violation in violations.iter().skip(SHOWN) {
        println!("BROKEN     seed {}, {violation}", args.seed);
    }
    match violations.len() + bad_drains.len() {
        0 => println!(
            "\nsoak passed: every task finished, none froze, no attempt ran twice, no run was left behind"
        ),
        count => println!("\nsoak FAILED: {count} broken promises"),
    }
}
