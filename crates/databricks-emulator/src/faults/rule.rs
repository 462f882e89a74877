//! Rules: what goes wrong, with what, and when.

use super::canned::CannedAnswer;
use super::fault::{ConnectionFault, Fault, RunFault};
use crate::endpoint::Endpoint;
use std::collections::BTreeSet;
use std::num::NonZeroU32;

/// One thing that goes wrong, with the calls or connections that it goes wrong with, and when.
///
/// ```
/// use databricks_emulator::{Calls, ConnectionFault, Endpoint, Fault, FaultRule, RunCall, RunCalls, RunFault, When};
///
/// // The next submit has its effect, but its answer is lost.
/// FaultRule::on_calls(Calls::to([Endpoint::SubmitRun]), When::once(Fault::DropAfter));
/// // The third read of the run "etl" finds it gone.
/// FaultRule::on_runs(
///     RunCalls::to([RunCall::GetRun]).of_run_named("etl"),
///     When::Script(vec![None, None, Some(RunFault::Deleted)]),
/// )
/// .named("gone");
/// FaultRule::on_connections(When::Always(ConnectionFault::UntrustedCertificate));
/// ```
///
/// What makes no sense cannot be said: a run is deleted by calls about runs alone.
///
/// ```compile_fail
/// # use databricks_emulator::{Calls, Endpoint, FaultRule, RunFault, When};
/// FaultRule::on_calls(Calls::to([Endpoint::Me]), When::once(RunFault::Deleted));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRule {
    pub(crate) name: Option<String>,
    pub(crate) target: Target,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// No endpoint: any call.
    Calls {
        endpoints: BTreeSet<Endpoint>,
        of: OfRun,
        when: When<RunFault>,
    },
    Connections(When<ConnectionFault>),
}

impl FaultRule {
    /// A fault of calls.
    #[must_use]
    pub fn on_calls(calls: Calls, when: When<Fault>) -> Self {
        let Calls { endpoints, of } = calls;
        Self { name: None, target: Target::Calls { endpoints, of, when: when.map(RunFault::Call) } }
    }

    /// A fault of calls about one run.
    #[must_use]
    pub fn on_runs(calls: RunCalls, when: When<RunFault>) -> Self {
        let RunCalls { endpoints, of } = calls;
        Self { name: None, target: Target::Calls { endpoints, of, when } }
    }

    /// A fault of new connections for HTTPS. Those that are open are closed when the rule is added, so that the next
    /// call needs a new one; what is under way on them breaks.
    #[must_use]
    pub fn on_connections(when: When<ConnectionFault>) -> Self {
        Self { name: None, target: Target::Connections(when) }
    }

    /// The same rule under the name that its strikes are counted under. Without one it is `rule-1`, `rule-2`, by its
    /// place among all that were added.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    pub(crate) fn canned(endpoint: Endpoint, answer: CannedAnswer, times: NonZeroU32) -> Self {
        Self::on_calls(Calls::to([endpoint]), When::Next(times, Fault::Answer(answer)))
            .named("answer_next")
    }
}

/// When a fault strikes, among the calls or connections that its rule is for.
#[derive(Clone, Debug, PartialEq)]
pub enum When<F> {
    /// Every time.
    Always(F),
    /// The next so many times.
    Next(NonZeroU32, F),
    /// With this probability: by the emulator's seed, the rule's name, and which of the calls of its endpoint for its
    /// run it is. Calls for other runs do not matter, nor does the time.
    Chance(Probability, F),
    /// The first of these the first time, and so on. None: all goes well that time.
    Script(Vec<Option<F>>),
}

impl<F> When<F> {
    /// The next time.
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

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Probability(f64);

impl Probability {
    /// None for what is not from 0 to 1.
    #[must_use]
    pub fn new(probability: f64) -> Option<Self> {
        (0.0..=1.0).contains(&probability).then_some(Self(probability))
    }

    pub(crate) fn get(self) -> f64 {
        self.0
    }
}

/// Which calls a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    endpoints: BTreeSet<Endpoint>,
    of: OfRun,
}

impl Calls {
    /// Every call that the workspace knows.
    #[must_use]
    pub fn any() -> Self {
        Self { endpoints: BTreeSet::new(), of: OfRun::Any }
    }

    /// The calls of these endpoints; of none: every call.
    #[must_use]
    pub fn to(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        Self { endpoints: endpoints.into_iter().collect(), of: OfRun::Any }
    }

    /// Of those only the ones about runs of this name, submits included.
    #[must_use]
    pub fn of_run_named(mut self, run_name: impl Into<String>) -> Self {
        self.of = OfRun::Named(run_name.into());
        self
    }

    /// Of those only the ones about this run or its task runs.
    #[must_use]
    pub fn of_run(mut self, run_id: i64) -> Self {
        self.of = OfRun::Id(run_id);
        self
    }
}

/// Which calls about runs a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunCalls {
    endpoints: BTreeSet<Endpoint>,
    of: OfRun,
}

impl RunCalls {
    /// The calls of these endpoints; of none: of all three.
    #[must_use]
    pub fn to(calls: impl IntoIterator<Item = RunCall>) -> Self {
        let mut endpoints: BTreeSet<Endpoint> = calls.into_iter().map(Endpoint::from).collect();
        if endpoints.is_empty() {
            endpoints.extend(RunCall::ALL.map(Endpoint::from));
        }
        Self { endpoints, of: OfRun::Any }
    }

    /// Of those only the ones about runs of this name.
    #[must_use]
    pub fn of_run_named(mut self, run_name: impl Into<String>) -> Self {
        self.of = OfRun::Named(run_name.into());
        self
    }

    /// Of those only the ones about this run or its task runs.
    #[must_use]
    pub fn of_run(mut self, run_id: i64) -> Self {
        self.of = OfRun::Id(run_id);
        self
    }
}

/// A call about one run that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunCall {
    /// `GET jobs/runs/get`.
    GetRun,
    /// `GET jobs/runs/get-output`.
    GetRunOutput,
    /// `POST jobs/runs/cancel`.
    CancelRun,
}

impl RunCall {
    const ALL: [Self; 3] = [Self::GetRun, Self::GetRunOutput, Self::CancelRun];

    pub(crate) fn of(endpoint: Endpoint) -> Option<Self> {
        Self::ALL.into_iter().find(|call| Endpoint::from(*call) == endpoint)
    }
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
pub(crate) enum OfRun {
    Any,
    Named(String),
    Id(i64),
}

impl OfRun {
    pub(crate) fn matches(&self, subject: &Subject) -> bool {
        match self {
            Self::Any => true,
            Self::Named(name) => subject.run_name.as_ref() == Some(name),
            Self::Id(id) => subject.run_id == Some(*id),
        }
    }
}

/// The run that a call is about, as far as it names one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    /// Not known of a submit. Of a task run it is the run around it.
    pub(crate) run_id: Option<i64>,
    pub(crate) run_name: Option<String>,
}
