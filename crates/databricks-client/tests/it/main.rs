//! Tests of the client against servers on loopback.
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
mod child_process;
mod clusters;
mod errors;
mod files;
mod fixture;
mod jobs;
mod many_hosts;
mod proxy;
mod rate_limit;
mod raw_server;
mod redaction;
mod retry;
mod runs;
mod statements;
mod storage;
mod tls;
mod versions;
mod wait;
