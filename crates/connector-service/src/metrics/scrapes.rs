//! Tracks scrapes, so that a shutdown can wait for the last one.

use std::time::Duration;

use tokio::sync::watch;

/// Time for the response of the last scrape to be sent.
const FLUSH_TIME: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// There was a scrape.
    was_scraped: bool,
    /// A value has changed since the last scrape.
    is_stale: bool,
}

#[derive(Debug, Default)]
pub(super) struct Scrapes(watch::Sender<State>);

impl Scrapes {
    /// Records a scrape.
    pub(super) fn scraped(&self) {
        self.0.send_replace(State { was_scraped: true, is_stale: false });
    }

    /// Records that a value has changed.
    pub(super) fn value_changed(&self) {
        self.0.send_if_modified(|state| !std::mem::replace(&mut state.is_stale, true));
    }

    /// Waits until the latest values have been scraped. Returns immediately if there was no scrape yet or no value changed.
    pub(super) async fn last(&self) {
        let mut state = self.0.subscribe();
        let State { was_scraped, is_stale } = *state.borrow_and_update();
        if was_scraped && is_stale {
            // Cannot fail: `self` holds the sender.
            drop(state.wait_for(|state| !state.is_stale).await);
            tokio::time::sleep(FLUSH_TIME).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_only_for_changed_values_that_are_scraped() {
        let scrapes = Scrapes::default();
        scrapes.value_changed();
        assert!(scrapes.last().now_or_never().is_some(), "no scrape yet");
        scrapes.scraped();
        assert!(scrapes.last().now_or_never().is_some(), "no value changed");
        scrapes.value_changed();
        let mut last = Box::pin(scrapes.last());
        assert!(last.as_mut().now_or_never().is_none());
        scrapes.scraped();
        last.await;
    }
}
