//! Project automation: `cargo xtask <command>`. One module per command.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool writes to its standard streams"
)]

mod ci;
mod codegen;
mod fuzz;
mod interop;
mod kubernetes;
mod nightly;
mod package;
mod prometheus;
mod sbom;
mod semver;
mod soak;
mod tidy;
mod tools;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use std::path::Path;
use std::process::ExitCode;
use xshell::Shell;

/// Project automation.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the checks that every change must pass. Needs only Rust.
    Ci(ci::Args),
    /// Generates the Rust bindings and the descriptor set from `proto/`.
    Codegen(codegen::Args),
    /// Tests bindings, server and emulator against third-party programs. Needs Python.
    Interop(interop::Args),
    /// Runs the slow checks and those that need more than Rust.
    Nightly(nightly::Args),
    /// Builds each published crate from its package. Uploads nothing.
    Package,
    /// Writes the server's software bill of materials in CycloneDX format.
    Sbom(sbom::Args),
    /// Runs thousands of tasks while servers are killed and the emulator injects faults.
    Soak(soak::Args),
    /// Checks the repository's conventions: layers, manifests, source files, links, citations, language.
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
    let sh = Shell::new().context("cannot read the current directory")?;
    sh.change_dir(
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent directory")?,
    );
    match command {
        Command::Ci(args) => ci::run(&sh, &args),
        Command::Codegen(args) => codegen::run(&sh, &args),
        Command::Interop(args) => interop::run(&sh, &args),
        Command::Nightly(args) => nightly::run(&sh, &args),
        Command::Package => package::run(&sh),
        Command::Sbom(args) => sbom::run(&sh, &args),
        Command::Soak(args) => soak::run(&sh, &args),
        Command::Tidy => tidy::run(&sh),
    }
}
