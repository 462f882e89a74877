//! Counts detached work: background tasks whose callers all have their response.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Number of detached background tasks. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Detached(Arc<AtomicUsize>);

impl Detached {
    /// Returns the current number.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns a guard for one task, which counts from [`DetachedGuard::detach`] until it is dropped.
    pub(crate) fn guard(&self) -> DetachedGuard {
        DetachedGuard { detached: self.clone(), is_detached: false }
    }
}

/// One background task.
#[derive(Debug)]
pub(crate) struct DetachedGuard {
    detached: Detached,
    is_detached: bool,
}

impl DetachedGuard {
    /// Counts the task as detached. Later calls have no effect.
    pub(crate) fn detach(&mut self) {
        if !std::mem::replace(&mut self.is_detached, true) {
            self.detached.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for DetachedGuard {
    fn drop(&mut self) {
        if self.is_detached {
            self.detached.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_counts_once_between_detach_and_drop() {
        let detached = Detached::default();
        let mut guard = detached.guard();
        let unused = detached.guard();
        assert_eq!(detached.count(), 0);
        guard.detach();
        guard.detach();
        assert_eq!(detached.count(), 1);
        drop((guard, unused));
        assert_eq!(detached.count(), 0);
    }
}
