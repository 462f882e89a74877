//! Many executed tasks: whether a task process ends as its result says. Flyte's runtime starts threads of native libraries,
//! which can abort the process when the interpreter shuts down.

use super::programs::{self, Programs, Setup};
use super::python::Python;
use super::report;
use anyhow::Result;
use xshell::Shell;

/// Number of tasks of `nightly`.
const TASKS: u32 = 300;

/// Seconds after which no further task is started.
const LIMIT: u32 = 1200;

/// Runs the tasks.
pub(crate) fn run(sh: &Shell) -> Result<String> {
    let python = Python::prepare(sh, false)?;
    let interpreter = python.path().display().to_string();
    let programs = Programs::start(
        sh,
        Setup {
            workspace_flags: &[("--exec-python", &interpreter)],
            server_flags: &[("--entrypoint", "workspace")],
            server_variables: &[],
        },
    )?;
    let base = format!("file://{}", programs::folder(sh)?.join("executed").display());
    let (tasks, limit) = (TASKS.to_string(), LIMIT.to_string());
    let arguments = [&programs.server, &programs.workspace, &base, &tasks, &limit];
    let tally = python.run(sh, "executed_runs.py", &arguments.map(String::as_str))?;
    if tally.failed > 0 {
        programs.show_logs(sh);
    }
    report(&tally)?;
    Ok(tally.to_string())
}
