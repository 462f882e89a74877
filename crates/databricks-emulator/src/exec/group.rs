//! A process with all that it starts, as one thing that can be killed.

use std::io;
use std::process::{Child, Command};

/// The processes of one task.
#[cfg(unix)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Group(rustix::process::Pid);

#[cfg(unix)]
impl Group {
    /// Starts the first of a new group.
    pub(super) fn spawn(command: &mut Command) -> io::Result<(Child, Self)> {
        use std::os::unix::process::CommandExt as _;
        let child = command.process_group(0).spawn()?;
        let group = Self(rustix::process::Pid::from_child(&child));
        Ok((child, group))
    }

    /// Kills all of them. Only while the first is not reaped: after that its number may be another's.
    pub(super) fn kill(self) {
        let killed = rustix::process::kill_process_group(self.0, rustix::process::Signal::KILL);
        if let Err(error) = killed {
            tracing::debug!(%error, "nothing was left to kill");
        }
    }

    /// Waits until the first has ended, and does not reap it.
    pub(super) fn wait_for_first(self) -> io::Result<()> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(self.0), options))?;
        Ok(())
    }
}

/// The processes of one task: none, where there are no groups of processes.
#[cfg(not(unix))]
#[derive(Clone, Copy, Debug)]
pub(super) enum Group {}

#[cfg(not(unix))]
impl Group {
    pub(super) fn spawn(_command: &mut Command) -> io::Result<(Child, Self)> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "tasks are executed on Unix only"))
    }

    pub(super) fn kill(self) {
        match self {}
    }

    pub(super) fn wait_for_first(self) -> io::Result<()> {
        match self {}
    }
}
