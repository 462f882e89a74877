//! Fault injection: which calls and connections fail, how, and how often they did.

mod canned_response;
mod fault;
mod plan;
mod random;
mod rule;

pub use canned_response::CannedResponse;
pub use fault::{ConnectionFault, Fault, RetryAfter, RunFault, SlowBody, TokenClock};
pub use plan::{FaultPlan, FaultPlanError};
pub(crate) use rule::RunIdentity;
pub use rule::{Calls, FaultRule, Probability, RunCall, RunCalls, When};

use crate::api::endpoint::Endpoint;
use rule::Target;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// How often the rules with one name injected a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FaultCount {
    /// The name of the rules.
    pub name: String,
    /// The number of injected faults so far. In JSON `struck`.
    #[serde(rename = "struck")]
    pub injected: u64,
    /// Whether any of the rules can still inject a fault. In JSON `waiting`.
    #[serde(rename = "waiting")]
    pub active: bool,
}

/// The active fault rules and their counts.
#[derive(Debug, Default)]
pub(crate) struct FaultInjector {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seed: u64,
    added: u64,
    rules: Vec<ActiveRule>,
    counts: BTreeMap<String, u64>,
    /// Closes the open HTTPS connections.
    https_connections: CancellationToken,
}

/// A rule and how often it matched.
#[derive(Debug)]
struct ActiveRule {
    name: String,
    target: Target,
    /// The number of matching calls or connections so far.
    matched: u64,
    /// For [`When::Chance`]: the number of matching calls by endpoint and run name.
    matched_by_run: HashMap<(Endpoint, Option<String>), u64>,
}

/// A fault to inject, and the name of its rule.
#[derive(Debug, PartialEq)]
pub(crate) struct InjectedFault<F> {
    pub(crate) rule: String,
    pub(crate) fault: F,
}

impl FaultInjector {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        let faults = Self::default();
        faults.set_plan(plan);
        faults
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces all rules and resets all counts.
    pub(crate) fn set_plan(&self, plan: FaultPlan) {
        let mut state = self.lock();
        let https_connections = std::mem::take(&mut state.https_connections);
        *state = State { seed: plan.seed, https_connections, ..State::default() };
        for rule in plan.rules {
            state.add(rule);
        }
    }

    /// Adds a rule after the existing ones.
    pub(crate) fn add(&self, rule: FaultRule) {
        self.lock().add(rule);
    }

    /// Removes the rules with this name. Returns true if there was one.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let mut state = self.lock();
        let before = state.rules.len();
        state.rules.retain(|rule| rule.name != name);
        state.rules.len() < before
    }

    pub(crate) fn counts(&self) -> Vec<FaultCount> {
        let state = self.lock();
        let is_active = |name: &String| state.rules.iter().any(|rule| rule.name == *name);
        let counts = state.counts.iter().map(|(name, injected)| FaultCount {
            name: name.clone(),
            injected: *injected,
            active: is_active(name),
        });
        counts.collect()
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.lock().counts.get(name).copied().unwrap_or_default()
    }

    /// Returns the token that is cancelled to close all open HTTPS connections.
    pub(crate) fn https_connections(&self) -> CancellationToken {
        self.lock().https_connections.clone()
    }

    /// Returns the fault to inject into this call. `run` looks up the run that the call names; it is called only if a rule
    /// matches the endpoint.
    pub(crate) fn next_call_fault(
        &self,
        endpoint: Endpoint,
        run: impl FnOnce() -> RunIdentity,
    ) -> Option<InjectedFault<RunFault>> {
        if !self.lock().rules.iter().any(|rule| rule.matches_endpoint(endpoint)) {
            return None;
        }
        // Without the lock, because the run store has its own.
        let run = run();
        self.lock().next_fault(|rule, seed| rule.next_call_fault(endpoint, &run, seed))
    }

    /// Returns the fault to inject into a new HTTPS connection.
    pub(crate) fn next_connection_fault(&self) -> Option<InjectedFault<ConnectionFault>> {
        self.lock().next_fault(ActiveRule::next_connection_fault)
    }
}

