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

mod admin;
mod authority;
mod callers;
mod canary;
mod check;
mod cli;
mod connections;
mod dashboards;
mod databricks;
mod demo;
mod drain;
mod fault_matrix;
mod gated;
mod grpc;
mod hosts;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod load;
mod memory;
mod memory_of_logs;
mod parity;
mod raw;
mod reflection;
mod s3_logs;
mod scripted;
mod series;
mod server;
mod sight;
mod stop;
mod tls;
mod traces;
