//! Serves the batch connector.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use batch_connector::{Args, BatchConnector};
use clap::Parser as _;
use connector_core::Registry;
use connector_service::{Failure, Server, ServiceConfig};

fn main() -> ExitCode {
    let served = serve(&Args::parse());
    served.map_or_else(|failure| failure.report("batch-connector"), |()| ExitCode::SUCCESS)
}

fn serve(args: &Args) -> Result<(), Failure> {
    let config = ServiceConfig::from_env(&args.service, &["batch_connector"])?;
    let connector = BatchConnector::new(&args.url).map_err(|error| Failure::new(&error))?;
    let registry = Registry::builder().register(connector).build()?;
    Server::builder(registry).config(config).run()
}
