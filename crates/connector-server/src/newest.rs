//! Keeps the newest of many. When there are too many, the oldest is ended: an honest client is done in a moment, so
//! those who never are keep nobody else out.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// The newest of those that are here.
#[derive(Debug)]
pub(crate) struct Newest {
    most: usize,
    here: Mutex<Here>,
}

/// By their age, the oldest first.
#[derive(Debug, Default)]
struct Here {
    next: u64,
    tokens: BTreeMap<u64, CancellationToken>,
}

/// One that is here. It leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Guest<'a> {
    all: &'a Newest,
    number: u64,
    ended: CancellationToken,
}

impl Newest {
    /// None here, and at most so many at once, but always one.
    pub(crate) fn new(most: usize) -> Self {
        Self { most: most.max(1), here: Mutex::default() }
    }

    /// Another has come.
    pub(crate) fn enter(&self) -> Guest<'_> {
        let ended = CancellationToken::new();
        let mut here = self.lock();
        let number = here.next;
        here.next += 1;
        here.tokens.insert(number, ended.clone());
        if here.tokens.len() > self.most
            && let Some((_, oldest)) = here.tokens.pop_first()
        {
            oldest.cancel();
        }
        Guest { all: self, number, ended }
    }

    fn lock(&self) -> MutexGuard<'_, Here> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest<'_> {
    /// Done when this one has to go.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.all.lock().tokens.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let all = Newest::new(2);
        let is_ended = |one: &Guest<'_>| one.ended().now_or_never().is_some();
        let (first, second, third) = (all.enter(), all.enter(), all.enter());
        assert_eq!([&first, &second, &third].map(is_ended), [true, false, false]);
        drop(first);
        drop(third);
        // Two again, since one left.
        let fourth = all.enter();
        assert_eq!([&second, &fourth].map(is_ended), [false, false]);
        let fifth = all.enter();
        assert_eq!([&second, &fourth, &fifth].map(is_ended), [true, false, false]);
    }
}
