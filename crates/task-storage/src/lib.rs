//! Files of Flyte tasks in object stores: `error.pb`, `outputs.pb`, `inputs.pb` and log files.
//!
//! [`TaskStorage`] is what the functions [`read_error`], [`outputs_size`] and [`write_inputs`] need of a store, and
//! [`LogStorage`] what a log reader needs; [`ObjectStores`] implements both. What the content means for a task does not
//! belong here.
//!
//! ```
//! use task_storage::{ObjectStores, outputs_size};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let size = outputs_size(&ObjectStores::new(), "file:///tmp/no-such-run", None).await;
//! assert_eq!(size, Ok(None));
//! # });
//! ```

#![forbid(unsafe_code)]

mod clouds;
mod error;
mod log_files;
mod object_stores;
mod task_files;
mod url;

use std::time::Duration;

// Crates whose types appear in this API.
pub use {flyteidl2, secrecy, tracing};

pub use error::{StorageError, StorageFuture};
pub use log_files::{LogFile, LogStorage, S3Folder};
pub use object_stores::ObjectStores;
pub use task_files::{TaskStorage, inputs_url, outputs_size, read_error, span, write_inputs};

/// Compiles the examples in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Bounds every operation of [`ObjectStores`] except listing.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
