//! Faults: what goes wrong with calls, runs and connections, and how often it did.

mod canned;
mod chance;
mod fault;
mod plan;
mod rule;

pub use canned::CannedAnswer;
pub use fault::{ConnectionFault, Dribble, Fault, RetryAfter, RunFault, TokenClock};
pub use plan::{FaultPlan, FaultPlanError};
pub(crate) use rule::Subject;
pub use rule::{Calls, FaultRule, Probability, RunCall, RunCalls, When};

use crate::endpoint::Endpoint;
use rule::Target;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// How often the rules of one name struck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FaultCount {
    /// The name of the rule or rules.
    pub name: String,
    /// How often they struck so far.
    pub struck: u64,
    /// Whether any of them may strike again.
    pub waiting: bool,
}

/// The rules that are in force, and what they did so far.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seed: u64,
    added: u64,
    rules: Vec<Armed>,
    struck: BTreeMap<String, u64>,
    /// Ends the connections that are open for HTTPS.
    open: CancellationToken,
}

/// A rule at work.
#[derive(Debug)]
struct Armed {
    name: String,
    target: Target,
    /// How often it was asked, and for chance how often by each endpoint for each run.
    asked: u64,
    asked_for: HashMap<(Endpoint, Option<String>), u64>,
}

/// What struck, and by which rule.
#[derive(Debug, PartialEq)]
pub(crate) struct Strike<F> {
    pub(crate) rule: String,
    pub(crate) fault: F,
}

impl Faults {
    pub(crate) fn of(plan: FaultPlan) -> Self {
        let faults = Self::default();
        faults.replace(plan);
        faults
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets every rule and count, and takes these rules.
    pub(crate) fn replace(&self, plan: FaultPlan) {
        let mut state = self.lock();
        let open = std::mem::take(&mut state.open);
        *state = State { seed: plan.seed, open, ..State::default() };
        for rule in plan.rules {
            state.add(rule);
        }
    }

    /// Takes one more rule, after those that are there.
    pub(crate) fn add(&self, rule: FaultRule) {
        self.lock().add(rule);
    }

    /// Takes the rules of this name out of force, and says whether there was one.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let mut state = self.lock();
        let before = state.rules.len();
        state.rules.retain(|rule| rule.name != name);
        state.rules.len() < before
    }

    pub(crate) fn counts(&self) -> Vec<FaultCount> {
        let state = self.lock();
        let waits = |name: &String| state.rules.iter().any(|rule| rule.name == *name);
        let counts = state.struck.iter();
        counts
            .map(|(name, struck)| FaultCount {
                name: name.clone(),
                struck: *struck,
                waiting: waits(name),
            })
            .collect()
    }

    pub(crate) fn struck(&self, name: &str) -> u64 {
        self.lock().struck.get(name).copied().unwrap_or_default()
    }

    /// What is cancelled when open connections are to end.
    pub(crate) fn open_connections(&self) -> CancellationToken {
        self.lock().open.clone()
    }

    /// What goes wrong with this call. The run that it is about is looked up only when a rule may care.
    pub(crate) fn strike_call(
        &self,
        endpoint: Endpoint,
        subject: impl FnOnce() -> Subject,
    ) -> Option<Strike<RunFault>> {
        // Looked up without the lock: the workspace has its own.
        if !self.lock().rules.iter().any(|rule| rule.is_for(endpoint)) {
            return None;
        }
        let subject = subject();
        self.lock().strike(|rule, seed| rule.strike_call(endpoint, &subject, seed))
    }

    /// What goes wrong with a new connection for HTTPS.
    pub(crate) fn strike_connection(&self) -> Option<Strike<ConnectionFault>> {
        self.lock().strike(Armed::strike_connection)
    }
}

impl State {
    fn add(&mut self, rule: FaultRule) {
        self.added += 1;
        let name = rule.name.unwrap_or_else(|| format!("rule-{}", self.added));
        self.struck.entry(name.clone()).or_default();
        if matches!(rule.target, Target::Connections(_)) {
            std::mem::take(&mut self.open).cancel();
        }
        let armed = Armed { name, target: rule.target, asked: 0, asked_for: HashMap::new() };
        if !armed.is_over() {
            self.rules.push(armed);
        }
    }

    /// Asks each rule, in order, until one strikes.
    fn strike<F>(
        &mut self,
        mut ask: impl FnMut(&mut Armed, u64) -> Option<F>,
    ) -> Option<Strike<F>> {
        let seed = self.seed;
        let struck = self
            .rules
            .iter_mut()
            .find_map(|rule| Some(Strike { fault: ask(rule, seed)?, rule: rule.name.clone() }));
        self.rules.retain(|rule| !rule.is_over());
        if let Some(strike) = &struck {
            *self.struck.entry(strike.rule.clone()).or_default() += 1;
        }
        struck
    }
}

impl Armed {
    fn is_for(&self, endpoint: Endpoint) -> bool {
        match &self.target {
            Target::Calls { endpoints, .. } => {
                endpoints.is_empty() || endpoints.contains(&endpoint)
            }
            Target::Connections(_) => false,
        }
    }

    fn is_over(&self) -> bool {
        match &self.target {
            Target::Calls { when, .. } => when.is_over(self.asked),
            Target::Connections(when) => when.is_over(self.asked),
        }
    }

    fn strike_call(
        &mut self,
        endpoint: Endpoint,
        subject: &Subject,
        seed: u64,
    ) -> Option<RunFault> {
        if !self.is_for(endpoint) {
            return None;
        }
        let Target::Calls { of, when, .. } = &self.target else { return None };
        if !of.matches(subject) {
            return None;
        }
        let nth = match when {
            When::Chance(..) => {
                self.asked_for.entry((endpoint, subject.run_name.clone())).or_default()
            }
            _ => &mut self.asked,
        };
        let endpoint = format!("{endpoint:?}");
        let run_name = subject.run_name.as_deref().unwrap_or_default();
        let parts = [self.name.as_bytes(), endpoint.as_bytes(), run_name.as_bytes()];
        let fault = when.nth(*nth, || chance::draw(seed, &parts, *nth));
        *nth += 1;
        fault
    }

    fn strike_connection(&mut self, seed: u64) -> Option<ConnectionFault> {
        let Target::Connections(when) = &self.target else { return None };
        let nth = self.asked;
        self.asked += 1;
        when.nth(nth, || chance::draw(seed, &[self.name.as_bytes()], nth))
    }
}

impl<F: Clone> When<F> {
    /// What strikes at this time, counted from 0.
    fn nth(&self, nth: u64, draw: impl FnOnce() -> f64) -> Option<F> {
        match self {
            Self::Always(fault) => Some(fault.clone()),
            Self::Next(times, fault) => (nth < u64::from(times.get())).then(|| fault.clone()),
            Self::Chance(probability, fault) => (draw() < probability.get()).then(|| fault.clone()),
            Self::Script(faults) => faults.get(usize::try_from(nth).ok()?).cloned().flatten(),
        }
    }

    /// Whether it will strike no more.
    fn is_over(&self, asked: u64) -> bool {
        match self {
            Self::Always(_) | Self::Chance(..) => false,
            Self::Next(times, _) => asked >= u64::from(times.get()),
            Self::Script(faults) => asked >= faults.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests;
