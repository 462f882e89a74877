//! Runs thousands of tasks against `connector-server` processes and an emulated workspace with faults, while the servers are
//! killed. Fails if a task freezes, an attempt has two runs, or a run is orphaned.
//!
//! `cargo xtask soak` builds the server and starts this program. The servers are separate processes, so that SIGKILL can be
//! tested.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program prints to its standard streams"
)]

mod driver;
mod faults;
mod faulty_network;
mod invariants;
mod replicas;
mod scenario;
mod summary;
mod task_requests;

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs many tasks through server replicas that are killed, against an emulated workspace with faults.
#[derive(Debug, Clone, Parser)]
#[command(name = "soak", version)]
struct Args {
    /// Path of the `connector-server` program.
    #[arg(long, value_name = "PATH")]
    server: PathBuf,

    /// Number of tasks.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    tasks: u64,

    /// Seed of all random choices: scenarios and faults. The interleaving of calls is not reproducible.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// Number of server replicas.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=16))]
    replicas: u16,

    /// Number of concurrent tasks.
    #[arg(long = "at-once", value_name = "N", default_value_t = 300)]
    concurrent: usize,

    /// Workspace faults per hundred calls.
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=90))]
    faults: u8,

    /// Average milliseconds between kills or replacements of a replica; 0: never.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 2000)]
    kill_every: u64,

    /// Factor by which the executor's intervals are shorter than the defaults, 30 s between polls and 10 s between
    /// reconciliations.
    #[arg(long, value_name = "FACTOR", default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..))]
    faster: u32,

    /// Additional flags of the server.
    #[arg(last = true)]
    server_flags: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(driver::BoxError::from)
        .and_then(|runtime| runtime.block_on(driver::run(&args)));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::from(2)
        }
    }
}
