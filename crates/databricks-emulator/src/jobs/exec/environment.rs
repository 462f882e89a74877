//! The Python of a serverless task: a new virtual environment with the dependencies of the task's environment.

use super::ExecConfig;
use super::command::command;
use super::execution::Execution;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The maximum length of the installation's error, in characters.
const ERROR_LIMIT: usize = 2_000;

/// The file that adds the packages of the platform to an environment (Python's `site` module).
const PLATFORM_FILE: &str = "platform.pth";

/// Creates the environment in `folder` and returns its interpreter, or why the dependencies cannot be installed. Blocks.
pub(super) fn create(
    execution: &Execution,
    config: &ExecConfig,
    dependencies: &[String],
    folder: &Path,
) -> io::Result<Result<PathBuf, String>> {
    let environment = folder.join("environment");
    let mut venv = command(&config.python)?;
    venv.args(["-m", "venv"]).arg(&environment);
    if let Err(error) = run(execution, venv, folder)? {
        return Ok(Err(error));
    }
    let python = environment.join("bin/python");
    if let Some(platform) = &config.platform_packages {
        let mut site = command(&python)?;
        let code = "import pathlib, sys, sysconfig\n\
                    folder = pathlib.Path(sysconfig.get_path('purelib'))\n\
                    (folder / sys.argv[1]).write_text(sys.argv[2] + '\\n')";
        site.args(["-c", code, PLATFORM_FILE]).arg(std::path::absolute(platform)?);
        if let Err(error) = run(execution, site, folder)? {
            return Ok(Err(error));
        }
    }
    if dependencies.is_empty() {
        return Ok(Ok(python));
    }
    let mut pip = command(&python)?;
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    pip.args(dependencies);
    Ok(run(execution, pip, folder)?.map(|()| python))
}

/// Runs a program to its end, and returns the end of its output if it failed.
fn run(
    execution: &Execution,
    mut command: Command,
    folder: &Path,
) -> io::Result<Result<(), String>> {
    let log = folder.join("environment.log");
    let output = File::create(&log)?;
    command.stdout(output.try_clone()?).stderr(output);
    let mut child = execution.spawn(&mut command)?;
    if execution.wait(&mut child)?.success() {
        return Ok(Ok(()));
    }
    let text = String::from_utf8_lossy(&std::fs::read(log)?).trim().to_owned();
    let skipped = text.chars().count().saturating_sub(ERROR_LIMIT);
    Ok(Err(text.chars().skip(skipped).collect()))
}
