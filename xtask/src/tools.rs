//! Finds external programs, or installs pinned versions into `.tools`.

use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// Directory of everything that xtask installs. Ignored by git.
pub(crate) const FOLDER: &str = ".tools";

const CARGO_CYCLONEDX: &str = "0.5.9";
const CARGO_DENY: &str = "0.20.2";
const CARGO_FUZZ: &str = "0.13.2";
const CARGO_SEMVER_CHECKS: &str = "0.51.0";
/// A grpcurl built by Go reports its version as "dev build", so the version is in the directory name.
const GRPCURL: &str = "v1.9.3";
const KUBE_APISERVER: &str = "1.34.2";
const PROMETHEUS: &str = "3.13.0";
const ETCD: &str = "v3.6.4";
/// A pseudo-version, because minio's release tags are not Go versions.
const MINIO: &str = "v0.0.0-20260212201848-7aac2a2c5b7c";
/// Some months old, because the module proxy sometimes rejects the newest versions.
const FAKE_GCS_SERVER: &str = "v1.54.0";
const AZURITE: &str = "3.35.0";

/// True if `program` runs and exits with success.
pub(crate) fn works(sh: &Shell, program: &str, args: &[&str]) -> bool {
    cmd!(sh, "{program} {args...}").quiet().ignore_stdout().ignore_stderr().run().is_ok()
}

/// Fails with the install command if a rustup component is missing.
pub(crate) fn require_component(sh: &Shell, component: &str, subcommand: &str) -> Result<()> {
    if works(sh, "cargo", &[subcommand, "--version"]) {
        return Ok(());
    }
    bail!("{component} is not installed: run `rustup component add {component}`")
}

/// Returns the path of `cargo-cyclonedx`, and builds it first if needed.
pub(crate) fn cargo_cyclonedx(sh: &Shell, target: &Path) -> Result<PathBuf> {
    built_by_cargo(sh, target, "cargo-cyclonedx", CARGO_CYCLONEDX, &["cyclonedx", "--version"])
}

/// Returns the path of `cargo-deny`, and builds it first if needed.
pub(crate) fn cargo_deny(sh: &Shell, target: &Path) -> Result<PathBuf> {
    built_by_cargo(sh, target, "cargo-deny", CARGO_DENY, &["--version"])
}

/// Returns the path of `cargo-fuzz`, and builds it first if needed.
pub(crate) fn cargo_fuzz(sh: &Shell, target: &Path) -> Result<PathBuf> {
    built_by_cargo(sh, target, "cargo-fuzz", CARGO_FUZZ, &["--version"])
}

/// Returns the path of `cargo-semver-checks`, and builds it first if needed.
pub(crate) fn cargo_semver_checks(sh: &Shell, target: &Path) -> Result<PathBuf> {
    let version_args = ["semver-checks", "--version"];
    built_by_cargo(sh, target, "cargo-semver-checks", CARGO_SEMVER_CHECKS, &version_args)
}

fn built_by_cargo(
    sh: &Shell,
    target: &Path,
    name: &str,
    version: &str,
    version_args: &[&str],
) -> Result<PathBuf> {
    let wanted = format!("{name} {version}");
    let own = sh.current_dir().join(FOLDER).join("bin").join(name);
    for program in [PathBuf::from(name), own.clone()] {
        let found = cmd!(sh, "{program} {version_args...}").quiet().ignore_stderr().read();
        if found.is_ok_and(|found| found.split_whitespace().last() == Some(version)) {
            return Ok(program);
        }
    }
    println!("{wanted} is not installed: building it into {FOLDER}/ once, one minute to ten");
    let built = target.join("tools");
    cmd!(
        sh,
        "cargo install {name} --locked --version {version} --debug --force --root {FOLDER} --target-dir {built}"
    )
    .run()
    .with_context(|| format!("cannot build {name}; is crates.io reachable?"))?;
    Ok(own)
}

