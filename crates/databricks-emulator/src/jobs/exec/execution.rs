//! The state of one execution, shared by its run and its thread.

use super::process_group::ProcessGroup;
use crate::clock;
use crate::jobs::script::Outcome;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A handle to an execution. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Execution(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<ExecutionState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ExecutionState {
    may_start: bool,
    stopped: bool,
    /// The process group, until its leader is reaped. After that its id may belong to another process.
    group: Option<ProcessGroup>,
    finished: Option<FinishedExecution>,
}

/// A finished execution.
#[derive(Debug)]
pub(crate) struct FinishedExecution {
    /// The end time since the epoch.
    pub(crate) at: Duration,
    pub(crate) result: ExecResult,
}

/// The outcome and the output of a process.
#[derive(Debug)]
pub(crate) struct ExecResult {
    pub(crate) outcome: Outcome,
    pub(crate) logs: String,
    pub(crate) logs_truncated: bool,
}

impl ExecResult {
    /// Returns the failure of a task without output.
    pub(crate) fn failed(error: String) -> Self {
        let outcome = Outcome::Failed { error, error_trace: String::new() };
        Self { outcome, logs: String::new(), logs_truncated: false }
    }
}

impl Execution {
    /// Creates an execution that has failed without a process.
    pub(crate) fn failed(reason: String) -> Self {
        let execution = Self::default();
        execution.finish(ExecResult::failed(reason));
        execution
    }

    /// Starts the process.
    pub(crate) fn start(&self) {
        self.lock().may_start = true;
        self.0.changed.notify_all();
    }

    /// Kills the process group, or prevents its start.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        if let Some(group) = &state.group {
            group.kill();
        }
        self.0.changed.notify_all();
    }

    /// Takes the result, if the execution has finished and it was not taken before.
    pub(crate) fn take_finished(&self) -> Option<FinishedExecution> {
        self.lock().finished.take()
    }

    /// Waits for the start, at most this long. Returns false if the execution is stopped.
    pub(super) fn wait_for_start(&self, after: Option<Duration>) -> bool {
        let waits = |state: &mut ExecutionState| !state.may_start && !state.stopped;
        let state = self.lock();
        let state = if let Some(timeout) = after {
            let waited = self.0.changed.wait_timeout_while(state, timeout, waits);
            waited.unwrap_or_else(PoisonError::into_inner).0
        } else {
            let waited = self.0.changed.wait_while(state, waits);
            waited.unwrap_or_else(PoisonError::into_inner)
        };
        !state.stopped
    }

    /// Spawns the program as the leader of a new process group.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut state = self.lock();
        if state.stopped {
            return Err(io::Error::other("the execution was stopped"));
        }
        let (child, group) = ProcessGroup::spawn(command)?;
        state.group = Some(group);
        Ok(child)
    }

    /// Waits for the program to exit, and kills the rest of its process group.
    pub(super) fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        // Without the lock, so that `stop` works meanwhile.
        let group = self.lock().group;
        if let Some(Err(error)) = group.map(ProcessGroup::wait_for_leader) {
            tracing::warn!(%error, "cannot wait for a task, killing it");
        }
        // The id cannot be reused before `child.wait` reaps the leader, so this kills the right group.
        let mut state = self.lock();
        if let Some(group) = state.group.take() {
            group.kill();
        }
        child.wait()
    }

    pub(super) fn finish(&self, result: ExecResult) {
        self.lock().finished = Some(FinishedExecution { at: clock::now(), result });
    }

    fn lock(&self) -> MutexGuard<'_, ExecutionState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
