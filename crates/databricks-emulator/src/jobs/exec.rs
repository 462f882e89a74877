//! Executes Python tasks as local processes.

mod command;
mod environment;
mod execution;
mod plan;
mod process;
mod process_group;
mod tail_buffer;

pub(crate) use execution::Execution;

use super::validation::Submission;
use crate::storage::workspace_files::WorkspaceFiles;
use plan::ExecPlan;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Configures the execution of tasks.
#[derive(Clone)]
pub struct ExecConfig {
    /// The Python interpreter: a path, or a name to look up in `PATH`.
    pub python: PathBuf,
    /// Environment variables of every process. `spark_env_vars` of the task's `new_cluster` override them.
    ///
    /// A process inherits only `HOME`, `JAVA_HOME`, `LANG`, `PATH` and `TMPDIR` of the emulator. A cluster has none of the
    /// local variables, so a missing one must be missing here too.
    pub environment: BTreeMap<String, String>,
    /// Whether a serverless task runs in a new virtual environment that has only the dependencies of the task's
    /// `environments` entry, instead of the packages of `python`. They are installed with pip.
    pub serverless_environments: bool,
    /// A folder of packages that such an environment has too, like `PySpark` on serverless compute.
    pub platform_packages: Option<PathBuf>,
}

impl ExecConfig {
    /// Creates a configuration without variables, in which all tasks have the packages of `python`.
    pub fn new(python: impl Into<PathBuf>) -> Self {
        Self {
            python: python.into(),
            environment: BTreeMap::new(),
            serverless_environments: false,
            platform_packages: None,
        }
    }
}

impl fmt::Debug for ExecConfig {
    /// Shows only the names of variables: values can be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecConfig")
            .field("python", &self.python)
            .field("environment", &self.environment.keys())
            .field("serverless_environments", &self.serverless_environments)
            .field("platform_packages", &self.platform_packages)
            .finish()
    }
}

/// Starts executions and kills them at shutdown.
#[derive(Debug)]
pub(crate) struct Executor {
    config: Arc<ExecConfig>,
    files: Arc<WorkspaceFiles>,
    started: Mutex<StartedExecutions>,
}

#[derive(Debug, Default)]
struct StartedExecutions {
    closed: bool,
    executions: Vec<(Execution, JoinHandle<()>)>,
}

impl Executor {
    pub(crate) fn new(config: ExecConfig, files: Arc<WorkspaceFiles>) -> Self {
        Self { config: Arc::new(config), files, started: Mutex::default() }
    }

    /// Creates the execution of a run. Its process starts on [`start`](Execution::start), or after this time.
    ///
    /// If the run cannot be executed, the execution has failed with the reason.
    pub(crate) fn prepare(&self, submission: &Submission, after: Option<Duration>) -> Execution {
        let mut started = self.lock();
        if started.closed {
            return Execution::failed("the emulator is shutting down".to_owned());
        }
        let plan = match ExecPlan::new(submission) {
            Ok(plan) => plan,
            Err(reason) => return Execution::failed(reason),
        };
        let execution = Execution::default();
        let (handle, config, files) =
            (execution.clone(), Arc::clone(&self.config), Arc::clone(&self.files));
        let work = move || {
            if handle.wait_for_start(after) {
                let result = process::run(&handle, &plan, &config, &files);
                handle.finish(result);
            }
        };
        match thread::Builder::new().name("execution".to_owned()).spawn(work) {
            Ok(thread) => {
                started.executions.retain(|(_, thread)| !thread.is_finished());
                started.executions.push((execution.clone(), thread));
                execution
            }
            Err(error) => Execution::failed(format!("cannot start a thread for the task: {error}")),
        }
    }

    /// Kills all processes and starts no further ones. Does not wait.
    pub(crate) fn stop(&self) {
        let mut started = self.lock();
        started.closed = true;
        for (execution, _) in &started.executions {
            execution.stop();
        }
    }

    /// Waits until all stopped executions have cleaned up, at most about one second.
    pub(crate) fn join(&self) {
        let executions = std::mem::take(&mut self.lock().executions);
        for (_, thread) in executions {
            if thread.join().is_err() {
                tracing::error!("execution thread panicked");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, StartedExecutions> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