/// Returns the path of `grpcurl`, and builds it first if needed.
pub(crate) fn grpcurl(sh: &Shell) -> Result<PathBuf> {
    built_by_go(sh, "grpcurl", GRPCURL, "github.com/fullstorydev/grpcurl/cmd/grpcurl")
}

/// Returns the path of `minio`, and builds it first if needed.
pub(crate) fn minio(sh: &Shell) -> Result<PathBuf> {
    built_by_go(sh, "minio", MINIO, "github.com/minio/minio")
}

/// Returns the path of `fake-gcs-server`, and builds it first if needed.
pub(crate) fn fake_gcs_server(sh: &Shell) -> Result<PathBuf> {
    built_by_go(sh, "fake-gcs-server", FAKE_GCS_SERVER, "github.com/fsouza/fake-gcs-server")
}

/// Returns the path of Azurite's blob service, and installs it with npm first if needed.
pub(crate) fn azurite(sh: &Shell) -> Result<PathBuf> {
    let folder = sh.current_dir().join(FOLDER).join(format!("azurite-{AZURITE}"));
    let program = folder.join("node_modules/.bin/azurite-blob");
    let finished = folder.join("finished");
    if sh.path_exists(&finished) {
        return Ok(program);
    }
    if !works(sh, "npm", &["--version"]) {
        bail!(
            "npm is not installed, and Azurite needs it: install Node.js from https://nodejs.org or the package `npm`"
        );
    }
    println!(
        "azurite {AZURITE} is not installed: installing it into {FOLDER}/ with npm once, half a minute"
    );
    sh.create_dir(&folder)?;
    let package = format!("azurite@{AZURITE}");
    let quiet = ["--no-save", "--no-audit", "--no-fund", "--loglevel=error"];
    cmd!(sh, "npm install {quiet...} --prefix {folder} {package}")
        .run()
        .context("cannot install azurite; is the npm registry reachable?")?;
    sh.write_file(finished, "")?;
    Ok(program)
}

/// Returns the path of `kube-apiserver`, and builds it first if needed.
///
/// `go install` rejects its module, which replaces dependencies with directories of its repository. A temporary
/// module replaces them with the published versions: `k8s.io/x v0.y` for Kubernetes `1.y`.
pub(crate) fn kube_apiserver(sh: &Shell) -> Result<PathBuf> {
    let version = format!("v{KUBE_APISERVER}");
    let folder = sh.current_dir().join(FOLDER).join(format!("kube-apiserver-{version}"));
    let program = folder.join("kube-apiserver");
    if sh.path_exists(&program) {
        return Ok(program);
    }
    announce_go_build(sh, "kube-apiserver", &version, "three minutes to ten")?;
    let module = format!("k8s.io/kubernetes@{version}");
    // Outside any Go module, so that only this module is resolved.
    let outside = sh.create_temp_dir()?;
    let _outside = sh.push_dir(outside.path());
    let facts = cmd!(sh, "go mod download -json {module}").quiet().read().context(UNREACHABLE)?;
    let go_mod = facts
        .lines()
        .find_map(|line| line.trim().strip_prefix("\"GoMod\": \"")?.strip_suffix("\","))
        .context("`go mod download` reports no path of the module's go.mod")?;
    let published = KUBE_APISERVER.replacen('1', "v0", 1);
    let replaced: Vec<String> = sh
        .read_file(go_mod)?
        .lines()
        .filter_map(|line| line.trim().split_once(" => ./staging/"))
        .map(|(part, _)| format!("replace {part} => {part} {published}\n"))
        .collect();
    let number = "-X k8s.io/component-base/version.git";
    let minor = KUBE_APISERVER.split('.').nth(1).unwrap_or_default();
    // Without these it reports v0.0.0, which clients reject as too old.
    let versions = format!("-s -w {number}Version={version} {number}Major=1 {number}Minor={minor}");
    go_build_in_module(
        sh,
        &format!("require k8s.io/kubernetes {version}\n{}", replaced.concat()),
        "k8s.io/kubernetes/cmd/kube-apiserver",
        &["-ldflags", &versions],
        &program,
    )?;
    Ok(program)
}

