//! Isolates the transport from a connector's code: panics become errors, and slow calls end at their deadline.

use std::{panic::AssertUnwindSafe, time::Instant};

use connector_core::{Error, ErrorKind};
use futures_util::FutureExt as _;

/// Runs a connector's future until `respond_by`. Returns `DeadlineExceeded` then, and `Internal` if it panics.
pub(crate) async fn with_deadline<T>(
    respond_by: Instant,
    future: impl Future<Output = Result<T, Error>> + Send,
) -> Result<T, Error> {
    tokio::time::timeout_at(respond_by.into(), catch_panic(future))
        .await
        .unwrap_or_else(|_elapsed| Err(deadline_exceeded()))
}

/// Runs a connector's future. Returns `Internal` if it panics.
pub(crate) async fn catch_panic<T>(
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    AssertUnwindSafe(future).catch_unwind().await.unwrap_or_else(|_panic| {
        // The panic hook has logged it. The message may contain a secret, so the caller does not get it.
        Err(Error::internal("the connector panicked, which is a bug")
            .with_hint("see the connector server's log"))
    })
}

/// The error of a call whose deadline has passed.
pub(crate) fn deadline_exceeded() -> Error {
    Error::new(ErrorKind::DeadlineExceeded, "the connector did not respond in time")
        .with_hint(
            "a call may take the `defaultTimeout` of the executor's plugins.connector-service, and on this server at most \
             60 s (GetTask 30 s)",
        )
}
