//! Semaphore permits of calls: pools to acquire them from, and the set that a response carries.

use std::{sync::Arc, time::Instant};

use http::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::middleware::Rejection;

/// Messages up to this size need no memory permit: the limit on calls bounds them.
const SMALL_BYTES: u64 = 32 * 1024;

/// Memory is counted in units of this many bytes.
const UNIT_BYTES: u64 = 1024;

/// A permit of a call. Released with its last clone.
pub(super) type Permit = Arc<OwnedSemaphorePermit>;

/// A semaphore on which calls queue in order of arrival, until their deadline or shutdown.
#[derive(Debug, Clone)]
pub(super) struct PermitPool {
    semaphore: Arc<Semaphore>,
    stop: CancellationToken,
}

impl PermitPool {
    /// A pool of this many permits. `stop` is cancelled at shutdown.
    pub(super) fn new(permits: usize, stop: CancellationToken) -> Self {
        Self { semaphore: semaphore(permits), stop }
    }

    /// A pool of memory for [`PermitPool::acquire_memory`].
    pub(super) fn of_memory(bytes: u64, stop: CancellationToken) -> Self {
        Self::new(usize::try_from(bytes / UNIT_BYTES).unwrap_or(usize::MAX), stop)
    }

    /// Waits for permits until `respond_by`.
    ///
    /// # Errors
    ///
    /// [`Rejection`] at `respond_by` and at shutdown.
    pub(super) async fn acquire(
        &self,
        permits: u32,
        respond_by: Instant,
    ) -> Result<Permit, Rejection> {
        let permit = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Rejection::stopping()),
            // A permit that arrives now is too late to be useful.
            () = tokio::time::sleep_until(respond_by.into()) => {
                return Err(Rejection::busy("the server has too many calls: timed out in the queue"));
            }
            permit = Arc::clone(&self.semaphore).acquire_many_owned(permits) => permit,
        };
        permit.map(Arc::new).map_err(|_closed| Rejection::stopping())
    }

    /// Waits for memory until `respond_by`. None if so little is needed that it is not counted.
    ///
    /// # Errors
    ///
    /// As [`PermitPool::acquire`].
    pub(super) async fn acquire_memory(
        &self,
        bytes: u64,
        respond_by: Instant,
    ) -> Result<Option<Permit>, Rejection> {
        if bytes <= SMALL_BYTES {
            return Ok(None);
        }
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        self.acquire(units, respond_by).await.map(Some)
    }
}

/// Creates a semaphore. Caps the count at tokio's maximum.
pub(super) fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
}

/// Response extension: the permits to hold until the response body is sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Permits(Vec<Permit>);

impl Permits {
    /// Adds a permit to the response, if there is one.
    pub(super) fn attach<B>(response: &mut Response<B>, permit: impl Into<Option<Permit>>) {
        response.extensions_mut().get_or_insert_default::<Self>().0.extend(permit.into());
    }

    /// Takes all permits from the response.
    pub(super) fn take<B>(response: &mut Response<B>) -> Self {
        response.extensions_mut().remove().unwrap_or_default()
    }
}
