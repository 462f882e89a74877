//! Validates the software bill of materials with the library of `CycloneDX`, and checks the dependencies for advisories.

use super::{python::Python, report};
use crate::{sbom, tools};
use anyhow::{Result, bail};
use cargo_metadata::MetadataCommand;
use xshell::{Shell, cmd};

/// Runs both checks.
pub(crate) fn run(sh: &Shell) -> Result<String> {
    let document = sbom::write_full(sh)?;
    let python = Python::with(sh, "sbom.txt", &[])?;
    let tally = python.run(sh, "sbom.py", &[document.to_string_lossy().as_ref()])?;
    report(&tally)?;
    Ok(format!("{tally}; {}", advisories(sh)?))
}

/// Checks the dependencies against the advisory database. Reports, but does not fail, if the database is unreachable.
fn advisories(sh: &Shell) -> Result<&'static str> {
    let metadata = MetadataCommand::new().current_dir(sh.current_dir()).no_deps().exec()?;
    let program = tools::cargo_deny(sh, metadata.target_directory.as_std_path())?;
    if !tools::works(sh, &program.to_string_lossy(), &["fetch", "db"]) {
        return Ok("advisories not checked: the database is unreachable");
    }
    if cmd!(sh, "{program} check advisories").run().is_err() {
        bail!("a dependency has an advisory: update it, or record in deny.toml why it can stay");
    }
    Ok("no advisory for any dependency")
}
