//! Tests of the registry and of resource meta.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    clippy::allow_attributes,
    reason = "tests"
)]

mod meta;
mod registry;
mod stub;
