//! Runs the process of a task.

use super::command::command;
use super::execution::{ExecResult, Execution};
use super::plan::ExecPlan;
use super::tail_buffer::TailBuffer;
use super::{ExecConfig, environment};
use crate::jobs::script::{OUTPUT_LIMIT, Outcome};
use crate::storage::workspace_files::WorkspaceFiles;
use std::io::{self, Read};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The maximum length of `error_trace`, in bytes.
const TRACE_LIMIT: usize = 64 * 1024;

/// How long to wait for the pipes to close after the process has exited. A descendant in another group may hold them.
const PIPE_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the file and returns its result. Blocks.
pub(super) fn run(
    execution: &Execution,
    plan: &ExecPlan,
    config: &ExecConfig,
    files: &WorkspaceFiles,
) -> ExecResult {
    let Some(content) = files.content(&plan.file) else {
        return ExecResult::failed(format!(
            "the workspace has no file {}; import it first",
            plan.file
        ));
    };
    execute(execution, plan, config, &content).unwrap_or_else(|error| {
        ExecResult::failed(format!(
            "cannot run {} with {}: {error}",
            plan.file,
            config.python.display()
        ))
    })
}

fn execute(
    execution: &Execution,
    plan: &ExecPlan,
    config: &ExecConfig,
    content: &[u8],
) -> io::Result<ExecResult> {
    let folder = tempfile::Builder::new().prefix("databricks-emulator-").tempdir()?;
    let name = plan.file.rsplit('/').next().unwrap_or_default();
    let file = folder.path().join(name);
    std::fs::write(&file, content)?;

    let python = match &plan.dependencies {
        Some(dependencies) if config.serverless_environments => {
            match environment::create(execution, config, dependencies, folder.path())? {
                Ok(python) => python,
                Err(error) => {
                    let reason = format!("the task's environment cannot be installed: {error}");
                    return Ok(ExecResult::failed(reason));
                }
            }
        }
        _ => config.python.clone(),
    };
    let mut command = command(&python)?;
    command
        .arg(&file)
        .args(&plan.parameters)
        // Otherwise Python buffers stdout, and the logs lose the order of stdout and stderr.
        .env("PYTHONUNBUFFERED", "1")
        .envs(&config.environment)
        .envs(&plan.environment)
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = execution.spawn(&mut command)?;

    let logs = Arc::new(Mutex::new(TailBuffer::new(OUTPUT_LIMIT)));
    let errors = Arc::new(Mutex::new(TailBuffer::new(TRACE_LIMIT)));
    let (open, closed) = mpsc::channel();
    let reading = child
        .stdout
        .take()
        .map_or(Ok(()), |pipe| copy_output(pipe, vec![Arc::clone(&logs)], open.clone()))
        .and(child.stderr.take().map_or(Ok(()), |pipe| {
            copy_output(pipe, vec![Arc::clone(&logs), Arc::clone(&errors)], open)
        }));
    if reading.is_err() {
        execution.stop();
    }
    let timer = plan.timeout.map(|timeout| Timer::start(execution, timeout)).transpose();
    if timer.is_err() {
        execution.stop();
    }
    let status = execution.wait(&mut child)?;
    let timed_out = timer?.is_some_and(Timer::timed_out);
    reading?;
    wait_until_closed(&closed);

    let trace = errors.lock().unwrap_or_else(PoisonError::into_inner).text();
    let logs = logs.lock().unwrap_or_else(PoisonError::into_inner);
    // A process that exited by itself at the last moment did not time out.
    let outcome = if timed_out && status.code().is_none() {
        Outcome::Timedout
    } else {
        outcome(status, trace)
    };
    Ok(ExecResult { outcome, logs: logs.text(), logs_truncated: logs.is_truncated() })
}

/// Stops an execution after a timeout.
struct Timer {
    /// Dropped when the execution has ended.
    done: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Timer {
    fn start(execution: &Execution, timeout: Duration) -> io::Result<Self> {
        let (done, ended) = mpsc::channel();
        let execution = execution.clone();
        let work = move || {
            let timed_out = ended.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout);
            if timed_out {
                execution.stop();
            }
            timed_out
        };
        let thread = thread::Builder::new().name("timeout".to_owned()).spawn(work)?;
        Ok(Self { done, thread })
    }

    /// Stops the timer. Returns true if it stopped the execution.
    fn timed_out(self) -> bool {
        drop(self.done);
        self.thread.join().unwrap_or(false)
    }
}

/// Copies a pipe to the buffers in a new thread, which drops `open` at the end of the pipe.
fn copy_output(
    mut pipe: impl Read + Send + 'static,
    buffers: Vec<Arc<Mutex<TailBuffer>>>,
    open: Sender<()>,
) -> io::Result<()> {
    let work = move || {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    for buffer in &buffers {
                        buffer.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot read the output of a task");
                    break;
                }
            }
        }
        drop(open);
    };
    thread::Builder::new().name("output".to_owned()).spawn(work).map(|_thread| ())
}

fn wait_until_closed(closed: &Receiver<()>) {
    if closed.recv_timeout(PIPE_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
        tracing::warn!("a descendant of a task still holds its output open");
    }
}

/// Returns the outcome for an exit status.
///
/// Exit code 0 is success. Any other is failed user code; its error is the last line of stderr. After a signal the last line
/// is not the reason, so the error is the status.
fn outcome(status: ExitStatus, trace: String) -> Outcome {
    if status.success() {
        return Outcome::Success;
    }
    let last = trace.lines().map(str::trim).rfind(|line| !line.is_empty());
    let last = last.filter(|_| status.code().is_some());
    let error = last.map_or_else(|| format!("the process ended with {status}"), ToOwned::to_owned);
    Outcome::Failed { error, error_trace: trace }
}
