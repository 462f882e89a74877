//! Programs that are not Rust's own: found, or installed into `.tools`, pinned by version.

use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// Ignored by git. Everything that xtask installs lies here.
pub(crate) const FOLDER: &str = ".tools";

const CARGO_DENY: &str = "0.20.2";
const CARGO_FUZZ: &str = "0.13.2";
/// Reports of grpcurl's own version are "dev build" when Go built it, so the version is in the folder's name.
const GRPCURL: &str = "v1.9.3";
/// minio's release tags are no Go versions, so a commit it is.
const MINIO: &str = "v0.0.0-20260212201848-7aac2a2c5b7c";
/// The newest are sometimes refused by the proxy, so this one is some months old.
const FAKE_GCS_SERVER: &str = "v1.54.0";
const AZURITE: &str = "3.35.0";

/// Does `program` start and end well?
pub(crate) fn works(sh: &Shell, program: &str, args: &[&str]) -> bool {
    cmd!(sh, "{program} {args...}").quiet().ignore_stdout().ignore_stderr().run().is_ok()
}

/// Fails with the one line that mends it when rustfmt or clippy is not there.
pub(crate) fn require_component(sh: &Shell, component: &str, subcommand: &str) -> Result<()> {
    if works(sh, "cargo", &[subcommand, "--version"]) {
        return Ok(());
    }
    bail!("{component} is not installed: run `rustup component add {component}`")
}

/// The program `cargo-deny` in the pinned version, which is built when it is not there.
pub(crate) fn cargo_deny(sh: &Shell, target: &Path) -> Result<PathBuf> {
    built_by_cargo(sh, target, "cargo-deny", CARGO_DENY)
}

/// The program `cargo-fuzz` in the pinned version, which is built when it is not there.
pub(crate) fn cargo_fuzz(sh: &Shell, target: &Path) -> Result<PathBuf> {
    built_by_cargo(sh, target, "cargo-fuzz", CARGO_FUZZ)
}

fn built_by_cargo(sh: &Shell, target: &Path, name: &str, version: &str) -> Result<PathBuf> {
    let wanted = format!("{name} {version}");
    let own = sh.current_dir().join(FOLDER).join("bin").join(name);
    for program in [PathBuf::from(name), own.clone()] {
        let found = cmd!(sh, "{program} --version").quiet().ignore_stderr().read();
        if found.is_ok_and(|found| found.trim() == wanted) {
            return Ok(program);
        }
    }
    println!("{wanted} is not there: building it into {FOLDER}/, about a minute, once");
    let built = target.join("tools");
    cmd!(
        sh,
        "cargo install {name} --locked --version {version} --debug --force --root {FOLDER} --target-dir {built}"
    )
    .run()
    .with_context(|| format!("{name} cannot be built; is crates.io reachable?"))?;
    Ok(own)
}

/// The program `grpcurl` in the pinned version, which Go builds when it is not there.
pub(crate) fn grpcurl(sh: &Shell) -> Result<PathBuf> {
    built_by_go(sh, "grpcurl", GRPCURL, "github.com/fullstorydev/grpcurl/cmd/grpcurl")
}

/// The program `minio` in the pinned version, which Go builds when it is not there.
pub(crate) fn minio(sh: &Shell) -> Result<PathBuf> {
    built_by_go(sh, "minio", MINIO, "github.com/minio/minio")
}

/// The program `fake-gcs-server` in the pinned version, which Go builds when it is not there.
pub(crate) fn fake_gcs_server(sh: &Shell) -> Result<PathBuf> {
    built_by_go(sh, "fake-gcs-server", FAKE_GCS_SERVER, "github.com/fsouza/fake-gcs-server")
}

/// The blob service of Azurite in the pinned version, which npm installs when it is not there.
pub(crate) fn azurite(sh: &Shell) -> Result<PathBuf> {
    let folder = sh.current_dir().join(FOLDER).join(format!("azurite-{AZURITE}"));
    let program = folder.join("node_modules/.bin/azurite-blob");
    let finished = folder.join("finished");
    if sh.path_exists(&finished) {
        return Ok(program);
    }
    if !works(sh, "npm", &["--version"]) {
        bail!(
            "npm is not installed, and Azurite comes from it: install Node.js from https://nodejs.org or as the package `npm`"
        );
    }
    println!(
        "azurite {AZURITE} is not there: installing it into {FOLDER}/ with npm, half a minute, once"
    );
    sh.create_dir(&folder)?;
    let package = format!("azurite@{AZURITE}");
    let quiet = ["--no-save", "--no-audit", "--no-fund", "--loglevel=error"];
    cmd!(sh, "npm install {quiet...} --prefix {folder} {package}")
        .run()
        .context("azurite cannot be installed; is the npm registry reachable?")?;
    sh.write_file(finished, "")?;
    Ok(program)
}

fn built_by_go(sh: &Shell, name: &str, version: &str, package: &str) -> Result<PathBuf> {
    let folder = sh.current_dir().join(FOLDER).join(format!("{name}-{version}"));
    let program = folder.join(name);
    if sh.path_exists(&program) {
        return Ok(program);
    }
    if !works(sh, "go", &["version"]) {
        bail!(
            "Go is not installed, and {name} is built with it: install Go from https://go.dev/dl or as the package `golang`"
        );
    }
    println!(
        "{name} {version} is not there: building it into {FOLDER}/ with Go, half a minute to two, once"
    );
    let module = format!("{package}@{version}");
    cmd!(sh, "go install {module}")
        .env("GOBIN", &folder)
        .run()
        .with_context(|| format!("{name} cannot be built; is the Go module proxy reachable?"))?;
    Ok(program)
}
