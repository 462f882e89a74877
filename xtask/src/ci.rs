//! `cargo xtask ci`: the checks that every change must pass. Needs only a Rust toolchain.

use crate::{codegen, soak, tidy, tools};
use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;
use clap::ValueEnum;
use std::time::Instant;
use xshell::{Shell, cmd};

/// Flags of `ci`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs only this step. Can be repeated.
    #[arg(long, value_name = "STEP")]
    only: Vec<Step>,
}

/// A step of `ci`, in execution order: the fastest checks come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Checks the formatting.
    Fmt,
    /// Checks the repository's conventions.
    Tidy,
    /// Compares the committed bindings with `proto/`.
    Codegen,
    /// Runs the lints, with warnings as errors.
    Clippy,
    /// Lints the connector without features, and with each optional feature alone; tests a server without them.
    Features,
    /// Runs unit and integration tests, with nextest if it is installed.
    Test,
    /// Runs a small soak test: 300 tasks while servers are killed.
    Soak,
    /// Runs the examples in the documentation.
    Doctest,
    /// Builds the documentation, with warnings as errors.
    Doc,
    /// Checks dependencies: bans, licences, sources.
    Deny,
}

/// Runs the steps and stops at the first failure.
pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    let steps: Vec<Step> = Step::value_variants()
        .iter()
        .copied()
        .filter(|step| args.only.is_empty() || args.only.contains(step))
        .collect();
    let started = Instant::now();
    let mut passed = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let label = format!("step {}/{} {}", index + 1, steps.len(), step.name());
        println!("{label} …");
        let step_started = Instant::now();
        step.run(sh).with_context(|| {
            format!("{label} failed; run it alone with `cargo xtask ci --only {}`", step.name())
        })?;
        let line = format!("{label} ok ({:.1} s)", step_started.elapsed().as_secs_f64());
        println!("{line}");
        passed.push(line);
    }
    println!("\n{}\nci passed ({:.1} s)", passed.join("\n"), started.elapsed().as_secs_f64());
    Ok(())
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn run(self, sh: &Shell) -> Result<()> {
        match self {
            Self::Fmt => {
                tools::require_component(sh, "rustfmt", "fmt")?;
                cargo(sh, &["fmt", "--all", "--check"])
            }
            Self::Tidy => tidy::run(sh),
            Self::Codegen => codegen::run(sh, &codegen::Args { check: true }),
            Self::Clippy => {
                tools::require_component(sh, "clippy", "clippy")?;
                cargo(
                    sh,
                    &[
                        "clippy",
                        "--workspace",
                        "--all-targets",
                        "--all-features",
                        "--",
                        "-D",
                        "warnings",
                    ],
                )
            }
            Self::Features => {
                for features in ["", "system-tables"] {
                    for package in ["databricks-connector", "connector-server"] {
                        let alone = ["--no-default-features", "--features", features];
                        let lints = ["--", "-D", "warnings"];
                        let check = ["clippy", "--package", package];
                        cargo(sh, &[check.as_slice(), &alone, &lints].concat())?;
                    }
                }
                cargo(sh, &["clippy", "--package", "connector-service", "--", "-D", "warnings"])?;
                no_emulator_without_demo(sh)?;
                // The other steps enable every feature.
                let without_features =
                    ["test", "--package", "connector-server", "--no-default-features"];
                let tests = ["--test", "it", "--", "binary_without", "version_and_help"];
                cargo(sh, &[without_features.as_slice(), &tests].concat())
            }
            Self::Test if tools::works(sh, "cargo", &["nextest", "--version"]) => {
                cargo(sh, &["nextest", "run", "--workspace", "--all-features", "--profile", "ci"])
            }
            Self::Test => {
                println!("cargo-nextest is not installed; running `cargo test`");
                cargo(
                    sh,
                    &[
                        "test",
                        "--workspace",
                        "--all-features",
                        "--lib",
                        "--bins",
                        "--tests",
                        "--examples",
                    ],
                )
            }
            Self::Soak => soak::run(sh, &soak::Args::small()),
            Self::Doctest => cargo(sh, &["test", "--workspace", "--all-features", "--doc"]),
            Self::Doc => {
                let _env = sh.push_env("RUSTDOCFLAGS", "-D warnings");
                cargo(sh, &["doc", "--workspace", "--all-features", "--no-deps"])
            }
            Self::Deny => deny(sh),
        }
    }
}

/// Checks that a server without the feature `demo` does not contain the emulator.
fn no_emulator_without_demo(sh: &Shell) -> Result<()> {
    let server = ["--package", "connector-server", "--no-default-features"];
    let linked = cmd!(sh, "cargo tree {server...} --edges normal --prefix none").quiet().read()?;
    if linked.lines().any(|line| line.starts_with("databricks-emulator ")) {
        bail!(
            "databricks-emulator is linked without the feature `demo`; see `cargo tree --invert`"
        );
    }
    Ok(())
}

fn cargo(sh: &Shell, args: &[&str]) -> Result<()> {
    cmd!(sh, "cargo {args...}").run()?;
    Ok(())
}

fn deny(sh: &Shell) -> Result<()> {
    let metadata = MetadataCommand::new().current_dir(sh.current_dir()).no_deps().exec()?;
    let program = tools::cargo_deny(sh, metadata.target_directory.as_std_path())?;
    let checks = ["bans", "licenses", "sources"];
    if cmd!(sh, "{program} check {checks...}").run().is_err() {
        bail!(
            "a dependency is not allowed; replace it, or add an exception with its reason to deny.toml"
        );
    }
    Ok(())
}
