//! Integration tests of the binary and of the Databricks connector behind the server, against the emulator.
//!
//! `workspace`, `fixtures`, `process`, `server` and `eventually` are shared by the tests. Tests of the server without a
//! particular connector belong to `connector-service`.
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

mod check;
mod cli;
mod dashboards;
mod databricks;
#[cfg(feature = "demo")]
mod demo;
mod fault_matrix;
#[path = "../../../../fixtures/requests.rs"]
mod fixtures;
mod hosts;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod log_memory;
mod observability;
mod paused_workspace;
mod process;
mod python_plugin;
mod request_memory;
mod response_memory;
#[cfg(feature = "s3")]
mod s3_logs;
mod secrets;
mod shutdown;
mod task_metrics;
mod time_pressure;
mod traces;
mod transport;
mod workspace;

// Shared with the tests of connector-service.
#[allow(dead_code, reason = "shared")]
#[path = "../../../connector-service/tests/it/authority.rs"]
mod authority;
#[path = "../../../connector-service/tests/it/eventually.rs"]
mod eventually;
#[allow(dead_code, reason = "shared")]
#[path = "../../../connector-service/tests/it/raw.rs"]
mod raw;
#[allow(dead_code, reason = "shared")]
#[path = "../../../connector-service/tests/it/server.rs"]
mod server;
