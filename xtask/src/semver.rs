//! Compares the public interfaces of the libraries with the latest release.

use crate::{package, tools};
use anyhow::{Context as _, Result};
use cargo_metadata::{MetadataCommand, Package};
use xshell::{Shell, cmd};

/// The interface of this crate is its command line, not its library.
const PROGRAM: &str = "connector-server";

/// Fails if a library breaks its users and its version does not say so. The baseline is the latest tag of a release.
/// Returns a summary.
pub(crate) fn run(sh: &Shell) -> Result<String> {
    let found = cmd!(sh, "git describe --tags --abbrev=0 --match v[0-9]*").quiet().ignore_stderr();
    let Ok(tag) = found.read() else {
        return Ok("skipped: there is no release to compare with (no tag `v…`)".to_owned());
    };
    let metadata = MetadataCommand::new()
        .current_dir(sh.current_dir())
        .no_deps()
        .exec()
        .context("`cargo metadata` failed")?;
    let published = package::published(&metadata.packages);
    let libraries: Vec<&str> = metadata
        .packages
        .iter()
        .filter(|package| published.contains(&package.name) && package.name.as_str() != PROGRAM)
        .filter(|package| existed(sh, &tag, package))
        .map(|package| package.name.as_str())
        .collect();
    if libraries.is_empty() {
        return Ok(format!("skipped: {tag} has none of the published libraries"));
    }
    let tool = tools::cargo_semver_checks(sh, metadata.target_directory.as_std_path())?;
    let selected = libraries.iter().flat_map(|name| ["--package", name]);
    cmd!(sh, "{tool} semver-checks --baseline-rev {tag} {selected...}")
        .run()
        .with_context(|| format!("an interface differs from {tag} more than its version says"))?;
    Ok(format!(
        "{} libraries are compatible with {tag}, or their versions say otherwise",
        libraries.len()
    ))
}

/// True if the revision has this package.
fn existed(sh: &Shell, revision: &str, package: &Package) -> bool {
    let Ok(manifest) = package.manifest_path.strip_prefix(sh.current_dir()) else { return false };
    let object = format!("{revision}:{manifest}");
    let name = format!("name = \"{}\"", package.name);
    let found = cmd!(sh, "git show {object}").quiet().ignore_stderr().read();
    found.is_ok_and(|text| text.lines().any(|line| line == name))
}
