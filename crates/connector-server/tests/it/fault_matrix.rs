//! Every fault of the workspace, in every call of Flyte, once and lasting: what Flyte is answered, and how many runs
//! there are. The expectations are those of DESIGN §3.1 and FC §1; `docs/reliability.md` shows them.

mod cell;
mod page;
mod rows;

use std::sync::Arc;

use tokio::{sync::Semaphore, task::JoinSet};

use self::{
    cell::{Cell, Lasts, Stage, Verb},
    rows::{Row, rows},
};

/// Cells that are played at the same time.
const AT_ONCE: usize = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_fault_has_the_outcome_that_the_matrix_says() {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let stage = Arc::new(Stage::new().await);
    let mut playing = JoinSet::new();
    for row in rows() {
        for verb in Verb::ALL {
            for lasts in Lasts::ALL {
                let Some(expected) = row.expected(verb, lasts) else { continue };
                let number = playing.len();
                let cell = Cell { strike: row.strike.clone(), verb, lasts, number };
                let stage = Arc::clone(&stage);
                let turns = Arc::clone(&turns);
                let name = format!("{}, {}, {lasts:?}", row.name, verb.name());
                playing.spawn(async move {
                    let _turn = turns.acquire_owned().await.unwrap();
                    let seen = cell.play(&stage).await;
                    (name, cell, seen, expected)
                });
            }
        }
    }
    let played = playing.join_all().await;
    let cells = played.len();
    let mut wrong = Vec::new();
    for (name, mut cell, mut seen, expected) in played {
        // tonic says CANCELLED where the answer came after the deadline, and the server DEADLINE_EXCEEDED where the time ran
        // out before it had one. On a machine that is busy with other tests that happens for once; a server that is too
        // slow is so again when it is alone.
        let is_late = seen.contains("CANCELLED") || seen.contains("DEADLINE_EXCEEDED");
        if is_late && seen != expected {
            cell.number += cells;
            seen = cell.play(&stage).await;
        }
        if seen != expected {
            wrong.push(format!("{name}: {seen}; expected: {expected}"));
        }
    }
    wrong.sort();
    assert!(wrong.is_empty(), "{} of {cells} cells:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_matrix_keeps_what_flyte_does_not_forgive() {
    for row in rows() {
        for lasts in Lasts::ALL {
            let expected = |verb| row.expected(verb, lasts).unwrap_or("OK");
            // Six errors freeze a task (FC §0.3), and an unknown phase kills it (FC §1.5).
            let get = expected(Verb::Get);
            assert!(
                get.split(", later ").all(|answer| answer.starts_with("OK")),
                "{}: {get}",
                row.name
            );
            assert!(!get.contains("UNDEFINED"), "{}: {get}", row.name);
            // A run that may be alive is not started again.
            assert!(!get.contains("RETRYABLE") || row.name == "run deleted", "{}: {get}", row.name);
            let create = expected(Verb::Create);
            assert!(!create.contains("2 runs"), "{}: {create}", row.name);
        }
    }
}

#[test]
fn every_kind_of_fault_has_a_row() {
    use databricks_emulator::{ConnectionFault, Fault, RunFault};
    use rows::Strike;

    let kind = |row: &Row| match &row.strike {
        Strike::Call(Fault::Answer(_)) => "answer",
        Strike::Call(Fault::RateLimited(_)) => "rate limit",
        Strike::Call(Fault::Redirect(_)) => "redirect",
        Strike::Call(Fault::DropBefore) => "drop before",
        Strike::Call(Fault::DropAfter) => "drop after",
        Strike::Call(Fault::DelayBefore(_)) => "delay before",
        Strike::Call(Fault::DelayAfter(_)) => "delay after",
        Strike::Call(Fault::SlowBody(_)) => "slow body",
        Strike::Call(Fault::CutBody(_)) => "cut body",
        Strike::Call(Fault::ContentType(_)) => "content type",
        Strike::Call(Fault::TokenClock(_)) => "token clock",
        Strike::Run(RunFault::Deleted) => "run deleted",
        Strike::Run(RunFault::EarlierState(_)) => "earlier state",
        Strike::Connection(ConnectionFault::Closed) => "closed",
        Strike::Connection(ConnectionFault::NotTls) => "not TLS",
        Strike::Connection(ConnectionFault::UntrustedCertificate) => "untrusted",
        Strike::Connection(ConnectionFault::ExpiredCertificate) => "expired",
        other => panic!("{other:?} has no name here"),
    };
    let mut kinds: Vec<_> = rows().iter().map(kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), 17, "{kinds:?}");
}
