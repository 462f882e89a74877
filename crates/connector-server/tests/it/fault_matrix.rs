//! The fault matrix: every fault of a workspace in every RPC of Flyte, once and persistent.
//!
//! Each case checks the response to Flyte and the number of runs. `docs/reliability.md` shows the expectations.

mod case;
mod expectations;
mod page;

use std::sync::Arc;

use tokio::{sync::Semaphore, task::JoinSet};

use self::{
    case::{Case, Repeat, Rpc, SharedServer},
    expectations::{Row, rows},
};

/// Cases that run concurrently.
const CONCURRENCY: usize = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_fault_has_the_expected_outcome() {
    let permits = Arc::new(Semaphore::new(CONCURRENCY));
    let shared = Arc::new(SharedServer::start().await);
    let mut running = JoinSet::new();
    for row in rows() {
        for rpc in Rpc::ALL {
            for repeat in Repeat::ALL {
                let Some(expected) = row.expected(rpc, repeat) else { continue };
                let case = Case { fault: row.fault.clone(), rpc, repeat, number: running.len() };
                let shared = Arc::clone(&shared);
                let permits = Arc::clone(&permits);
                let name = format!("{}, {}, {repeat:?}", row.name, rpc.name());
                running.spawn(async move {
                    let _permit = permits.acquire_owned().await.unwrap();
                    let outcome = case.run(&shared).await;
                    (name, case, outcome, expected)
                });
            }
        }
    }
    let finished = running.join_all().await;
    let cases = finished.len();
    let mut wrong = Vec::new();
    for (name, mut case, mut outcome, expected) in finished {
        // On a busy machine a response may miss the deadline: tonic then reports CANCELLED, the server
        // DEADLINE_EXCEEDED. A server that is too slow by itself fails again when the case runs alone.
        let is_late = outcome.contains("CANCELLED") || outcome.contains("DEADLINE_EXCEEDED");
        if is_late && outcome != expected {
            case.number += cases;
            outcome = case.run(&shared).await;
        }
        if outcome != expected {
            wrong.push(format!("{name}: {outcome}; expected: {expected}"));
        }
    }
    wrong.sort();
    assert!(wrong.is_empty(), "{} of {cases} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn expectations_avoid_what_freezes_or_kills_a_task() {
    for row in rows() {
        for repeat in Repeat::ALL {
            let expected = |rpc| row.expected(rpc, repeat).unwrap_or("OK");
            // Six errors freeze a task (flyte-contract.md#gettask-errors), an unknown phase kills it
            // (flyte-contract.md#gettask).
            let get = expected(Rpc::Get);
            assert!(
                get.split(", later ").all(|response| response.starts_with("OK")),
                "{}: {get}",
                row.name
            );
            assert!(!get.contains("UNDEFINED"), "{}: {get}", row.name);
            // An attempt whose run may be active is not retried.
            // Both say that there is no run: the second by the code for a wrong parameter, of which the read has only one.
            let no_run = ["run deleted", "400 `INVALID_PARAMETER_VALUE`"];
            assert!(
                !get.contains("RETRYABLE") || no_run.contains(&row.name),
                "{}: {get}",
                row.name
            );
            let create = expected(Rpc::Create);
            assert!(!create.contains("2 runs"), "{}: {create}", row.name);
        }
    }
}

#[test]
fn every_kind_of_fault_has_a_row() {
    use databricks_emulator::{ConnectionFault, Fault, RunFault};
    use expectations::InjectedFault;

    let kind = |row: &Row| match &row.fault {
        InjectedFault::Call(Fault::Answer(_)) => "answer",
        InjectedFault::Call(Fault::RateLimited(_)) => "rate limit",
        InjectedFault::Call(Fault::Redirect(_)) => "redirect",
        InjectedFault::Call(Fault::DropBefore) => "drop before",
        InjectedFault::Call(Fault::DropAfter) => "drop after",
        InjectedFault::Call(Fault::DelayBefore(_)) => "delay before",
        InjectedFault::Call(Fault::DelayAfter(_)) => "delay after",
        InjectedFault::Call(Fault::SlowBody(_)) => "slow body",
        InjectedFault::Call(Fault::CutBody(_)) => "cut body",
        InjectedFault::Call(Fault::ContentType(_)) => "content type",
        InjectedFault::Call(Fault::TokenClock(_)) => "token clock",
        InjectedFault::Run(RunFault::Deleted) => "run deleted",
        InjectedFault::Run(RunFault::EarlierState(_)) => "earlier state",
        InjectedFault::Connection(ConnectionFault::Closed) => "closed",
        InjectedFault::Connection(ConnectionFault::NotTls) => "not TLS",
        InjectedFault::Connection(ConnectionFault::UntrustedCertificate) => "untrusted",
        InjectedFault::Connection(ConnectionFault::ExpiredCertificate) => "expired",
        other => panic!("{other:?} has no name here"),
    };
    let mut kinds: Vec<_> = rows().iter().map(kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), 17, "{kinds:?}");
}
