//! The program `connector-server`: serves the Databricks connector.
//!
//! This crate holds the flags and environment variables of the Databricks connector, their validation, the set of
//! connectors, and the subcommands `check` and `demo`. The server itself is [`connector_service`], which any other
//! connector can use without this crate. [`cli::run`] is the whole program except for the exit code.

#![forbid(unsafe_code)]

mod args;
mod check;
pub mod cli;
mod config;
mod connectors;
#[cfg(feature = "demo")]
pub mod demo;
mod environment;
mod namespace_secrets;
mod table;

pub use args::{Args, Command, DatabricksArgs, Entrypoint, JobsApi, ServeArgs, UserFailures};
pub use config::Config;
pub use connectors::registry;
pub use environment::Environment;
