//! Compares the model with the observed behaviour of the real executor.
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

mod backend;
mod network;
mod outages;
mod plugin;
mod scripted;
mod served;
