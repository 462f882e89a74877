//! Runs each fuzz target of `fuzz/` for a minute, starting from the committed corpus.

use crate::tools;
use anyhow::{Result, bail};
use cargo_metadata::MetadataCommand;
use xshell::{Shell, cmd};

/// Run time of each target, in seconds.
const SECONDS: u32 = 60;

/// Maximum input size, in bytes.
const MAX_BYTES: u32 = 16 * 1024;

/// Maximum memory of a target, in MiB: an input of this size needs far less.
const MAX_MEMORY: u32 = 512;

/// Runs every target. New inputs are stored outside the source tree.
pub(crate) fn run(sh: &Shell) -> Result<String> {
    let metadata = MetadataCommand::new().current_dir(sh.current_dir()).no_deps().exec()?;
    let target_folder = metadata.target_directory.as_std_path().join("fuzz");
    let cargo_fuzz = tools::cargo_fuzz(sh, metadata.target_directory.as_std_path())?;
    let targets: Vec<String> = sh
        .read_dir("fuzz/fuzz_targets")?
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    for target in &targets {
        println!("fuzz: {target} for {SECONDS} s");
        let found = target_folder.join("found").join(target);
        sh.create_dir(&found)?;
        let corpus = format!("fuzz/corpus/{target}");
        let seconds = format!("-max_total_time={SECONDS}");
        let bytes = format!("-max_len={MAX_BYTES}");
        let memory = format!("-rss_limit_mb={MAX_MEMORY}");
        let outcome = cmd!(
            sh,
            "{cargo_fuzz} fuzz run --sanitizer none {target} {found} {corpus} -- {seconds} {bytes} {memory} -verbosity=0"
        )
        .env("CARGO_TARGET_DIR", &target_folder)
        .run();
        if outcome.is_err() {
            bail!(
                "{target} failed on the input in fuzz/artifacts/{target}: fix the defect and add the input to fuzz/corpus/{target}"
            );
        }
    }
    Ok(format!("{} targets for {SECONDS} s each, no failures", targets.len()))
}
