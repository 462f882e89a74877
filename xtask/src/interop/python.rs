//! A Python environment of our own, and the programs in `xtask/interop` that run in it.

use super::tally::Tally;
use crate::tools;
use anyhow::{Context as _, Result, bail};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use xshell::{Shell, cmd};

const SOURCES: &str = "xtask/interop";

/// The interpreter of a finished environment.
pub(super) struct Python {
    interpreter: PathBuf,
}

/// What is installed with all that pip resolved for it.
const REQUIREMENTS: &str = "requirements.txt";

/// What is installed without its dependencies.
const PLUGINS: &str = "plugin.txt";

/// The same, for Spark.
const SPARK: &str = "spark.txt";

impl Python {
    /// Makes the environment, or takes the one that an earlier run made for the same requirements.
    pub(super) fn prepare(sh: &Shell, with_spark: bool) -> Result<Self> {
        Self::with(sh, REQUIREMENTS, if with_spark { &[PLUGINS, SPARK] } else { &[PLUGINS] })
    }

    /// An environment with what the first list names, and, without their dependencies, with what the others name.
    pub(super) fn with(sh: &Shell, requirements: &str, alone: &[&str]) -> Result<Self> {
        let in_sources = |name: &str| Path::new(SOURCES).join(name);
        let requirements = in_sources(requirements);
        let alone: Vec<PathBuf> = alone.iter().map(|name| in_sources(name)).collect();
        let mut hasher = DefaultHasher::new();
        for list in alone.iter().chain([&requirements]) {
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
        println!("Python environment: making {}, a minute, once", folder.display());
        cmd!(sh, "python3 -m venv --clear {folder}")
            .run()
            .context("no Python environment can be made; is the venv module there (Debian: `apt install python3-venv`)?")?;
        let Self { interpreter } = &python;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        cmd!(sh, "{interpreter} {pip...} --requirement {requirements}")
            .run()
            .context("the Python packages cannot be installed; is PyPI reachable?")?;
        for list in &alone {
            cmd!(sh, "{interpreter} {pip...} --no-deps --requirement {list}").run().with_context(
                || format!("what {} names cannot be installed; is PyPI reachable?", list.display()),
            )?;
        }
        sh.write_file(finished, "")?;
        Ok(python)
    }

    /// The interpreter's path.
    pub(super) fn path(&self) -> &Path {
        &self.interpreter
    }

    /// Runs one of our programs, shows what it says, and counts its claims. A crash counts as a claim that failed.
    pub(super) fn run(&self, sh: &Shell, program: &str, args: &[&str]) -> Result<Tally> {
        self.run_with(sh, program, args, &[])
    }

    /// The same, with variables.
    pub(super) fn run_with(
        &self,
        sh: &Shell,
        program: &str,
        args: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Tally> {
        let mut child = Command::new(&self.interpreter)
            // -B: no compiled files beside the sources.
            .args(["-B", program])
            .args(args)
            .current_dir(sh.current_dir().join(SOURCES))
            // What the system sets for gRPC or Flyte is not to change what is seen here.
            .env_remove("http_proxy")
            .env_remove("https_proxy")
            .env("GRPC_VERBOSITY", "ERROR")
            .env("LOG_LEVEL", "ERROR")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started", self.interpreter.display()))?;
        let mut tally = Tally::default();
        let output = child.stdout.take().context("the program has no output")?;
        for line in BufReader::new(output).lines() {
            let line = line?;
            println!("{line}");
            tally.count_line(&line);
        }
        let status = child.wait()?;
        if !status.success() {
            tally.claim(&format!("{program} runs to its end"), Some(&status.to_string()));
        }
        if tally == Tally::default() {
            bail!("{program} claimed nothing");
        }
        Ok(tally)
    }
}