/// Returns the path of `etcd`, and builds it first if needed.
pub(crate) fn etcd(sh: &Shell) -> Result<PathBuf> {
    let program = sh.current_dir().join(FOLDER).join(format!("etcd-{ETCD}")).join("etcd");
    if sh.path_exists(&program) {
        return Ok(program);
    }
    announce_go_build(sh, "etcd", ETCD, "half a minute to two")?;
    let package = "go.etcd.io/etcd/server/v3";
    go_build_in_module(sh, &format!("require {package} {ETCD}\n"), package, &[], &program)?;
    Ok(program)
}

/// Returns the paths of `prometheus` and `promtool`, and builds them first if needed.
///
/// Prometheus `3.x.y` is version `v0.3xx.y` of the module. Cloud service discovery is left out, to save build time.
pub(crate) fn prometheus(sh: &Shell) -> Result<[PathBuf; 2]> {
    let folder = sh.current_dir().join(FOLDER).join(format!("prometheus-{PROMETHEUS}"));
    let programs = ["prometheus", "promtool"];
    let paths = programs.map(|program| folder.join(program));
    if paths.iter().all(|path| sh.path_exists(path)) {
        return Ok(paths);
    }
    announce_go_build(sh, "prometheus", PROMETHEUS, "two minutes to five")?;
    let module = "github.com/prometheus/prometheus";
    let version = PROMETHEUS.replacen("3.", "v0.3", 1);
    for (program, path) in programs.iter().zip(&paths) {
        go_build_in_module(
            sh,
            &format!("require {module} {version}\n"),
            &format!("{module}/cmd/{program}"),
            &["-tags", "remove_all_sd", "-ldflags", "-s -w"],
            path,
        )?;
    }
    Ok(paths)
}

/// Builds a Go package in a temporary module.
fn go_build_in_module(
    sh: &Shell,
    requirements: &str,
    package: &str,
    flags: &[&str],
    program: &Path,
) -> Result<()> {
    let module = sh.create_temp_dir()?;
    let _inside = sh.push_dir(module.path());
    sh.write_file("go.mod", format!("module build\n\ngo 1.24.0\n\n{requirements}"))?;
    cmd!(sh, "go build -mod=mod -o {program} {flags...} {package}").run().context(UNREACHABLE)
}

/// Builds the Go program in a folder of this repository.
pub(crate) fn go_build(sh: &Shell, folder: &str, program: &Path) -> Result<()> {
    require_go(sh, folder)?;
    let _inside = sh.push_dir(folder);
    cmd!(sh, "go build -o {program} .").run().context(UNREACHABLE)
}

fn require_go(sh: &Shell, name: &str) -> Result<()> {
    if works(sh, "go", &["version"]) {
        return Ok(());
    }
    bail!(
        "Go is not installed, and {name} needs it: install Go from https://go.dev/dl or the package `golang`"
    )
}

const UNREACHABLE: &str = "cannot build it; is the Go module proxy reachable?";

fn announce_go_build(sh: &Shell, name: &str, version: &str, time: &str) -> Result<()> {
    require_go(sh, name)?;
    println!("{name} {version} is not installed: building it into {FOLDER}/ with Go once, {time}");
    Ok(())
}

fn built_by_go(sh: &Shell, name: &str, version: &str, package: &str) -> Result<PathBuf> {
    let folder = sh.current_dir().join(FOLDER).join(format!("{name}-{version}"));
    let program = folder.join(name);
    if sh.path_exists(&program) {
        return Ok(program);
    }
    announce_go_build(sh, name, version, "half a minute to two")?;
    let module = format!("{package}@{version}");
    cmd!(sh, "go install {module}")
        .env("GOBIN", &folder)
        .run()
        .with_context(|| format!("cannot build {name}; is the Go module proxy reachable?"))?;
    Ok(program)
}
