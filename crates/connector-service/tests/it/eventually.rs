//! Bounded waiting for a condition.

use std::time::Duration;

/// Longer than any start or change takes, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

const INTERVAL: Duration = Duration::from_millis(20);

/// Polls `probe` until it returns a value. Panics after 90 s.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            match probe().await {
                Some(value) => return value,
                None => tokio::time::sleep(INTERVAL).await,
            }
        }
    };
    tokio::time::timeout(LIMIT, polling)
        .await
        .unwrap_or_else(|_| panic!("not within {} s: {what}", LIMIT.as_secs()))
}

/// Polls `condition` until it is true. Panics after 90 s.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    eventually(what, async || condition().await.then_some(())).await;
}
