//! A bounded set that evicts (closes) its oldest entry. Bounds connections that have not proved to be useful yet: a
//! well-behaved client leaves the set quickly, so idle peers cannot keep others out.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// A set of live entries with a maximum size.
#[derive(Debug)]
pub(crate) struct EvictingSet {
    capacity: usize,
    entries: Mutex<Entries>,
}

/// The entries by age, the oldest first.
#[derive(Debug, Default)]
struct Entries {
    next_id: u64,
    tokens: BTreeMap<u64, CancellationToken>,
}

/// Membership in the set. Ends on drop.
#[derive(Debug)]
pub(crate) struct EvictingEntry<'a> {
    set: &'a EvictingSet,
    id: u64,
    evicted: CancellationToken,
}

impl EvictingSet {
    /// Creates an empty set. A capacity of 0 counts as 1.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), entries: Mutex::default() }
    }

    /// Adds an entry. Evicts the oldest one if the set is full.
    pub(crate) fn insert(&self) -> EvictingEntry<'_> {
        let evicted = CancellationToken::new();
        let mut entries = self.lock();
        let id = entries.next_id;
        entries.next_id += 1;
        entries.tokens.insert(id, evicted.clone());
        if entries.tokens.len() > self.capacity
            && let Some((_, oldest)) = entries.tokens.pop_first()
        {
            oldest.cancel();
        }
        EvictingEntry { set: self, id, evicted }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EvictingEntry<'_> {
    /// Waits until this entry is evicted.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for EvictingEntry<'_> {
    fn drop(&mut self) {
        self.set.lock().tokens.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn oldest_entry_is_evicted_when_the_set_is_full() {
        let set = EvictingSet::new(2);
        let is_evicted = |entry: &EvictingEntry<'_>| entry.evicted().now_or_never().is_some();
        let (first, second, third) = (set.insert(), set.insert(), set.insert());
        assert_eq!([&first, &second, &third].map(is_evicted), [true, false, false]);
        drop(first);
        drop(third);
        // One entry left, so the next one evicts nothing.
        let fourth = set.insert();
        assert_eq!([&second, &fourth].map(is_evicted), [false, false]);
        let fifth = set.insert();
        assert_eq!([&second, &fourth, &fifth].map(is_evicted), [true, false, false]);
    }
}
