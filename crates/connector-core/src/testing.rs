//! Conformance tests: plays Flyte's executor against a connector, in process.
//!
//! [`check`] drives a connector through creates, polls, faults, retries and deletes, each against a fresh run, and
//! reports every [`Trap`] that the connector falls into. The test supplies a [`Backend`]: the service behind the
//! connector, which the harness can break and heal. Needs the feature `testing`; any async runtime drives it.
//!
//! Belongs here: what holds for every connector. Does not: what one service means by its states; a connector tests that
//! with its own table.

mod backend;
mod executor;
mod scenarios;
mod trap;

pub use backend::{Backend, Fault, FaultyCalls, JobEnd};
pub use trap::{Trap, Violation, Violations};

use executor::Executor;

/// Plays every scenario against the connector and returns what it violates.
///
/// Scenarios whose fault the backend does not support are left out. Takes real time only where the backend hangs
/// ([`Fault::Hang`]): about one second for each of create, get and delete.
///
/// # Errors
///
/// [`Violations`], in the order in which they were found; its `Display` lists each with its consequence.
pub async fn check<B: Backend>(backend: &B) -> Result<(), Violations> {
    let mut executor = Executor::new(backend);
    scenarios::play_all(&mut executor).await;
    executor.finish()
}
