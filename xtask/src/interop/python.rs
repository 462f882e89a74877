//! A Python virtual environment, and the programs of `xtask/interop` that run in it.

use super::tally::Tally;
use crate::tools;
use anyhow::{Context as _, Result, bail};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use xshell::{Shell, cmd};

const SOURCES: &str = "xtask/interop";

/// A virtual environment with its packages installed.
pub(super) struct Python {
    interpreter: PathBuf,
}

/// Pinned packages with all their dependencies.
const REQUIREMENTS: &str = "requirements.txt";

/// Packages installed without dependencies.
const PLUGINS: &str = "plugin.txt";

/// Packages for Spark, installed without dependencies.
const SPARK: &str = "spark.txt";

impl Python {
    /// Creates the environment, or reuses one with the same requirements.
    pub(super) fn prepare(sh: &Shell, with_spark: bool) -> Result<Self> {
        Self::with(sh, REQUIREMENTS, if with_spark { &[PLUGINS, SPARK] } else { &[PLUGINS] })
    }

    /// Creates an environment with `requirements`, and with `without_deps` installed without their dependencies.
    pub(super) fn with(sh: &Shell, requirements: &str, without_deps: &[&str]) -> Result<Self> {
        let in_sources = |name: &str| Path::new(SOURCES).join(name);
        let requirements = in_sources(requirements);
        let without_deps: Vec<PathBuf> = without_deps.iter().map(|name| in_sources(name)).collect();
        let mut hasher = DefaultHasher::new();
        for list in without_deps.iter().chain([&requirements]) {
            sh.read_file(list)?.hash(&mut hasher);
        }
        let folder =
            sh.current_dir().join(tools::FOLDER).join(format!("interop-{:016x}", hasher.finish()));
        let python = Self { interpreter: folder.join("bin/python") };
        let finished = folder.join("finished");
        if sh.path_exists(&finished) {
            println!("Python environment: {}", folder.display());
            return Ok(python);
        }
        if !tools::works(sh, "python3", &["-c", "import sys; sys.exit(sys.version_info < (3, 10))"])
        {
            bail!(
                "Python 3.10 or newer is not installed: install it with its venv module (Debian: `apt install python3 python3-venv`)"
            );
        }
        println!("Python environment: creating {} once, about a minute", folder.display());
        cmd!(sh, "python3 -m venv --clear {folder}")
            .run()
            .context("cannot create a Python environment; is the venv module installed (Debian: `apt install python3-venv`)?")?;
        let Self { interpreter } = &python;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        cmd!(sh, "{interpreter} {pip...} --requirement {requirements}")
            .run()
            .context("cannot install the Python packages; is PyPI reachable?")?;
        for list in &without_deps {
            cmd!(sh, "{interpreter} {pip...} --no-deps --requirement {list}").run().with_context(
                || format!("cannot install the packages of {}; is PyPI reachable?", list.display()),
            )?;
        }
        sh.write_file(finished, "")?;
        Ok(python)
    }

    /// Returns the path of the interpreter.
    pub(super) fn path(&self) -> &Path {
        &self.interpreter
    }

    /// Runs a program, prints its output and counts its checks. A crash counts as a failed check.
    pub(super) fn run(&self, sh: &Shell, program: &str, args: &[&str]) -> Result<Tally> {
        self.run_with(sh, program, args, &[])
    }

    /// Like [`Self::run`], with extra environment variables.
    pub(super) fn run_with(
        &self,
        sh: &Shell,
        program: &str,
        args: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Tally> {
        let mut child = Command::new(&self.interpreter)
            // -B: write no bytecode beside the sources.
            .args(["-B", program])
            .args(args)
            .current_dir(sh.current_dir().join(SOURCES))
            // Settings of the machine must not influence gRPC or Flyte here.
            .env_remove("http_proxy")
            .env_remove("https_proxy")
            .env("GRPC_VERBOSITY", "ERROR")
            .env("LOG_LEVEL", "ERROR")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.interpreter.display()))?;
        let mut tally = Tally::default();
        let output = child.stdout.take().context("the program has no standard output")?;
        for line in BufReader::new(output).lines() {
            let line = line?;
            println!("{line}");
            tally.count_line(&line);
        }
        let status = child.wait()?;
        if !status.success() {
            tally.record(&format!("{program} runs to completion"), Some(&status.to_string()));
        }
        if tally == Tally::default() {
            bail!("{program} reported no checks");
        }
        Ok(tally)
    }
}
