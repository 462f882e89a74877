//! What an operator can see of the calls: events as they happen, and snapshots without I/O. Neither holds a secret, a
//! query or a body.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use crate::{ErrorKind, Host, Lane};

/// Is told what happens, as it happens. Its methods are called on the way of every call, so they only count.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A request was sent and answered, or failed.
    fn attempted(&self, attempt: &Attempt<'_>);

    /// A call waited for its turn in the budget, or was not given one.
    fn waited(&self, wait: &BudgetWait<'_>);

    /// A call was not sent, because its host has failed too often.
    fn refused(&self, host: &Host);

    /// A token was asked for at its authority, or read from its file.
    fn minted(&self, mint: &Mint<'_>);
}

/// One token that was asked for, or read.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Mint<'a> {
    /// The workspace that it is for.
    pub host: &'a Host,
    /// How the credential proves itself, as [`Credentials::auth_type`](crate::Credentials::auth_type) says.
    pub kind: &'static str,
    /// How it failed, if it did.
    pub failure: Option<ErrorKind>,
}

/// One request that was sent.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Attempt<'a> {
    /// Where to.
    pub host: &'a Host,
    /// What was called, without version and query, such as `runs/get`. One of a fixed few.
    pub endpoint: &'static str,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// How it failed, if it did.
    pub failure: Option<ErrorKind>,
    /// 1 for the first attempt of a call.
    pub number: u32,
    /// From sending to the whole answer.
    pub duration: Duration,
}

/// One call that the budget kept waiting.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct BudgetWait<'a> {
    /// Where to.
    pub host: &'a Host,
    /// Which part of the budget.
    pub lane: Lane,
    /// How long it waited.
    pub waited: Duration,
    /// Whether it got its turn.
    pub is_granted: bool,
}

/// How one host stands, as far as this process knows.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkspaceSnapshot {
    /// The host.
    pub host: Host,
    /// Whether calls go through.
    pub breaker: BreakerSnapshot,
    /// Each credential that is used there.
    pub budgets: Vec<BudgetSnapshot>,
    /// Requests that were sent.
    pub attempts: u64,
    /// Those of them that were not the first of their call.
    pub retries: u64,
    /// Calls that were not sent, because the host had failed too often.
    pub refused: u64,
    /// The last request that failed.
    pub last_failure: Option<LastFailure>,
}

/// Whether calls to a host go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerSnapshot {
    /// They do.
    Closed,
    /// They are refused.
    Open {
        /// How long the host has failed.
        failing_for: Duration,
    },
    /// One finds out whether the host is back; the others are refused.
    HalfOpen {
        /// How long the host has failed.
        failing_for: Duration,
    },
}

/// The last failure at a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastFailure {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// When.
    pub at: SystemTime,
}

/// The budget of one workspace and credential.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BudgetSnapshot {
    /// The name of the credential, for people. Several credentials may bear the same.
    pub credential: String,
    /// The most calls under way at once, of both lanes together.
    pub limit: u32,
    /// Its reads.
    pub reads: LaneSnapshot,
    /// Its writes.
    pub writes: LaneSnapshot,
}

/// One lane of a budget.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct LaneSnapshot {
    /// Calls under way.
    pub in_flight: u32,
    /// Calls that wait for their turn.
    pub waiting: usize,
    /// The rate of now, in calls a second: below the configured one after the workspace said 429.
    pub per_second: f64,
    /// Calls that had to wait and got their turn.
    pub waits: u64,
    /// How long they all waited.
    pub waited: Duration,
    /// Calls that did not get a turn.
    pub refused: u64,
}
