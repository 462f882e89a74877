//! `cargo xtask soak`: builds the server and the `soak` binary of `crates/flyte-executor-model`, and runs the latter:
//! thousands of tasks while server processes are killed and the emulator injects faults.

use anyhow::{Context as _, Result};
use cargo_metadata::MetadataCommand;
use xshell::{Shell, cmd};

/// Flags of `soak`. Arguments after `--` are passed to the soak binary; `-- --help` lists them.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Number of tasks.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    tasks: u64,

    /// Seed of all random choices.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// Builds with optimizations, for large numbers of tasks.
    #[arg(long)]
    release: bool,

    /// Extra flags of the soak binary.
    #[arg(last = true)]
    extra: Vec<String>,
}

impl Args {
    /// Returns the flags of the soak in `ci`.
    pub(crate) fn small() -> Self {
        let extra = ["--at-once", "100", "--kill-every", "1000"].map(str::to_owned).into();
        Self { tasks: 300, seed: 1, release: false, extra }
    }

    /// Returns the flags of the soak in `nightly`.
    fn large() -> Self {
        Self { tasks: 10_000, seed: 1, release: true, extra: Vec::new() }
    }
}

/// Runs the soak of `nightly`.
pub(crate) fn run_large(sh: &Shell) -> Result<String> {
    let args = Args::large();
    run(sh, &args)?;
    Ok(format!("{} tasks", args.tasks))
}

/// Runs the soak of the example connector: 2,000 tasks through two replicas that are killed in turn.
pub(crate) fn run_example(sh: &Shell) -> Result<String> {
    let test = ["--release", "--package", "batch-connector", "--all-features", "--test", "it"];
    cmd!(sh, "cargo test {test...} soak:: -- --ignored --nocapture").run()?;
    Ok("2,000 tasks of the example connector".to_owned())
}

/// Builds both programs and runs the soak. Fails if an invariant is violated.
pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    let Args { tasks, seed, release, extra } = args;
    let (tasks, seed) = (tasks.to_string(), seed.to_string());
    let (profile, folder) = if *release { ("release", "release") } else { ("dev", "debug") };
    cmd!(sh, "cargo build --profile {profile} --package connector-server --package flyte-executor-model --bins").run()?;
    let metadata = MetadataCommand::new().current_dir(sh.current_dir()).no_deps().exec()?;
    let built = metadata.target_directory.as_std_path().join(folder);
    let (soak, server) = (built.join("soak"), built.join("connector-server"));
    cmd!(sh, "{soak} --server {server} --tasks {tasks} --seed {seed} {extra...}")
        .run()
        .with_context(|| {
            format!(
                "the soak failed; repeat it with `cargo xtask soak --tasks {tasks} --seed {seed}`"
            )
        })
}
