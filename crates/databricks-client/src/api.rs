//! The REST APIs: request and response types, and the [`Client`](crate::Client) methods that call them.
//!
//! One module for each API. Requests contain the caller's JSON unchanged. Responses are read leniently and within bounds
//! (`json`): unknown fields are ignored, unknown enum values are kept, and any field may be absent or of another form
//! (databricks-api.md#model-drift).
//!
//! Every call may return any [`ErrorKind`](crate::ErrorKind); methods document only their special cases.
//!
//! Does not belong here: retries, rate limits and headers (`client`, `http`), and tokens (`auth`).

#![expect(
    clippy::missing_errors_doc,
    reason = "every call returns the kinds of [`ErrorKind`](crate::ErrorKind)"
)]

pub mod clusters;
pub mod dbfs;
pub mod jobs;
pub(crate) mod json;
mod not_found;
mod open_enum;
mod pages;
mod run_id;
pub mod statements;
pub mod volumes;
pub mod workspace;

pub use run_id::{InvalidRunId, RunId};
