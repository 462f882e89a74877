//! Real tasks: our entrypoint script with Flyte's own runtime, alone and then the whole way through the server.

use super::programs::{self, Programs, Setup};
use super::python::Python;
use super::store::{self, Store};
use super::tally::Tally;
use crate::tools;
use anyhow::{Result, bail};
use std::path::PathBuf;
use xshell::Shell;

const SCRIPT: &str = "crates/databricks-connector/src/create/entrypoint/flyte_entrypoint.py";

const STATEMENT: &str = "crates/databricks-connector/src/metrics/usage/statement.sql";

/// What it takes beside Python is there.
pub(super) struct Spark {
    minio: PathBuf,
}

impl Spark {
    /// Looks for Java, and builds minio when it is not there.
    pub(super) fn prepare(sh: &Shell) -> Result<Self> {
        if !tools::works(sh, "java", &["-version"]) {
            bail!(
                "Java is not installed, and Spark runs on it: install 17 or newer (Debian: `apt install openjdk-17-jre-headless`)"
            );
        }
        Ok(Self { minio: tools::minio(sh)? })
    }

    /// Runs both parts, with files and with S3.
    pub(super) fn run(&self, sh: &Shell, python: &Python) -> Result<Tally> {
        let mut tally = Tally::default();
        let store = Store::start(sh, &self.minio)?;
        let folder = programs::folder(sh)?;

        println!("\n== our entrypoint script with Flyte's own runtime");
        let script = sh.current_dir().join(SCRIPT).display().to_string();
        let own = folder.join("entrypoint").display().to_string();
        tally += python.run_with(
            sh,
            "entrypoint_checks.py",
            &[&script, &own, store::ADDRESS],
            &store.variables(),
        )?;

        println!("\n== our statement about a run's machines, with Spark");
        let statement = sh.current_dir().join(STATEMENT).display().to_string();
        tally += python.run(sh, "system_tables.py", &[&statement])?;

        println!("\n== Spark tasks, from the SDK through the server to their outputs");
        let interpreter = python.path().display().to_string();
        let programs = Programs::start(
            sh,
            Setup {
                workspace_flags: &[("--exec-python", &interpreter)],
                server_flags: &[("--entrypoint", "workspace")],
                server_variables: &store.variables(),
            },
        )?;
        for base in
            [format!("file://{}", folder.join("spark").display()), store::ADDRESS.to_owned()]
        {
            let ran = python.run_with(
                sh,
                "spark_task.py",
                &[&programs.server, &programs.workspace, &base],
                &store.variables(),
            )?;
            if ran.failed > 0 {
                programs.show_logs(sh);
            }
            tally += ran;
        }
        Ok(tally)
    }
}
