//! Runs that are really executed: the file of a Python task, as a process of this machine.

mod execution;
mod group;
mod plan;
mod process;
mod tail;

pub(crate) use execution::Execution;

use crate::files::Files;
use crate::validate::Submission;
use plan::Plan;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// With what tasks are executed.
#[derive(Clone)]
pub struct ExecConfig {
    /// The Python that runs the files: a path, or a name that is looked up in `PATH`.
    pub python: PathBuf,
    /// Variables of every process. The `spark_env_vars` of the task's `new_cluster` win over them.
    ///
    /// Of the emulator's own variables a process gets `HOME`, `JAVA_HOME`, `LANG`, `PATH` and `TMPDIR` alone: a cluster
    /// has none of this machine, and a variable that was forgotten has to be missed here too.
    pub environment: BTreeMap<String, String>,
    /// Where the processes start; absent: in a folder of each run's own, which holds the file and goes with the run.
    pub working_directory: Option<PathBuf>,
}

impl ExecConfig {
    /// This Python, without variables, each run in a folder of its own.
    pub fn new(python: impl Into<PathBuf>) -> Self {
        Self { python: python.into(), environment: BTreeMap::new(), working_directory: None }
    }
}

impl fmt::Debug for ExecConfig {
    /// Names of variables only: a value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecConfig")
            .field("python", &self.python)
            .field("environment", &self.environment.keys())
            .field("working_directory", &self.working_directory)
            .finish()
    }
}

/// Starts executions, and ends those that are left.
#[derive(Debug)]
pub(crate) struct Executor {
    config: Arc<ExecConfig>,
    files: Arc<Files>,
    started: Mutex<Started>,
}

#[derive(Debug, Default)]
struct Started {
    closed: bool,
    executions: Vec<(Execution, JoinHandle<()>)>,
}

impl Executor {
    pub(crate) fn new(config: ExecConfig, files: Arc<Files>) -> Self {
        Self { config: Arc::new(config), files, started: Mutex::default() }
    }

    /// The execution of a run. Its process starts when it is told to [`go`](Execution::go), or after this time.
    ///
    /// What cannot be executed is an execution too: one that fails and says why.
    pub(crate) fn start(&self, submission: &Submission, after: Option<Duration>) -> Execution {
        let mut started = self.lock();
        if started.closed {
            return Execution::refused("the emulator is shutting down".to_owned());
        }
        let plan = match Plan::of(submission) {
            Ok(plan) => plan,
            Err(reason) => return Execution::refused(reason),
        };
        let execution = Execution::default();
        let (of_thread, config, files) =
            (execution.clone(), Arc::clone(&self.config), Arc::clone(&self.files));
        let work = move || {
            if of_thread.waits_for_start(after) {
                let end = process::run(&of_thread, &plan, &config, &files);
                of_thread.finish(end);
            }
        };
        match thread::Builder::new().name("execution".to_owned()).spawn(work) {
            Ok(thread) => {
                started.executions.retain(|(_, thread)| !thread.is_finished());
                started.executions.push((execution.clone(), thread));
                execution
            }
            Err(error) => Execution::refused(format!("no thread for the task: {error}")),
        }
    }

    /// Ends every process, and starts none from now on. Does not wait.
    pub(crate) fn stop(&self) {
        let mut started = self.lock();
        started.closed = true;
        for (execution, _) in &started.executions {
            execution.stop();
        }
    }

    /// Waits until what was stopped has ended and cleaned up: about a second at most.
    pub(crate) fn join(&self) {
        let executions = std::mem::take(&mut self.lock().executions);
        for (_, thread) in executions {
            if thread.join().is_err() {
                tracing::error!("the thread of an execution panicked");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Started> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
