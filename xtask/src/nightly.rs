//! `cargo xtask nightly`: the slow checks, and those that need more than Rust.

use crate::{
    fuzz,
    interop::{self, executed_runs, object_stores, outages, s3_logs, supply_chain},
    kubernetes, package, prometheus, semver, soak,
};
use anyhow::{Result, bail};
use std::time::Instant;
use xshell::Shell;

/// A part's name, and the function that runs it and returns a summary.
type Part = (&'static str, fn(&Shell) -> Result<String>);

const PARTS: [Part; 13] = [
    ("interop", interop::run_full),
    ("executed-runs", executed_runs::run),
    ("outages", outages::run),
    ("stores", object_stores::run),
    ("s3-logs", s3_logs::run),
    ("supply", supply_chain::run),
    ("package", package::run_part),
    ("semver", semver::run),
    ("kubernetes", kubernetes::run),
    ("prometheus", prometheus::run),
    ("soak", soak::run_large),
    ("example-soak", soak::run_example),
    ("fuzz", fuzz::run),
];

/// Flags of `nightly`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs only this part. Can be repeated.
    #[arg(long, value_name = "PART", value_parser = PARTS.map(|(name, _)| name))]
    only: Vec<String>,
}

/// Runs every part, also after a failure, and prints a summary.
pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    let is_wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let parts: Vec<&Part> = PARTS.iter().filter(|(name, _)| is_wanted(name)).collect();
    let mut summary = Vec::new();
    let mut failed = 0;
    for (index, (name, part)) in parts.iter().enumerate() {
        println!("part {}/{} {name} …", index + 1, parts.len());
        let started = Instant::now();
        let outcome = match part(sh) {
            Ok(summary) => format!("ok    {name}: {summary}"),
            Err(error) => {
                failed += 1;
                format!("FAIL  {name}: {error:#}")
            }
        };
        let line = format!("{outcome} ({:.0} s)", started.elapsed().as_secs_f64());
        println!("{line}");
        summary.push(line);
    }
    println!("\nnightly\n{}", summary.join("\n"));
    if failed > 0 {
        bail!("{failed} of {} parts failed", parts.len());
    }
    Ok(())
}
