//! The batch connector from outside: conformance, gRPC, shutdown.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "tests"
)]

mod broken;
mod conformance;
mod guide;
mod process;
mod served;
mod service;
mod soak;
