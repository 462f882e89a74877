//! `cargo xtask ci`: everything that a change has to pass, with nothing but Rust.

use crate::{codegen, soak, tidy, tools};
use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;
use clap::ValueEnum;
use std::time::Instant;
use xshell::{Shell, cmd};

/// Flags of `ci`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs this step alone. May be given more than once.
    #[arg(long, value_name = "STEP")]
    only: Vec<Step>,
}

/// In the order they run: what fails soonest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// The formatting of every file.
    Fmt,
    /// The repository's own rules.
    Tidy,
    /// The committed bindings against `proto/`.
    Codegen,
    /// Lints, as errors.
    Clippy,
    /// The connector without any of its features, and the server with each that stands alone.
    Features,
    /// Unit and integration tests, with nextest when it is installed.
    Test,
    /// A small soak: 300 tasks through servers that are killed.
    Soak,
    /// The examples in the documentation.
    Doctest,
    /// The documentation itself, with warnings as errors.
    Doc,
    /// Dependencies: bans, licences, sources.
    Deny,
}

/// Runs the steps, and stops at the first that fails.
pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    let steps: Vec<Step> = Step::value_variants()
        .iter()
        .copied()
        .filter(|step| args.only.is_empty() || args.only.contains(step))
        .collect();
    let started = Instant::now();
    let mut done = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let label = format!("step {}/{} {}", index + 1, steps.len(), step.name());
        println!("{label} …");
        let step_started = Instant::now();
        step.run(sh).with_context(|| {
            format!("{label} failed; `cargo xtask ci --only {}` runs it alone", step.name())
        })?;
        let line = format!("{label} ok ({:.1} s)", step_started.elapsed().as_secs_f64());
        println!("{line}");
        done.push(line);
    }
    println!("\n{}\nci passed ({:.1} s)", done.join("\n"), started.elapsed().as_secs_f64());
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
                // All other tests have every feature.
                cargo(
                    sh,
                    &["test", "--package", "connector-server", "--test", "it", "was_built_without"],
                )
            }
            Self::Test if tools::works(sh, "cargo", &["nextest", "--version"]) => {
                cargo(sh, &["nextest", "run", "--workspace", "--all-features", "--profile", "ci"])
            }
            Self::Test => {
                println!("cargo-nextest is not installed, so `cargo test` runs the tests");
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
            "a dependency is not welcome; deny.toml says what is, and takes an exception with its reason"
        );
    }
    Ok(())
}
