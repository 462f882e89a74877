//! Fault rules: which fault, for which calls or connections, and when.

use super::fault::{ConnectionFault, Fault, RunFault};
use crate::api::endpoint::Endpoint;
use std::collections::BTreeSet;
use std::num::NonZeroU32;

/// A fault, the calls or connections that it applies to, and when it is injected.
///
/// ```
/// use databricks_emulator::{Calls, ConnectionFault, Endpoint, Fault, FaultRule, RunCall, RunCalls, RunFault, When};
///
/// // The next submit is executed, but its response is lost.
/// FaultRule::on_calls(Calls::to([Endpoint::SubmitRun]), When::once(Fault::DropAfter));
/// // The third read of run "etl" finds it deleted.
/// FaultRule::on_runs(
///     RunCalls::to([RunCall::GetRun]).of_run_named("etl"),
///     When::Script(vec![None, None, Some(RunFault::Deleted)]),
/// )
/// .named("deleted");
/// FaultRule::on_connections(When::Always(ConnectionFault::UntrustedCertificate));
/// ```
///
/// A rule is also read from JSON, with [`str::parse`] or serde. The crate documentation describes the format.
///
/// ```
/// # use databricks_emulator::{Calls, Endpoint, Fault, FaultRule, When};
/// let rule: FaultRule = serde_json::from_str(r#"{"on": ["submit_run"], "times": 1, "fault": "drop_after"}"#)?;
/// assert_eq!(rule, FaultRule::on_calls(Calls::to([Endpoint::SubmitRun]), When::once(Fault::DropAfter)));
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// Meaningless rules do not compile: run faults apply to calls for runs only.
///
/// ```compile_fail
/// # use databricks_emulator::{Calls, Endpoint, FaultRule, RunFault, When};
/// FaultRule::on_calls(Calls::to([Endpoint::Me]), When::once(RunFault::Deleted));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct FaultRule {
    pub(crate) name: Option<String>,
    pub(crate) target: Target,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    Calls {
        /// Empty: every call.
        endpoints: BTreeSet<Endpoint>,
        runs: RunFilter,
        when: When<RunFault>,
    },
    Connections(When<ConnectionFault>),
}

impl FaultRule {
    /// Creates a rule for calls.
    pub fn on_calls(calls: Calls, when: When<Fault>) -> Self {
        let Calls { endpoints, runs } = calls;
        Target::Calls { endpoints, runs, when: when.map(RunFault::Call) }.into()
    }

    /// Creates a rule for calls that name a run.
    pub fn on_runs(calls: RunCalls, when: When<RunFault>) -> Self {
        let Calls { endpoints, runs } = calls;
        let all = RunCall::ALL.into_iter().filter(|_| endpoints.is_empty());
        let endpoints = endpoints.iter().copied().chain(all).map(Endpoint::from).collect();
        Target::Calls { endpoints, runs, when }.into()
    }

    /// Creates a rule for new HTTPS connections.
    ///
    /// Adding it closes all open ones, with the calls in flight, so that the next call needs a new connection.
    pub fn on_connections(when: When<ConnectionFault>) -> Self {
        Target::Connections(when).into()
    }

    /// Names the rule; faults are counted by name. The default is `rule-1`, `rule-2` etc. in the order of addition.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl From<Target> for FaultRule {
    fn from(target: Target) -> Self {
        Self { name: None, target }
    }
}

/// Which of the matching calls or connections get the fault.
#[derive(Clone, Debug, PartialEq)]
pub enum When<F> {
    /// Every one.
    Always(F),
    /// The next ones, this many.
    Next(NonZeroU32, F),
    /// Each one with this probability. The choice depends on the seed of the plan, the rule's name, the endpoint, the run
    /// name, and the number of such calls so far, so it is reproducible. Other runs have no influence.
    Chance(Probability, F),
    /// One entry for each, in order. `None` injects nothing.
    Script(Vec<Option<F>>),
}

impl<F> When<F> {
    /// Injects the fault into the next one only.
    pub fn once(fault: F) -> Self {
        Self::Next(NonZeroU32::MIN, fault)
    }

    pub(crate) fn map<G>(self, mut into: impl FnMut(F) -> G) -> When<G> {
        match self {
            Self::Always(fault) => When::Always(into(fault)),
            Self::Next(times, fault) => When::Next(times, into(fault)),
            Self::Chance(probability, fault) => When::Chance(probability, into(fault)),
            Self::Script(faults) => {
                When::Script(faults.into_iter().map(|fault| fault.map(&mut into)).collect())
            }
        }
    }
}

/// A probability from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Probability(f64);

impl Probability {
    /// Returns `None` for a number outside 0 to 1.
    pub fn new(probability: f64) -> Option<Self> {
        (0.0..=1.0).contains(&probability).then_some(Self(probability))
    }

    pub(crate) fn get(self) -> f64 {
        self.0
    }
}

/// The calls that a rule matches: those of any endpoints, or of [`RunCall`]s.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Calls<E = Endpoint> {
    endpoints: BTreeSet<E>,
    runs: RunFilter,
}

/// The calls for existing runs that a rule matches.
pub type RunCalls = Calls<RunCall>;

impl Calls {
    /// Matches every call.
    pub fn any() -> Self {
        Self::to([])
    }
}

impl<E: Ord> Calls<E> {
    /// Matches the calls of these endpoints. An empty list matches all of them.
    pub fn to(endpoints: impl IntoIterator<Item = E>) -> Self {
        Self { endpoints: endpoints.into_iter().collect(), runs: RunFilter::Any }
    }

    /// Matches only calls for runs with this name, including submits.
    pub fn of_run_named(self, run_name: impl Into<String>) -> Self {
        Self { runs: RunFilter::Name(run_name.into()), ..self }
    }

    /// Matches only calls for this run or its task runs.
    pub fn of_run(self, run_id: i64) -> Self {
        Self { runs: RunFilter::Id(run_id), ..self }
    }
}

/// An endpoint that names an existing run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunCall {
    /// `GET jobs/runs/get`.
    GetRun,
    /// `GET jobs/runs/get-output`.
    GetRunOutput,
    /// `POST jobs/runs/cancel`.
    CancelRun,
}

impl RunCall {
    pub(super) const ALL: [Self; 3] = [Self::GetRun, Self::GetRunOutput, Self::CancelRun];
}

impl From<RunCall> for Endpoint {
    fn from(call: RunCall) -> Self {
        match call {
            RunCall::GetRun => Self::GetRun,
            RunCall::GetRunOutput => Self::GetRunOutput,
            RunCall::CancelRun => Self::CancelRun,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunFilter {
    Any,
    Name(String),
    Id(i64),
}

impl RunFilter {
    pub(crate) fn matches(&self, run: &RunIdentity) -> bool {
        match self {
            Self::Any => true,
            Self::Name(name) => run.run_name.as_ref() == Some(name),
            Self::Id(id) => run.run_id == Some(*id),
        }
    }
}

/// The run that a call names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunIdentity {
    /// `None` for a submit. For a task run the id of its run.
    pub(crate) run_id: Option<i64>,
    pub(crate) run_name: Option<String>,
}
