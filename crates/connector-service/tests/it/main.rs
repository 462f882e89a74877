//! Integration tests: a gRPC client against a server with a scripted connector, on free loopback ports.
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
mod connections;
mod drain;
mod eventually;
mod grpc;
mod load;
mod raw;
mod reflection;
mod scripted;
mod server;
mod tls;
