//! `cargo xtask package`: builds each published crate from the files of its package.

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{MetadataCommand, Package};
use xshell::{Shell, cmd};

/// Packages the crates that are published, and builds each from its package. Packages find one another in a temporary
/// registry of cargo's, so that none needs to be on crates.io. Nothing is uploaded.
pub(crate) fn run(sh: &Shell) -> Result<()> {
    println!("{}", run_part(sh)?);
    Ok(())
}

/// As [`run`], for `nightly`. Returns a summary.
pub(crate) fn run_part(sh: &Shell) -> Result<String> {
    let metadata = MetadataCommand::new()
        .current_dir(sh.current_dir())
        .no_deps()
        .exec()
        .context("`cargo metadata` failed")?;
    let names = published(&metadata.packages);
    if names.is_empty() {
        bail!("no crate has `publish = true`");
    }
    // Otherwise every package has its own target directory, and compiles all dependencies again.
    let _target = sh.push_env("CARGO_TARGET_DIR", &metadata.target_directory);
    let selected = names.iter().flat_map(|name| ["--package", name]);
    cmd!(sh, "cargo package --locked --allow-dirty --all-features {selected...}")
        .run()
        .context("a crate does not build from its package")?;
    Ok(format!("{} crates build from their packages: {}", names.len(), names.join(", ")))
}

/// Returns the names of the crates that are published.
pub(crate) fn published(packages: &[Package]) -> Vec<String> {
    let is_published =
        |package: &&Package| package.publish.as_ref().is_none_or(|to| !to.is_empty());
    packages.iter().filter(is_published).map(|package| package.name.to_string()).collect()
}
