//! Real Spark tasks: the entrypoint script with Flyte's runtime, first alone, then through the server.

use super::minio::{self, Minio};
use super::programs::{self, Programs, Setup};
use super::python::Python;
use super::tally::Tally;
use crate::tools;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

const SCRIPT: &str = "crates/databricks-connector/src/create/entrypoint/flyte_entrypoint.py";

const STATEMENT: &str = "crates/databricks-connector/src/task_metrics/usage/statement.sql";

/// The prerequisites beyond Python.
pub(super) struct Spark {
    minio: PathBuf,
}

impl Spark {
    /// Checks for Java, and builds minio if needed.
    pub(super) fn prepare(sh: &Shell) -> Result<Self> {
        if !tools::works(sh, "java", &["-version"]) {
            bail!(
                "Java is not installed, and Spark needs it: install 17 or newer (Debian: `apt install openjdk-17-jre-headless`)"
            );
        }
        Ok(Self { minio: tools::minio(sh)? })
    }

    /// Runs the checks, with files on disk and in S3.
    pub(super) fn run(&self, sh: &Shell, python: &Python) -> Result<Tally> {
        let mut tally = Tally::default();
        let store = Minio::start(sh, &self.minio)?;
        let folder = programs::folder(sh)?;

        println!("\n== the entrypoint script with Flyte's runtime");
        let script = sh.current_dir().join(SCRIPT).display().to_string();
        let own = folder.join("entrypoint").display().to_string();
        tally += python.run_with(
            sh,
            "entrypoint_checks.py",
            &[&script, &own, minio::ADDRESS],
            &store.variables(),
        )?;

        println!("\n== the system tables statement, with Spark");
        let statement = sh.current_dir().join(STATEMENT).display().to_string();
        tally += python.run(sh, "system_tables.py", &[&statement])?;

        println!("\n== Spark tasks: SDK, server, emulator, outputs");
        let interpreter = python.path().display().to_string();
        let platform = platform_packages(sh, &interpreter, &folder)?.display().to_string();
        let programs = Programs::start(
            sh,
            Setup {
                workspace_flags: &[
                    ("--exec-python", &interpreter),
                    ("--exec-environments", ""),
                    ("--exec-platform", &platform),
                ],
                server_flags: &[("--entrypoint", "workspace")],
                server_variables: &store.variables(),
            },
        )?;
        for base in
            [format!("file://{}", folder.join("spark").display()), minio::ADDRESS.to_owned()]
        {
            let checks = python.run_with(
                sh,
                "spark_task.py",
                &[&programs.server, &programs.workspace, &base, &platform],
                &store.variables(),
            )?;
            if checks.failed > 0 {
                programs.show_logs(sh);
            }
            tally += checks;
        }
        Ok(tally)
    }
}

/// Creates a folder with `PySpark` alone, which serverless compute has without an installation.
fn platform_packages(sh: &Shell, interpreter: &str, folder: &Path) -> Result<PathBuf> {
    let site = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let site = PathBuf::from(cmd!(sh, "{interpreter} -c {site}").read()?);
    let platform = folder.join("platform");
    sh.remove_path(&platform)?;
    sh.create_dir(&platform)?;
    for package in ["pyspark", "py4j"] {
        std::os::unix::fs::symlink(site.join(package), platform.join(package))?;
    }
    Ok(platform)
}
