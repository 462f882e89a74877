//! The Flyte connector server: gRPC services, health, metrics, drain, and the command line.
//!
//! As a library it serves any [`connector_core::Registry`]:
//!
//! ```no_run
//! use connector_core::Registry;
//! use connector_server::{App, ServerConfig};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::builder().build()?; // register connectors here
//! let app = App::bind(ServerConfig { grpc_port: 0, prometheus_port: 0, ..ServerConfig::default() }, registry).await?;
//! println!("listening on {}", app.grpc_address());
//! app.run(std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! It logs through [`tracing`] and sets no subscriber there: a program that sets none sees no log. It listens in
//! plaintext, on all interfaces and to everybody, unless the [`ServerConfig`] says otherwise.
//!
//! As a binary it serves Databricks: [`cli::run`] is all of it but the exit code.

#![forbid(unsafe_code)]

mod admin;
mod app;
mod args;
mod check;
pub mod cli;
mod config;
mod connectors;
mod deadline;
pub mod demo;
mod door;
mod health;
mod listen;
mod metrics;
mod namespace_secrets;
mod newest;
mod service;
mod shutdown;
mod status;
mod telemetry;
mod traces;
mod unawaited;

pub use app::{App, ServeError};
pub use args::{
    Args, Command, DoorArgs, DoorEnvironment, Entrypoint, Environment, Health, LogFormat, NotText,
    ReadVariable, ServeArgs, SightArgs, StandardVariables, UserFailures, VARIABLES, Variable,
    WorkspaceArgs, misspelt,
};
pub use config::{Config, ConfigError, LogConfig, ServerConfig};
pub use connectors::registry;
pub use door::{Callers, HealthAccess, Limits, Tls, TlsFiles};
pub use listen::BindError;
