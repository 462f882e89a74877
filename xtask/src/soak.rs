//! `cargo xtask soak`: thousands of tasks through real server processes that are killed, against a workspace with
//! faults. The program that does it is `soak` of `crates/flyte-executor-model`; this builds it and the server.

use anyhow::{Context as _, Result};
use cargo_metadata::MetadataCommand;
use xshell::{Shell, cmd};

/// Flags of `soak`. What stands after `--` goes to the program as it is; `-- --help` tells what it takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// How many tasks.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    tasks: u64,

    /// Where every choice comes from.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// Builds with optimisations: for a large number of tasks.
    #[arg(long)]
    release: bool,

    /// Further flags of the program.
    #[arg(last = true)]
    further: Vec<String>,
}

impl Args {
    /// The one that every change has to pass.
    pub(crate) fn small() -> Self {
        let further = ["--at-once", "100", "--kill-every", "1000"].map(str::to_owned).into();
        Self { tasks: 300, seed: 1, release: false, further }
    }

    /// The one of every night.
    fn large() -> Self {
        Self { tasks: 10_000, seed: 1, release: true, further: Vec::new() }
    }
}

/// The soak of every night.
pub(crate) fn run_large(sh: &Shell) -> Result<String> {
    let args = Args::large();
    run(sh, &args)?;
    Ok(format!("{} tasks", args.tasks))
}

/// Builds both programs and runs the soak. It fails when a promise was broken.
pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    let Args { tasks, seed, release, further } = args;
    let (tasks, seed) = (tasks.to_string(), seed.to_string());
    let (profile, folder) = if *release { ("release", "release") } else { ("dev", "debug") };
    cmd!(sh, "cargo build --profile {profile} --package connector-server --package flyte-executor-model --bins").run()?;
    let metadata = MetadataCommand::new().current_dir(sh.current_dir()).no_deps().exec()?;
    let built = metadata.target_directory.as_std_path().join(folder);
    let (soak, server) = (built.join("soak"), built.join("connector-server"));
    cmd!(sh, "{soak} --server {server} --tasks {tasks} --seed {seed} {further...}")
        .run()
        .with_context(|| format!("the soak found something; `cargo xtask soak --tasks {tasks} --seed {seed}` runs it again"))
}
