//! Serves Flyte connectors over gRPC.
//!
//! A program registers its connectors and hands the [`connector_core::Registry`] to a [`Server`]. This crate adds the
//! rest of a production server: TLS, authorization, limits, health, reflection, metrics, logs, traces, deadlines,
//! detached task creation and graceful shutdown. It knows no particular connector.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use clap::Parser;
//! use connector_core::Registry;
//! use connector_service::{Failure, Server, ServiceArgs, ServiceConfig};
//!
//! #[derive(Parser)]
//! struct Args {
//!     #[command(flatten)]
//!     service: ServiceArgs,
//! }
//!
//! fn main() -> ExitCode {
//!     serve(&Args::parse()).map_or_else(|failure| failure.report("my-connector"), |()| ExitCode::SUCCESS)
//! }
//!
//! fn serve(args: &Args) -> Result<(), Failure> {
//!     let config = ServiceConfig::from_env(&args.service, &["my_connector"])?;
//!     let registry = Registry::builder().build()?; // .register(MyConnector::new())
//!     Server::builder(registry).config(config).run()
//! }
//! ```
//!
//! By default the gRPC port speaks plaintext, listens on all interfaces and serves every caller. Set `--tls-cert`,
//! `--caller-tokens` or `--caller-names` to change that.
//!
//! To embed a server in a program that has its own logging and signal handling, use [`ServerBuilder::bind`] and
//! [`Server::serve`]:
//!
//! ```no_run
//! use connector_core::Registry;
//! use connector_service::{Server, ServiceConfig};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ServiceConfig { host: Some("127.0.0.1".to_owned()), ..ServiceConfig::default() };
//! let server = Server::builder(Registry::builder().build()?).config(config).bind().await?;
//! server.serve(async { drop(tokio::signal::ctrl_c().await) }).await?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod admin;
pub mod args;
mod config;
mod config_error;
mod deadline;
mod error_chain;
mod evicting_set;
mod failure;
mod health;
mod listen;
mod metrics;
mod server;
mod service;
mod signals;
mod status;
mod telemetry;
mod traces;
mod transport;

// Crates whose types appear in this API.
pub use {clap, connector_core, tonic};

pub use args::{LogFormat, ServiceArgs};
pub use config::{LogConfig, ServiceConfig};
pub use config_error::ConfigError;
pub use error_chain::error_chain;
pub use failure::Failure;
pub use listen::BindError;
pub use server::{ServeError, Server, ServerBuilder};
pub use signals::{ShutdownSignal, ShutdownSignals};
pub use status::code_name;
pub use telemetry::Telemetry;
pub use traces::propagation_headers;
pub use transport::{Callers, HealthAccess, Limits, Tls, TlsFiles};

/// Compiles the examples in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
