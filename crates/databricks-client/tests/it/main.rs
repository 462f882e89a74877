//! The client on the wire, against servers on loopback.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "tests"
)]

mod auth;
mod budget;
mod child;
mod clusters;
mod errors;
mod files;
mod jobs;
mod many_hosts;
mod proxy;
mod raw;
mod redaction;
mod retry;
mod statements;
mod storage;
mod tls;
mod versions;
mod workspace;
