//! A Flyte connector for a batch service with an HTTP job API: the example of `docs/adding-a-connector.md`.
//!
//! [`BatchConnector`] translates between Flyte and the service, [`job_api`] speaks HTTP, and `main` serves it with
//! `connector-service`. `examples/job_api.rs` is a service to try it with.

#![forbid(unsafe_code)]

mod connector;
pub mod job_api;

pub use connector::{BatchConnector, JobMeta};

/// The command line: the flags of every connector server, and the address of the batch service.
#[derive(Debug, clap::Parser)]
#[command(version, about = "Runs Flyte tasks of type `batch` as jobs of a batch service.")]
pub struct Args {
    /// Address of the batch service.
    #[arg(long, env = "BATCH_URL", default_value = "http://127.0.0.1:8100")]
    pub url: String,

    /// The flags of every connector server.
    #[command(flatten)]
    pub service: connector_service::ServiceArgs,
}
