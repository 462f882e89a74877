//! Drives thousands of tasks against real `connector-server` processes and a fake workspace with faults, while the
//! servers are killed, and says whether any task froze, any attempt ran twice, or any run was left behind.
//!
//! `cargo xtask soak` builds the server and starts this. The model of the executor is the one that the traces of the
//! real one hold; the servers are processes of their own, so that SIGKILL means what it means.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks on its standard streams"
)]

mod cast;
mod drive;
mod fleet;
mod job;
mod ledger;
mod network;
mod summary;
mod weather;

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Drives many tasks through replicas of a server that are killed, against a fake workspace with faults.
#[derive(Debug, Clone, Parser)]
#[command(name = "soak", version)]
struct Args {
    /// The program `connector-server`.
    #[arg(long, value_name = "PATH")]
    server: PathBuf,

    /// How many tasks.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    tasks: u64,

    /// Where every choice comes from: what becomes of a task, and which fault strikes when. The order in which calls
    /// meet is the machine's.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// How many replicas of the server.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=16))]
    replicas: u16,

    /// How many tasks are under way at once.
    #[arg(long, value_name = "N", default_value_t = 300)]
    at_once: usize,

    /// Faults of the workspace, per hundred calls.
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=90))]
    faults: u8,

    /// Milliseconds from one kill or replacement of a replica to the next, on average; 0: never.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 2000)]
    kill_every: u64,

    /// How many times shorter the executor's waits between two polls and two looks are than the stock 30 s and 10 s.
    #[arg(long, value_name = "FACTOR", default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..))]
    faster: u32,

    /// Further flags of the server.
    #[arg(last = true)]
    server_flags: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(drive::BoxError::from)
        .and_then(|runtime| runtime.block_on(drive::run(&args)));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::from(2)
        }
    }
}
