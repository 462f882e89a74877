//! Tests of the emulator through its listeners.
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
mod data_files;
#[cfg(unix)]
mod exec;
mod faults;
mod lifecycle;
mod list_runs;
mod submit_run;
mod workspace_files;
