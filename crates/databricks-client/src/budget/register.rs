//! The budgets of one workspace, by credential. Bounded.

use std::{
    collections::HashMap,
    hash::RandomState,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::{Budget, BudgetPolicy};
use crate::Credentials;

/// Credentials with a budget of their own, at each workspace.
const MAX_BUDGETS: usize = 100;

/// One budget for each credential.
#[derive(Debug)]
pub(crate) struct Budgets {
    policy: BudgetPolicy,
    /// Secrets are told apart by their hash alone.
    key: RandomState,
    by_identity: Mutex<HashMap<u64, Arc<Budget>>>,
}

impl Budgets {
    pub(crate) fn new(policy: BudgetPolicy) -> Self {
        Self { policy, key: RandomState::new(), by_identity: Mutex::default() }
    }

    /// The budget of a credential. When too many credentials call at the same time, some share one.
    pub(crate) fn of(&self, credentials: &Credentials, now: Instant) -> Arc<Budget> {
        let identity = credentials.identity(&self.key);
        let mut budgets = self.lock();
        if let Some(budget) = budgets.get(&identity) {
            return Arc::clone(budget);
        }
        if budgets.len() >= MAX_BUDGETS {
            forget_idle(&mut budgets, now);
        }
        if budgets.len() >= MAX_BUDGETS
            && let Some(busy) = budgets.values().next()
        {
            return Arc::clone(busy);
        }
        let budget = Budget::new(credentials.name(), self.policy, now);
        budgets.insert(identity, Arc::clone(&budget));
        budget
    }

    /// Every budget there is, ordered by the names of their credentials.
    pub(crate) fn all(&self) -> Vec<Arc<Budget>> {
        let mut all: Vec<_> = self.lock().values().map(Arc::clone).collect();
        all.sort_by(|one, other| one.credential().cmp(other.credential()));
        all
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Budget>>> {
        self.by_identity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the budgets that nobody holds and that are as new, but for the half that was used last.
fn forget_idle(budgets: &mut HashMap<u64, Arc<Budget>>, now: Instant) {
    let idle_since = |budget: &Arc<Budget>| {
        (Arc::strong_count(budget) == 1).then(|| budget.idle_since(now)).flatten()
    };
    let mut idle: Vec<(Instant, u64)> = budgets
        .iter()
        .filter_map(|(identity, budget)| Some((idle_since(budget)?, *identity)))
        .collect();
    idle.sort_unstable();
    for (_, identity) in idle.iter().take(idle.len().div_ceil(2)) {
        budgets.remove(identity);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Lane;

    fn credentials(n: usize) -> Credentials {
        Credentials::personal_access_token("the task's secret", format!("dapi-{n}").into())
    }

    #[tokio::test]
    async fn the_same_secret_shares_a_budget_whatever_it_is_called() {
        let budgets = Budgets::new(BudgetPolicy::default());
        let now = Instant::now();
        let one = budgets.of(&credentials(1), now);
        let renamed = Credentials::personal_access_token("other", "dapi-1".to_owned().into());
        assert!(Arc::ptr_eq(&one, &budgets.of(&renamed, now)));
        assert!(!Arc::ptr_eq(&one, &budgets.of(&credentials(2), now)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_is_bounded_and_a_budget_in_use_stays() {
        let budgets = Budgets::new(BudgetPolicy::default());
        let held = budgets.of(&credentials(0), Instant::now());
        let used = budgets.of(&credentials(1), Instant::now());
        drop(used.turn(Lane::Writes, Instant::now() + Duration::from_secs(1)).await.unwrap());
        drop(used);
        for n in 2..10 * MAX_BUDGETS {
            budgets.of(&credentials(n), Instant::now());
            assert!(budgets.lock().len() <= MAX_BUDGETS);
        }
        assert!(Arc::ptr_eq(&held, &budgets.of(&credentials(0), Instant::now())));
        // Its bucket is not full again, so it is not forgotten: a new one would give the burst once more.
        assert!(budgets.all().iter().any(|budget| budget.idle_since(Instant::now()).is_none()));
    }

    #[tokio::test]
    async fn too_many_at_the_same_time_share() {
        let budgets = Budgets::new(BudgetPolicy::default());
        let now = Instant::now();
        let held: Vec<_> = (0..MAX_BUDGETS).map(|n| budgets.of(&credentials(n), now)).collect();
        let shared = budgets.of(&credentials(MAX_BUDGETS), now);
        assert!(held.iter().any(|budget| Arc::ptr_eq(budget, &shared)));
    }
}
