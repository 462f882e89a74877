//! A process and its descendants.

use std::io;
use std::process::{Child, Command};

/// The process group of a task.
#[cfg(unix)]
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessGroup(rustix::process::Pid);

#[cfg(unix)]
impl ProcessGroup {
    /// Spawns the leader of a new process group.
    pub(super) fn spawn(command: &mut Command) -> io::Result<(Child, Self)> {
        use std::os::unix::process::CommandExt as _;
        let child = command.process_group(0).spawn()?;
        let group = Self(rustix::process::Pid::from_child(&child));
        Ok((child, group))
    }

    /// Kills the group. Must not be called after the leader is reaped: its id may then belong to another process.
    pub(super) fn kill(self) {
        let killed = rustix::process::kill_process_group(self.0, rustix::process::Signal::KILL);
        if let Err(error) = killed {
            tracing::debug!(%error, "no process left to kill");
        }
    }

    /// Waits until the leader has exited, without reaping it.
    pub(super) fn wait_for_leader(self) -> io::Result<()> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(self.0), options))?;
        Ok(())
    }
}

/// The process group of a task. Not available on this platform.
#[cfg(not(unix))]
#[derive(Clone, Copy, Debug)]
pub(super) enum ProcessGroup {}

#[cfg(not(unix))]
impl ProcessGroup {
    pub(super) fn spawn(_command: &mut Command) -> io::Result<(Child, Self)> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "tasks are executed on Unix only"))
    }

    pub(super) fn kill(self) {
        match self {}
    }

    pub(super) fn wait_for_leader(self) -> io::Result<()> {
        match self {}
    }
}
