//! Who has read the numbers, so that a stop can wait for the one who reads them last.

use std::time::Duration;

use tokio::sync::watch;

/// How long an answer may take to get out once it is written.
const WAY_OUT: Duration = Duration::from_millis(250);

/// What was read so far.
#[derive(Debug, Clone, Copy, Default)]
struct Read {
    /// Somebody reads these numbers.
    ever: bool,
    /// A call was counted since.
    is_stale: bool,
}

#[derive(Debug, Default)]
pub(super) struct Scrapes(watch::Sender<Read>);

impl Scrapes {
    /// The numbers are read.
    pub(super) fn one_more(&self) {
        self.0.send_replace(Read { ever: true, is_stale: false });
    }

    /// A number has changed that must not be lost.
    pub(super) fn changed(&self) {
        self.0.send_if_modified(|read| !std::mem::replace(&mut read.is_stale, true));
    }

    /// Waits until somebody has read the latest numbers. Not at all when nobody ever reads them, or nothing is new.
    pub(super) async fn last_one(&self) {
        let mut read = self.0.subscribe();
        let Read { ever, is_stale } = *read.borrow_and_update();
        if ever && is_stale {
            // The sender lives as long as this.
            drop(read.wait_for(|read| !read.is_stale).await);
            tokio::time::sleep(WAY_OUT).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_news_for_somebody_who_reads_are_waited_for() {
        let scrapes = Scrapes::default();
        scrapes.changed();
        assert!(scrapes.last_one().now_or_never().is_some(), "nobody has ever read them");
        scrapes.one_more();
        assert!(scrapes.last_one().now_or_never().is_some(), "nothing is new");
        scrapes.changed();
        let mut last = Box::pin(scrapes.last_one());
        assert!(last.as_mut().now_or_never().is_none());
        scrapes.one_more();
        last.await;
    }
}
