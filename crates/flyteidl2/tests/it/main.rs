//! Tests of the bindings, against requests encoded by other bindings.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests"
)]

mod debug;
mod descriptor;
mod requests;
