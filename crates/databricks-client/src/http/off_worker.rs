//! Moves heavy work off the workers of the asynchronous runtime.

use crate::{Error, ErrorKind};

/// The largest body that is read on a worker, in bytes. It takes about a millisecond.
const MAX_ON_WORKER: usize = 256 * 1024;

/// Runs work on a body of this size: a large one on a thread for blocking work, so that other calls do not wait for it.
///
/// # Errors
///
/// `Decode` if the work could not be completed.
pub(crate) async fn off_worker<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    if bytes <= MAX_ON_WORKER {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|interrupted| {
        Error::new(ErrorKind::Decode, "reading the response was interrupted")
            .with_source(interrupted)
    })
}
