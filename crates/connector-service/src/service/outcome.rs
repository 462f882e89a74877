//! Runs a connector's code so that neither a panic nor a slow answer reaches the transport.

use std::{panic::AssertUnwindSafe, time::Instant};

use connector_core::{Error, ErrorKind};
use futures_util::FutureExt as _;

/// What the connector's future gives, or `DeadlineExceeded` at `answer_at`, or `Internal` when it panics.
pub(crate) async fn guarded<T>(
    answer_at: Instant,
    work: impl Future<Output = Result<T, Error>> + Send,
) -> Result<T, Error> {
    tokio::time::timeout_at(answer_at.into(), caught(work))
        .await
        .unwrap_or_else(|_elapsed| Err(too_late()))
}

/// What the future gives, or `Internal` when it panics.
pub(crate) async fn caught<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_panic| {
        // The panic hook has logged where and what; that may hold anything, so the caller is not told.
        Err(Error::internal("the connector failed on this call through a bug")
            .with_hint("see the connector server's log"))
    })
}

/// The answer to a caller whose time is over.
pub(crate) fn too_late() -> Error {
    Error::new(ErrorKind::DeadlineExceeded, "the connector did not answer in time")
        .with_hint("a longer timeout can be set in the executor's plugins.connector-service")
}
