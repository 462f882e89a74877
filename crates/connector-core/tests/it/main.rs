//! Tests of the registry, of resource meta, and of the building blocks of connectors.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    clippy::allow_attributes,
    reason = "tests"
)]

mod attempt;
#[path = "../../../../fixtures/requests.rs"]
mod fixtures;
mod literal;
mod meta;
mod registry;
mod stub;
mod template;
