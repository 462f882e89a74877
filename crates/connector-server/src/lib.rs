//! The program `connector-server`: serves the Databricks connector.
//!
//! Holds the flags, the configuration, the set of connectors, and the subcommands `check` and `demo`. The server itself
//! is [`connector_service`], which any other connector can use without this crate. [`cli::run`] is the whole program
//! except for the exit code.

#![forbid(unsafe_code)]

mod args;
mod check;
pub mod cli;
mod config;
mod connectors;
pub mod demo;
mod namespace_secrets;

pub use args::{
    Args, Command, Entrypoint, Environment, JobsApi, ReadVariable, ServeArgs, StandardVariables,
    UserFailures, WorkspaceArgs, misspelt, variables,
};
pub use config::Config;
pub use connectors::registry;
