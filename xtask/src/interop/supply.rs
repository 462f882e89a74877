//! What the server is made of, seen by others: its list is read by the library of those who made the format, and its
//! dependencies are looked up among the known advisories.

use super::{python::Python, report};
use crate::{sbom, tools};
use anyhow::{Result, bail};
use cargo_metadata::MetadataCommand;
use xshell::{Shell, cmd};

/// Checks both.
pub(crate) fn run(sh: &Shell) -> Result<String> {
    let document = sbom::write_full(sh)?;
    let python = Python::with(sh, "sbom.txt", &[])?;
    let tally = python.run(sh, "sbom.py", &[document.to_string_lossy().as_ref()])?;
    report(&tally)?;
    Ok(format!("{tally}; {}", advisories(sh)?))
}

/// The database of advisories comes from the network. Where it cannot be had, that is said, and nothing fails.
fn advisories(sh: &Shell) -> Result<&'static str> {
    let metadata = MetadataCommand::new().current_dir(sh.current_dir()).no_deps().exec()?;
    let program = tools::cargo_deny(sh, metadata.target_directory.as_std_path())?;
    if !tools::works(sh, &program.to_string_lossy(), &["fetch", "db"]) {
        return Ok("advisories not looked at: their database cannot be reached from here");
    }
    if cmd!(sh, "{program} check advisories").run().is_err() {
        bail!(
            "something is known against a dependency: update it, or write into deny.toml why it may stay"
        );
    }
    Ok("no advisory against any dependency")
}
