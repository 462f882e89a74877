//! The emulator over its real listeners, by a client that knows nothing of it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "tests"
)]

mod access;
mod admin;
mod binary;
mod client;
mod clusters;
#[cfg(unix)]
mod exec;
mod faults;
mod files;
mod lifecycle;
mod listing;
mod storage;
mod submitting;
