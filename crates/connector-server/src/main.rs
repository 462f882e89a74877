//! Parses the command line, runs it and sets the exit code.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use connector_server::{Args, Environment, cli};
use connector_service::Failure;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if !error.use_stderr() => {
            // `--help` or `--version`. A closed pipe is not an error.
            drop(error.print());
            return ExitCode::SUCCESS;
        }
        Err(error) => return Failure::usage(&error).report("connector-server"),
    };
    match cli::run(args, &Environment::of_process()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report("connector-server"),
    }
}
