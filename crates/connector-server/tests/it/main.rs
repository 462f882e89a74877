//! Integration tests: a real gRPC client against a real server on free ports of the loopback interface.
#![allow(
    clippy::allow_attributes,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod canary;
mod check;
mod cli;
mod dashboards;
mod databricks;
mod demo;
mod fault_matrix;
mod gated;
mod hosts;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod memory;
mod memory_of_logs;
mod parity;
mod s3_logs;
mod series;
mod sight;
mod stop;
mod traces;
mod transport;

// Shared with the tests of connector-service.
#[allow(dead_code, reason = "shared")]
#[path = "../../../connector-service/tests/it/authority.rs"]
mod authority;
#[allow(dead_code, reason = "shared")]
#[path = "../../../connector-service/tests/it/raw.rs"]
mod raw;
#[allow(dead_code, reason = "shared")]
#[path = "../../../connector-service/tests/it/server.rs"]
mod server;
