//! Work that goes on after everybody who asked for it was answered.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How much of it there is. Cheap to clone; every clone counts the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unawaited(Arc<AtomicUsize>);

impl Unawaited {
    /// How much there is now.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A piece of work, which counts from when it is said to be answered to when this is dropped.
    pub(crate) fn piece(&self) -> Piece {
        Piece { unawaited: self.clone(), is_answered: false }
    }
}

/// A piece of work.
#[derive(Debug)]
pub(crate) struct Piece {
    unawaited: Unawaited,
    is_answered: bool,
}

impl Piece {
    /// Nobody waits for it any more.
    pub(crate) fn answered(&mut self) {
        if !std::mem::replace(&mut self.is_answered, true) {
            self.unawaited.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if self.is_answered {
            self.unawaited.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_counts_once_and_only_between_its_answer_and_its_end() {
        let unawaited = Unawaited::default();
        let mut piece = unawaited.piece();
        let never = unawaited.piece();
        assert_eq!(unawaited.count(), 0);
        piece.answered();
        piece.answered();
        assert_eq!(unawaited.count(), 1);
        drop((piece, never));
        assert_eq!(unawaited.count(), 0);
    }
}
