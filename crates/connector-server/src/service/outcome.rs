//! Runs a connector's code so that neither a panic nor a slow answer reaches the transport.

use std::{panic::AssertUnwindSafe, time::Instant};

use connector_core::{Error, ErrorKind};
use futures_util::FutureExt as _;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};

/// What the connector's future gives, or `DeadlineExceeded` at `answer_at`, or `Internal` when it panics.
pub(super) async fn guarded<T>(
    answer_at: Instant,
    work: impl Future<Output = Result<T, Error>> + Send,
) -> Result<T, Error> {
    tokio::time::timeout_at(answer_at.into(), caught(work))
        .await
        .unwrap_or_else(|_elapsed| Err(too_late()))
}

/// As [`guarded`], but the work goes on when the time is over or the caller goes away, and a drain waits for it.
pub(super) async fn detached<T: Send + 'static>(
    answer_at: Instant,
    tracker: &TaskTracker,
    span: Span,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let (answer, answered) = tokio::sync::oneshot::channel();
    tracker.spawn(
        async move {
            if let Err(unheard) = answer.send(caught(work).await) {
                let error = unheard.err().map(|error| crate::status::message(&error));
                tracing::warn!(
                    error,
                    "the work ended after its caller had gone or had been told that time ran out"
                );
            }
        }
        .instrument(span),
    );
    match tokio::time::timeout_at(answer_at.into(), answered).await {
        Ok(Ok(outcome)) => outcome,
        // The task cannot end without an answer, unless the runtime itself is going down.
        Ok(Err(_gone)) => Err(Error::new(ErrorKind::Unavailable, "the server is stopping")),
        Err(_elapsed) => Err(too_late()),
    }
}

async fn caught<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_panic| {
        // The panic hook has logged where and what; that may hold anything, so the caller is not told.
        Err(Error::internal("the connector failed on this call through a bug")
            .with_hint("see the connector server's log"))
    })
}

fn too_late() -> Error {
    Error::new(ErrorKind::DeadlineExceeded, "the connector did not answer in time")
        .with_hint("a longer timeout can be set in the executor's plugins.connector-service")
}
