//! The state of one attempt in the executor's connector plugin and its cache (flyte-contract.md#gettask).

use crate::report::{self, CallFailure, ErrorClass, Phase, Report, TaskError};
use crate::settings::ExecutorSettings;
use flyteidl2::connector::Resource;

/// Whether the outputs of the task exist, if the response contains none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// The task declares no outputs, or they exist.
    Present,
    /// The task declares outputs, and there is no `outputs.pb`.
    Missing,
}

/// What the cache does when an attempt is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextPoll {
    /// Calls `GetTask`.
    Get,
    /// Does nothing until the next interval: the previous call has not returned.
    Skip,
    /// Stops polling for good.
    Stop,
}

/// An attempt that `CreateTask` accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The handle that `CreateTask` returned.
    resource_meta: Vec<u8>,
    /// `GetTask` errors so far. A success does not reset them (flyte-contract.md#gettask-errors).
    failures: u32,
    last_error: String,
    /// The last successful response.
    latest: Option<Resource>,
    /// Polling has stopped because of too many errors.
    stopped: bool,
    /// A `GetTask` call has not returned.
    is_polled: bool,
}

impl Attempt {
    /// Creates an attempt with this handle.
    pub fn new(resource_meta: Vec<u8>) -> Self {
        Self {
            resource_meta,
            failures: 0,
            last_error: String::new(),
            latest: None,
            stopped: false,
            is_polled: false,
        }
    }

    /// Returns the handle that `CreateTask` returned.
    pub fn resource_meta(&self) -> &[u8] {
        &self.resource_meta
    }

    /// Decides whether to poll the attempt now.
    pub fn poll(&mut self, settings: &ExecutorSettings) -> NextPoll {
        if self.stopped || self.latest.as_ref().is_some_and(report::is_terminal) {
            return NextPoll::Stop;
        }
        if self.is_polled {
            return NextPoll::Skip;
        }
        if self.failures > settings.max_sync_failures {
            // Polling stops not at the last error, but when the attempt is due next.
            self.stopped = true;
            return NextPoll::Stop;
        }
        self.is_polled = true;
        NextPoll::Get
    }

    /// Records the result of a `GetTask` call.
    pub fn got(&mut self, response: Result<Resource, &CallFailure>) {
        self.is_polled = false;
        match response {
            Ok(resource) => self.latest = Some(resource),
            Err(failure) => {
                self.failures += 1;
                self.last_error = failure.get_message();
            }
        }
    }

    /// Records a restart of the executor. It persists the error count, but not the responses, so a frozen attempt then fails
    /// (from the executor's source; not observed).
    pub fn restarted(&mut self) {
        self.latest = None;
        self.stopped = false;
        self.is_polled = false;
    }

    /// Returns the number of `GetTask` errors so far.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// True if polling has stopped in a non-terminal phase: the task keeps this phase forever
    /// (flyte-contract.md#gettask-errors).
    pub fn is_frozen(&self) -> bool {
        self.stopped && self.latest.as_ref().is_some_and(|latest| !report::is_terminal(latest))
    }

    /// Returns what the plugin reports at a reconciliation.
    ///
    /// # Errors
    ///
    /// A system error in the executor's wording.
    pub fn report(&self, outputs: Outputs) -> Result<Report, String> {
        let Some(latest) = &self.latest else {
            return Ok(if self.stopped {
                let error = TaskError {
                    code: "AutoRefreshCacheFailed",
                    class: ErrorClass::User,
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
