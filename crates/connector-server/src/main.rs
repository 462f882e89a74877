//! The binary: parse, run, exit code.

#![forbid(unsafe_code)]

use std::{process::ExitCode, sync::Arc};

use clap::Parser as _;
use connector_server::{Args, Environment, StandardVariables, cli, misspelt};
use connector_service::Failure;

const PROGRAM: &str = "connector-server";

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(asked) if !asked.use_stderr() => {
            // `--help` and `--version`; a closed pipe is no reason to fail.
            drop(asked.print());
            return ExitCode::SUCCESS;
        }
        Err(usage) => return Failure::usage(&usage).report(PROGRAM),
    };
    let outcome = Environment::read(|name| std::env::var_os(name))
        .map(|environment| Environment {
            standard: StandardVariables(Arc::new(|name| {
                std::env::var_os(name)?.into_string().ok()
            })),
            misspelt: misspelt(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())),
            ..environment
        })
        .map_err(Failure::from);
    match outcome.and_then(|environment| cli::run(args, environment)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(PROGRAM),
    }
}
