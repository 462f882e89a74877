//! One execution, shared by the run that waits for it and the thread that does it.

use super::group::Group;
use crate::clock;
use crate::script::Outcome;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A handle of one execution; clones are of the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Execution(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    may_start: bool,
    stopped: bool,
    /// The processes, from their start until the first of them is reaped. Only that long is its number ours.
    group: Option<Group>,
    finished: Option<Finished>,
}

/// What came of an execution.
#[derive(Debug)]
pub(crate) struct Finished {
    /// When, since the epoch.
    pub(crate) at: Duration,
    pub(crate) end: End,
}

/// How a process ended, and what it wrote.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    pub(crate) logs: String,
    pub(crate) logs_truncated: bool,
}

impl End {
    /// The failure of a task that wrote nothing.
    pub(crate) fn failed(error: String) -> Self {
        let outcome = Outcome::Failed { error, error_trace: String::new() };
        Self { outcome, logs: String::new(), logs_truncated: false }
    }
}

impl Execution {
    /// One that never starts and has failed.
    pub(crate) fn refused(reason: String) -> Self {
        let execution = Self::default();
        execution.finish(End::failed(reason));
        execution
    }

    /// Lets it start.
    pub(crate) fn go(&self) {
        self.lock().may_start = true;
        self.0.changed.notify_all();
    }

    /// Ends its processes, or keeps them from starting.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        if let Some(group) = &state.group {
            group.kill();
        }
        self.0.changed.notify_all();
    }

    /// What came of it, once and for one asker.
    pub(crate) fn take_finished(&self) -> Option<Finished> {
        self.lock().finished.take()
    }

    /// Waits until it may start; `false`: it is stopped already.
    pub(super) fn waits_for_start(&self, after: Option<Duration>) -> bool {
        let waits = |state: &mut State| !state.may_start && !state.stopped;
        let state = self.lock();
        let state = if let Some(time) = after {
            let waited = self.0.changed.wait_timeout_while(state, time, waits);
            waited.unwrap_or_else(PoisonError::into_inner).0
        } else {
            let waited = self.0.changed.wait_while(state, waits);
            waited.unwrap_or_else(PoisonError::into_inner)
        };
        !state.stopped
    }

    /// Starts the program as the first of a group of its own.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut state = self.lock();
        if state.stopped {
            return Err(io::Error::other("it was stopped"));
        }
        let (child, group) = Group::spawn(command)?;
        state.group = Some(group);
        Ok(child)
    }

    /// Waits for the end of the program, and ends what it left behind.
    pub(super) fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        // Apart from the lock, so that it can be stopped meanwhile.
        let group = self.lock().group;
        if let Some(Err(error)) = group.map(Group::wait_for_first) {
            tracing::warn!(%error, "the end of a task cannot be waited for, so it is ended");
        }
        // Until it is reaped nobody else can get its number, so what is killed here is ours.
        let mut state = self.lock();
        if let Some(group) = state.group.take() {
            group.kill();
        }
        child.wait()
    }

    pub(super) fn finish(&self, end: End) {
        self.lock().finished = Some(Finished { at: clock::now(), end });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
