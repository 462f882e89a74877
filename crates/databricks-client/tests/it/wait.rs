//! Bounded waits.

use std::time::Duration;

/// Waits until the condition is true. Panics after 30 seconds.
#[track_caller]
pub(crate) fn eventually(mut is_true: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let poll = async {
            while !is_true() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let outcome = tokio::time::timeout(Duration::from_secs(30), poll).await;
        assert!(outcome.is_ok(), "the condition at {caller} stays false");
    }
}