impl State {
    fn add(&mut self, rule: FaultRule) {
        self.added += 1;
        let name = rule.name.unwrap_or_else(|| format!("rule-{}", self.added));
        self.counts.entry(name.clone()).or_default();
        if matches!(rule.target, Target::Connections(_)) {
            std::mem::take(&mut self.https_connections).cancel();
        }
        let rule =
            ActiveRule { name, target: rule.target, matched: 0, matched_by_run: HashMap::new() };
        if !rule.is_exhausted() {
            self.rules.push(rule);
        }
    }

    /// Asks the rules in order and returns the fault of the first that injects one.
    fn next_fault<F>(
        &mut self,
        mut ask: impl FnMut(&mut ActiveRule, u64) -> Option<F>,
    ) -> Option<InjectedFault<F>> {
        let seed = self.seed;
        let injected = self.rules.iter_mut().find_map(|rule| {
            Some(InjectedFault { fault: ask(rule, seed)?, rule: rule.name.clone() })
        });
        self.rules.retain(|rule| !rule.is_exhausted());
        if let Some(injected) = &injected {
            *self.counts.entry(injected.rule.clone()).or_default() += 1;
        }
        injected
    }
}

impl ActiveRule {
    fn matches_endpoint(&self, endpoint: Endpoint) -> bool {
        matches!(&self.target, Target::Calls { endpoints, .. }
            if endpoints.is_empty() || endpoints.contains(&endpoint))
    }

    /// True if the rule will not inject a fault again.
    fn is_exhausted(&self) -> bool {
        match &self.target {
            Target::Calls { when, .. } => when.is_exhausted(self.matched),
            Target::Connections(when) => when.is_exhausted(self.matched),
        }
    }

    fn next_call_fault(
        &mut self,
        endpoint: Endpoint,
        run: &RunIdentity,
        seed: u64,
    ) -> Option<RunFault> {
        if !self.matches_endpoint(endpoint) {
            return None;
        }
        let Target::Calls { runs, when, .. } = &self.target else { return None };
        if !runs.matches(run) {
            return None;
        }
        let nth = match when {
            When::Chance(..) => {
                self.matched_by_run.entry((endpoint, run.run_name.clone())).or_default()
            }
            _ => &mut self.matched,
        };
        let endpoint = format!("{endpoint:?}");
        let run_name = run.run_name.as_deref().unwrap_or_default();
        let parts = [self.name.as_bytes(), endpoint.as_bytes(), run_name.as_bytes()];
        let fault = when.nth(*nth, || random::fraction(seed, &parts, *nth));
        *nth += 1;
        fault
    }

    fn next_connection_fault(&mut self, seed: u64) -> Option<ConnectionFault> {
        let Target::Connections(when) = &self.target else { return None };
        let nth = self.matched;
        self.matched += 1;
        when.nth(nth, || random::fraction(seed, &[self.name.as_bytes()], nth))
    }
}

impl<F: Clone> When<F> {
    /// Returns the fault for the nth match, counted from 0. `random` returns a number below 1.
    fn nth(&self, nth: u64, random: impl FnOnce() -> f64) -> Option<F> {
        match self {
            Self::Always(fault) => Some(fault.clone()),
            Self::Next(times, fault) => (nth < u64::from(times.get())).then(|| fault.clone()),
            Self::Chance(probability, fault) => {
                (random() < probability.get()).then(|| fault.clone())
            }
            Self::Script(faults) => faults.get(usize::try_from(nth).ok()?).cloned().flatten(),
        }
    }

    fn is_exhausted(&self, matched: u64) -> bool {
        match self {
            Self::Always(_) | Self::Chance(..) => false,
            Self::Next(times, _) => matched >= u64::from(times.get()),
            Self::Script(faults) => matched >= faults.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests;
