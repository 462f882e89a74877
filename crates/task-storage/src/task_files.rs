//! The files under the output prefix of an attempt.

use std::{
    fmt,
    time::{Duration, Instant},
};

use flyteidl2::{
    core::{ContainerError, ErrorDocument},
    task::Inputs,
};
use prost::Message as _;
use tracing::{Instrument as _, Span};

use crate::{StorageError, StorageFuture};

/// The largest `error.pb` that is read, in bytes.
const MAX_ERROR_BYTES: u64 = 1024 * 1024;

/// The largest `inputs.pb` that is written, in bytes.
const MAX_INPUT_BYTES: usize = 10 * 1024 * 1024;

/// Delays between attempts to write the inputs.
const WRITE_RETRY_DELAYS: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(900)];

/// Reads and writes whole files. An operation takes at most two seconds and is not retried.
pub trait TaskStorage: fmt::Debug + Send + Sync {
    /// Reads a file. Returns `None` if it does not exist, and an error if it is larger than `max_bytes`.
    fn read<'a>(&'a self, url: &'a str, max_bytes: u64) -> StorageFuture<'a, Option<Vec<u8>>>;

    /// Returns the size of a file in bytes. `None` if it does not exist.
    fn size<'a>(&'a self, url: &'a str) -> StorageFuture<'a, Option<u64>>;

    /// Writes a whole file atomically, and replaces an existing one. Read-only by default: returns an error.
    fn write<'a>(&'a self, url: &'a str, _content: Vec<u8>) -> StorageFuture<'a, ()> {
        let message = format!("cannot write {url}: the storage is read-only");
        Box::pin(async move { Err(StorageError::Permanent(message)) })
    }
}

/// Reads `error.pb`, the error that Flyte's runtime wrote. Returns `None` if there is none.
///
/// # Errors
///
/// Failures to read or decode the file. Uses at most half of the time before `deadline`.
pub async fn read_error(
    storage: &dyn TaskStorage,
    output_prefix: &str,
    deadline: Option<Instant>,
) -> Result<Option<ContainerError>, StorageError> {
    let url = file_url(output_prefix, "error.pb");
    let Some(bytes) = within_half(storage.read(&url, MAX_ERROR_BYTES), &url, deadline).await?
    else {
        return Ok(None);
    };
    match ErrorDocument::decode(bytes.as_slice()) {
        Ok(document) => Ok(Some(document.error.unwrap_or_default())),
        Err(error) => Err(StorageError::Permanent(format!("cannot decode {url}: {error}"))),
    }
}

/// Returns the size of `outputs.pb` in bytes. `None` if Flyte's runtime wrote none.
///
/// # Errors
///
/// Failures to check. Uses at most half of the time before `deadline`.
pub async fn outputs_size(
    storage: &dyn TaskStorage,
    output_prefix: &str,
    deadline: Option<Instant>,
) -> Result<Option<u64>, StorageError> {
    let url = file_url(output_prefix, "outputs.pb");
    within_half(storage.size(&url), &url, deadline).await
}

/// Returns the URL to which [`write_inputs`] writes.
pub fn inputs_url(output_prefix: &str) -> String {
    file_url(output_prefix, "inputs.pb")
}

/// Writes `inputs.pb` of an attempt. Idempotent: a repeated call for the attempt writes the same content.
///
/// Retries transient failures, because a failed call costs the task an attempt.
///
/// # Errors
///
/// Inputs that are too large, and failures to write. Uses at most half of the time before `deadline`.
pub async fn write_inputs(
    storage: &dyn TaskStorage,
    output_prefix: &str,
    inputs: &Inputs,
    deadline: Option<Instant>,
) -> Result<(), StorageError> {
    let url = inputs_url(output_prefix);
    let size = inputs.encoded_len();
    if size > MAX_INPUT_BYTES {
        return Err(StorageError::Permanent(format!(
            "the inputs have {size} bytes; the limit is {MAX_INPUT_BYTES}"
        )));
    }
    let budget = half_of_time_left(deadline);
    let write = write_with_retries(storage, &url, inputs.encode_to_vec(), budget);
    let write = tokio::time::timeout(budget, write).instrument(span("write", &url));
    write.await.unwrap_or_else(|_elapsed| Err(timed_out("writing", &url, budget)))
}

