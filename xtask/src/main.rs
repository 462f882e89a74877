//! The project's automation, run as `cargo xtask <command>`. One module for each command.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks on its standard streams"
)]

mod ci;
mod codegen;
mod fuzz;
mod interop;
mod kubernetes;
mod nightly;
mod prometheus;
mod sbom;
mod soak;
mod tidy;
mod tools;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use std::path::Path;
use std::process::ExitCode;
use xshell::Shell;

/// The project's automation.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs everything that a change has to pass. Needs Rust alone.
    Ci(ci::Args),
    /// Writes the Rust bindings and the descriptor set from `proto/`.
    Codegen(codegen::Args),
    /// Checks bindings and server against programs that others wrote. Needs Python.
    Interop(interop::Args),
    /// Runs what takes longer than a minute, or needs more than Rust.
    Nightly(nightly::Args),
    /// Lists what the server is made of, as `CycloneDX`, to go beside its image.
    Sbom(sbom::Args),
    /// Drives thousands of tasks through servers that are killed, against a workspace with faults.
    Soak(soak::Args),
    /// Checks the repository's own rules: layers, manifests, source files, links.
    Tidy,
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let sh = Shell::new().context("cannot tell the current folder")?;
    sh.change_dir(
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent folder")?,
    );
    match command {
        Command::Ci(args) => ci::run(&sh, &args),
        Command::Codegen(args) => codegen::run(&sh, &args),
        Command::Interop(args) => interop::run(&sh, &args),
        Command::Nightly(args) => nightly::run(&sh, &args),
        Command::Sbom(args) => sbom::run(&sh, &args),
        Command::Soak(args) => soak::run(&sh, &args),
        Command::Tidy => tidy::run(&sh),
    }
}
