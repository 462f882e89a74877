//! The process of one task, from its file to its end.

use super::ExecConfig;
use super::execution::{End, Execution};
use super::plan::Plan;
use super::tail::Tail;
use crate::answers::OUTPUT_LIMIT;
use crate::files::Files;
use crate::script::Outcome;
use std::io::{self, Read};
use std::path::{self, Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How much of stderr becomes the `error_trace`, in bytes.
const TRACE_LIMIT: usize = 64 * 1024;

/// How long the pipes may stay open when the process has ended, because something that left its group still writes.
const PATIENCE: Duration = Duration::from_secs(1);

/// The variables of the emulator that a process gets.
const INHERITED: [&str; 5] = ["HOME", "JAVA_HOME", "LANG", "PATH", "TMPDIR"];

/// Runs the file to its end. Blocks.
pub(super) fn run(execution: &Execution, plan: &Plan, config: &ExecConfig, files: &Files) -> End {
    let Some(content) = files.content(&plan.file) else {
        return End::failed(format!("no file {} is in the workspace; import it first", plan.file));
    };
    executed(execution, plan, config, &content).unwrap_or_else(|error| {
        End::failed(format!(
            "{} cannot be run with {}: {error}",
            plan.file,
            config.python.display()
        ))
    })
}

fn executed(
    execution: &Execution,
    plan: &Plan,
    config: &ExecConfig,
    content: &[u8],
) -> io::Result<End> {
    let folder = tempfile::Builder::new().prefix("databricks-emulator-").tempdir()?;
    let name = plan.file.rsplit('/').next().unwrap_or_default();
    let file = folder.path().join(name);
    std::fs::write(&file, content)?;

    let inherited = INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut command = Command::new(program(&config.python)?);
    command
        .arg(&file)
        .args(&plan.parameters)
        .env_clear()
        .envs(inherited)
        // Else stdout comes after stderr, whatever the order of the writes.
        .env("PYTHONUNBUFFERED", "1")
        .envs(&config.environment)
        .envs(&plan.environment)
        .current_dir(config.working_directory.as_deref().unwrap_or(folder.path()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = execution.spawn(&mut command)?;

    let logs = Arc::new(Mutex::new(Tail::new(OUTPUT_LIMIT)));
    let errors = Arc::new(Mutex::new(Tail::new(TRACE_LIMIT)));
    let (open, closed) = mpsc::channel();
    let read = child
        .stdout
        .take()
        .map_or(Ok(()), |pipe| follow(pipe, vec![Arc::clone(&logs)], open.clone()))
        .and(child.stderr.take().map_or(Ok(()), |pipe| {
            follow(pipe, vec![Arc::clone(&logs), Arc::clone(&errors)], open)
        }));
    if read.is_err() {
        execution.stop();
    }
    let timer = plan.limit.map(|limit| Timer::start(execution, limit)).transpose();
    if timer.is_err() {
        execution.stop();
    }
    let status = execution.wait(&mut child)?;
    let ran_out = timer?.is_some_and(Timer::ran_out);
    read?;
    wait_until_closed(&closed);

    let trace = errors.lock().unwrap_or_else(PoisonError::into_inner).text();
    let logs = logs.lock().unwrap_or_else(PoisonError::into_inner);
    // What ended by itself at the last moment is no timeout.
    let outcome =
        if ran_out && status.code().is_none() { Outcome::Timedout } else { outcome(status, trace) };
    Ok(End { outcome, logs: logs.text(), logs_truncated: logs.truncated() })
}

/// Ends an execution when its time has run out.
struct Timer {
    /// Dropped when the execution is over.
    over: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Timer {
    fn start(execution: &Execution, limit: Duration) -> io::Result<Self> {
        let (over, is_over) = mpsc::channel();
        let execution = execution.clone();
        let work = move || {
            let ran_out = is_over.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if ran_out {
                execution.stop();
            }
            ran_out
        };
        let thread = thread::Builder::new().name("timeout".to_owned()).spawn(work)?;
        Ok(Self { over, thread })
    }

    /// Whether it had to end it.
    fn ran_out(self) -> bool {
        drop(self.over);
        self.thread.join().unwrap_or(false)
    }
}

/// A name is looked up in `PATH`; a path is seen from here, not from where the process starts.
fn program(python: &Path) -> io::Result<PathBuf> {
    if python.components().count() > 1 { path::absolute(python) } else { Ok(python.to_owned()) }
}

/// Reads a pipe to its end in a thread of its own, which holds `open` that long.
fn follow(
    mut pipe: impl Read + Send + 'static,
    tails: Vec<Arc<Mutex<Tail>>>,
    open: Sender<()>,
) -> io::Result<()> {
    let work = move || {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    let written = buffer.get(..length).unwrap_or_default();
                    for tail in &tails {
                        tail.lock().unwrap_or_else(PoisonError::into_inner).push(written);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "the output of a task cannot be read");
                    break;
                }
            }
        }
        drop(open);
    };
    thread::Builder::new().name("output".to_owned()).spawn(work).map(|_thread| ())
}

fn wait_until_closed(closed: &Receiver<()>) {
    if closed.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
        tracing::warn!("something that a task started still holds its output");
    }
}

/// How the task ends: an exit code other than 0 is failing user code, whose reason is the last line of stderr. Who is
/// killed by a signal has no last word, so the line that happens to be there is not the reason.
fn outcome(status: ExitStatus, trace: String) -> Outcome {
    if status.success() {
        return Outcome::Success;
    }
    let last = trace.lines().map(str::trim).rfind(|line| !line.is_empty());
    let last = last.filter(|_| status.code().is_some());
    let error = last.map_or_else(|| format!("the process ended with {status}"), ToOwned::to_owned);
    Outcome::Failed { error, error_trace: trace }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_is_seen_from_here_and_a_name_is_looked_up() {
        assert!(program(Path::new(".venv/bin/python")).unwrap().is_absolute());
        assert_eq!(program(Path::new("python3")).unwrap(), Path::new("python3"));
        assert_eq!(program(Path::new("/a/b")).unwrap(), Path::new("/a/b"));
    }
}