/// Retries transient failures for as long as the next delay fits into `budget`.
async fn write_with_retries(
    storage: &dyn TaskStorage,
    url: &str,
    content: Vec<u8>,
    mut budget: Duration,
) -> Result<(), StorageError> {
    for delay in WRITE_RETRY_DELAYS {
        match storage.write(url, content.clone()).await {
            Err(error) if error.is_transient() && delay < budget => {
                tokio::time::sleep(delay).await;
                budget -= delay;
            }
            result => return result,
        }
    }
    storage.write(url, content).await
}

/// Bounds a read by half of the time left, so that the caller can respond in time after further reads.
async fn within_half<T>(
    read: StorageFuture<'_, T>,
    url: &str,
    deadline: Option<Instant>,
) -> Result<T, StorageError> {
    let budget = half_of_time_left(deadline);
    let read = tokio::time::timeout(budget, read).instrument(span("read", url));
    read.await.unwrap_or_else(|_elapsed| Err(timed_out("reading", url, budget)))
}

fn timed_out(operation: &str, url: &str, budget: Duration) -> StorageError {
    let seconds = budget.as_secs_f64();
    StorageError::Transient(format!("{operation} {url} took more than {seconds:.1} s"))
}

/// Returns the tracing span of a storage operation, with scheme, bucket and file name.
pub fn span(operation: &'static str, url: &str) -> Span {
    let (scheme, rest) = url.split_once("://").unwrap_or(("file", url));
    tracing::trace_span!(
        "storage",
        otel.kind = "client",
        otel.name = format!("{operation} {}", rest.rsplit('/').next().unwrap_or(rest)),
        storage.scheme = scheme,
        storage.bucket = rest.split('/').next().unwrap_or(rest),
    )
}

fn half_of_time_left(deadline: Option<Instant>) -> Duration {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    left.map_or(Duration::MAX, |left| left / 2)
}

fn file_url(prefix: &str, name: &str) -> String {
    format!("{}/{name}", prefix.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Fails a number of writes with this error.
    #[derive(Debug)]
    struct FailingWrites(AtomicU32, StorageError);

    impl TaskStorage for FailingWrites {
        fn read<'a>(&'a self, _: &'a str, _: u64) -> StorageFuture<'a, Option<Vec<u8>>> {
            Box::pin(async { Ok(None) })
        }

        fn size<'a>(&'a self, _: &'a str) -> StorageFuture<'a, Option<u64>> {
            Box::pin(async { Ok(None) })
        }

        fn write<'a>(&'a self, _: &'a str, _: Vec<u8>) -> StorageFuture<'a, ()> {
            let left = self.0.load(Ordering::Relaxed);
            self.0.store(left.saturating_sub(1), Ordering::Relaxed);
            Box::pin(async move { if left > 0 { Err(self.1.clone()) } else { Ok(()) } })
        }
    }

    /// Writes to a store whose first `failures` writes fail. Returns the result and the number of
    /// failures that did not occur.
    async fn write(failures: u32, error: StorageError) -> (Result<(), StorageError>, u32) {
        let storage = FailingWrites(AtomicU32::new(failures), error);
        let written = write_inputs(&storage, "s3://b/a0/1", &Inputs::default(), None).await;
        (written, storage.0.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn transient_write_failures_are_retried_twice() {
        let transient = StorageError::Transient("slow down".to_owned());
        assert_eq!(write(2, transient.clone()).await, (Ok(()), 0));
        assert_eq!(write(9, transient.clone()).await, (Err(transient), 6));
        let permanent = StorageError::Permanent("forbidden".to_owned());
        assert_eq!(write(9, permanent.clone()).await, (Err(permanent), 8));
    }
}
