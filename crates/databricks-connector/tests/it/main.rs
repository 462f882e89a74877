//! The connector against an emulated workspace.
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

mod conformance;
mod create;
mod credential_check;
mod delete;
#[path = "../../../../fixtures/requests.rs"]
mod fixtures;
mod get;
mod harness;
mod log_sources;
mod logs;
mod logs_and_metrics;
mod namespace_secret;
mod orphans;
mod outputs;
mod pod_templates;
mod prometheus;
mod rate_limits;
mod refused_credentials;
mod rejections;
mod run_answers;
mod submissions;
mod workspaces;
