//! The connector against a fake workspace.
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

mod abandoned;
mod budget;
mod check;
mod create;
mod delete;
#[path = "../../../../fixtures/requests.rs"]
mod fixtures;
mod get;
mod log_sources;
mod logs;
mod logs_and_metrics;
mod namespace_secret;
mod outputs;
mod pod_templates;
mod prometheus;
mod refusals;
mod setup;
mod shapes;
mod workspaces;
