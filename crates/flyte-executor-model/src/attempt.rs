//! One attempt, as the executor's connector plugin and its cache know it (FC §1.5).

use crate::report::{self, Fault, Kind, Phase, Report, TaskError};
use crate::settings::Settings;
use crate::task::Outputs;
use flyteidl2::connector::Resource;

/// What the cache does when the turn of an attempt comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polling {
    /// It calls `GetTask`.
    Get,
    /// It does not, and never will again.
    Over,
}

/// An attempt that `CreateTask` has accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// What `CreateTask` answered.
    resource_meta: Vec<u8>,
    /// `GetTask` errors so far. Nothing takes one back (FC §0.3).
    failures: u32,
    last_error: String,
    /// The last answer that was no error.
    latest: Option<Resource>,
    /// The errors were too many, and the cache has noticed.
    gave_up: bool,
}

impl Attempt {
    /// An attempt that has this handle.
    pub fn new(resource_meta: Vec<u8>) -> Self {
        Self { resource_meta, failures: 0, last_error: String::new(), latest: None, gave_up: false }
    }

    /// What `CreateTask` answered.
    pub fn resource_meta(&self) -> &[u8] {
        &self.resource_meta
    }

    /// The turn of this attempt has come.
    pub fn poll(&mut self, settings: &Settings) -> Polling {
        if self.gave_up || self.latest.as_ref().is_some_and(report::is_terminal) {
            return Polling::Over;
        }
        if self.failures > settings.max_sync_failures {
            // Not at the last error, but at the turn after it.
            self.gave_up = true;
            return Polling::Over;
        }
        Polling::Get
    }

    /// `GetTask` was answered.
    pub fn got(&mut self, answer: Result<Resource, &Fault>) {
        match answer {
            Ok(resource) => self.latest = Some(resource),
            Err(fault) => {
                self.failures += 1;
                self.last_error = fault.of_get();
            }
        }
    }

    /// The executor was started anew: the errors are written down with the task, the answers are not. So an attempt that
    /// was frozen fails (read in the executor's source, not seen running).
    pub fn restarted(&mut self) {
        self.latest = None;
        self.gave_up = false;
    }

    /// `GetTask` errors so far.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether nobody will ever ask again how the work stands, though the last answer was not an end: the task keeps
    /// its last phase for ever (FC §0.3).
    pub fn is_frozen(&self) -> bool {
        self.gave_up && self.latest.as_ref().is_some_and(|latest| !report::is_terminal(latest))
    }

    /// The executor looks at the attempt.
    ///
    /// # Errors
    ///
    /// A system error, in the executor's words.
    pub fn look(&self, outputs: Outputs) -> Result<Report, String> {
        let Some(latest) = &self.latest else {
            return Ok(if self.gave_up {
                let error = TaskError {
                    code: "AutoRefreshCacheFailed",
                    kind: Kind::User,
                    message: self.last_error.clone(),
                };
                Report::failure(Phase::PermanentFailure, error)
            } else {
                Report::new(Phase::Queued, 0, "job submitted")
            });
        };
        let report = Report::of(latest)?;
        if report.phase == Phase::Success && latest.outputs.is_none() && outputs == Outputs::Missing
        {
            return Err("failed to read data from dataDir: no outputs.pb".to_owned());
        }
        Ok(report)
    }
}
