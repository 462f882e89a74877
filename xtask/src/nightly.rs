//! `cargo xtask nightly`: what takes longer than a minute or needs more than Rust.

use crate::{fuzz, interop, soak};
use anyhow::{Result, bail};
use std::time::Instant;
use xshell::Shell;

/// A part: its name, and what it says of itself when it passed.
type Part = (&'static str, fn(&Shell) -> Result<String>);

const PARTS: [Part; 3] =
    [("interop", interop::run_full), ("soak", soak::run_large), ("fuzz", fuzz::run)];

/// Runs every part, whatever became of the ones before, and ends with a summary.
pub(crate) fn run(sh: &Shell) -> Result<()> {
    let mut summary = Vec::new();
    let mut failed = 0;
    for (index, (name, part)) in PARTS.iter().enumerate() {
        println!("part {}/{} {name} …", index + 1, PARTS.len());
        let started = Instant::now();
        let outcome = match part(sh) {
            Ok(said) => format!("ok    {name}: {said}"),
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
        bail!("{failed} of {} parts failed", PARTS.len());
    }
    Ok(())
}
