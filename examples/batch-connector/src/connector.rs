//! Translates Flyte's calls into calls of the job API, and the states of a job into phases.

use std::time::{Duration, Instant};

use connector_core::{
    CallContext, Connection, Connector, CreateContext, Error, ErrorKind, Phase, Resource, TaskType,
    attempt::AttemptId,
    run_tracker::{FailureResponse, GracePeriods, PollFailure, RunTracker},
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::job_api::{ApiError, Call, InvalidUrl, Job, JobApi, JobState, NewJob};

/// How long a poll may fail before the task is failed. An unreachable service never fails a task.
const GRACE_PERIODS: GracePeriods = GracePeriods {
    transient: None,
    rejected: Duration::from_mins(15),
    not_found: Duration::from_mins(1),
};

/// Identifies a job. Flyte stores it in clear text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobMeta {
    job_id: String,
}

/// Runs Flyte tasks of type `batch` as jobs of the batch service.
///
/// A task needs a `command` in its `custom` section and a secret named `batch_token`.
#[derive(Debug)]
pub struct BatchConnector {
    api: JobApi,
    tracker: RunTracker<String>,
}

impl BatchConnector {
    /// Creates a connector for the service at this address.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`].
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        Ok(Self { api: JobApi::new(url)?, tracker: RunTracker::new(GRACE_PERIODS) })
    }

    /// Cancels those active jobs of the action that `should_cancel` selects.
    async fn cancel_jobs(
        &self,
        cx: &CreateContext,
        should_cancel: impl Fn(&Job) -> bool + Send + Sync,
    ) -> Result<(), Error> {
        // Without an execution the jobs of this request cannot be identified.
        let Some(action) = AttemptId::from_request(cx).action_key() else { return Ok(()) };
        let call = call(&cx.connection, cx.deadline)?;
        let failed = |error| api_error("cannot cancel jobs of the action", error);
        let jobs = self.api.active(call, &action).await.map_err(failed)?;
        for job in jobs.iter().filter(|job| should_cancel(job)) {
            self.api.cancel(call, &job.id).await.map_err(failed)?;
            info!(job_id = job.id, "orphaned job cancelled");
        }
        Ok(())
    }
}

impl Connector for BatchConnector {
    const NAME: &'static str = "Batch Connector";
    type ResourceMeta = JobMeta;

    fn task_types(&self) -> Vec<TaskType> {
        vec![TaskType::new("batch", 0)]
    }

    async fn create(&self, cx: CreateContext) -> Result<JobMeta, Error> {
        let custom = cx.custom()?;
        let command =
            custom.get("command").and_then(serde_json::Value::as_str).ok_or_else(|| {
                Error::invalid_task("the task has no `command`")
                    .with_hint("set `command` in the task's custom section to a text")
            })?;
        let attempt = AttemptId::from_request(&cx);
        let job = NewJob {
            command: command.to_owned(),
            key: attempt.idempotency_token(&[]),
            action: attempt.action_key().unwrap_or_default(),
            attempt: attempt.retry_attempt(),
        };
        let call = call(&cx.connection, cx.deadline)?;
        let job = self.api.submit(call, &job).await.map_err(|error| {
            let may_have_started = error.may_have_effect();
            api_error("cannot start the job", error).with_may_have_started(may_have_started)
        })?;
        info!(job_id = job.id, "job started");
        Ok(JobMeta { job_id: job.id })
    }

    async fn get(&self, cx: CallContext, meta: JobMeta) -> Result<Resource, Error> {
        let answer = match call(&cx.connection, cx.deadline) {
            Ok(call) => self.api.get(call, &meta.job_id).await,
            Err(error) => {
                let failure = PollFailure::Rejected;
                return Ok(self.keep_or_fail(&meta, failure, &error.to_string()));
            }
        };
        Ok(match answer {
            Ok(job) => {
                let phase = phase(job.state);
                self.tracker.record_phase(&meta.job_id, phase, Instant::now());
                let link = self.api.link(&meta.job_id);
                Resource::new(phase).with_message(message(&job)).with_link("Batch job", link)
            }
            Err(error) => self.keep_or_fail(&meta, poll_failure(&error), &error.to_string()),
        })
    }

    async fn delete(&self, cx: CallContext, meta: JobMeta) -> Result<(), Error> {
        match self.api.cancel(call(&cx.connection, cx.deadline)?, &meta.job_id).await {
            Ok(()) => Ok(()),
            Err(error) if poll_failure(&error) == PollFailure::NotFound => Ok(()),
            Err(error) => Err(api_error("cannot cancel the job", error)),
        }
    }

    async fn cancel_abandoned(
        &self,
        cx: CreateContext,
        meta: Option<JobMeta>,
    ) -> Result<(), Error> {
        if let Some(meta) = meta {
            return self.delete(CallContext::from(cx), meta).await;
        }
        let key = AttemptId::from_request(&cx).idempotency_token(&[]);
        self.cancel_jobs(&cx, |job| job.key == key).await
    }

    async fn cancel_earlier_attempts(&self, cx: CreateContext) -> Result<(), Error> {
        let attempt = AttemptId::from_request(&cx).retry_attempt();
        self.cancel_jobs(&cx, |job| job.attempt < attempt).await
    }
}

impl BatchConnector {
    /// The answer to a failed poll: the last known phase, until a grace period has expired.
    fn keep_or_fail(&self, meta: &JobMeta, failure: PollFailure, error: &str) -> Resource {
        let response = self.tracker.record_failure(&meta.job_id, failure, Instant::now());
        let (FailureResponse::KeepPhase { phase, elapsed }
        | FailureResponse::FailTask { phase, elapsed }) = response;
        let seconds = elapsed.as_secs();
        Resource::new(phase).with_message(format!("no state of the job for {seconds} s: {error}"))
    }
}

/// The credential of a task, with the caller's deadline.
fn call(connection: &Connection, deadline: Option<Instant>) -> Result<Call<'_>, Error> {
    let token: &SecretString = connection.secret("batch_token").ok_or_else(|| {
        Error::failed_precondition("the task has no token for the batch service")
            .with_hint("give the task a secret named `batch_token`")
    })?;
    Ok(Call { token, deadline })
}

fn phase(state: JobState) -> Phase {
    match state {
        JobState::Queued => Phase::WaitingForResources,
        JobState::Running => Phase::Running,
        JobState::Succeeded => Phase::Succeeded,
        JobState::Failed => Phase::RetryableFailed,
        JobState::Cancelled => Phase::Failed,
    }
}

fn message(job: &Job) -> String {
    match (job.state, &job.reason) {
        (_, Some(reason)) => reason.clone(),
        (JobState::Failed, None) => "the job failed without a reason".to_owned(),
        (JobState::Cancelled, None) => "the job was cancelled at the batch service".to_owned(),
        (JobState::Queued, None) => "the job waits for a machine".to_owned(),
        (JobState::Running | JobState::Succeeded, None) => String::new(),
    }
}

fn poll_failure(error: &ApiError) -> PollFailure {
    match error {
        ApiError::Status(status) => match status.as_u16() {
            401 | 403 => PollFailure::Rejected,
            404 => PollFailure::NotFound,
            _ => PollFailure::Transient,
        },
        ApiError::Transport(..) => PollFailure::Transient,
    }
}

fn api_error(what: &str, error: ApiError) -> Error {
    let kind = match &error {
        ApiError::Status(status) => match status.as_u16() {
            400 | 422 => ErrorKind::InvalidTask,
            401 => ErrorKind::Unauthenticated,
            403 => ErrorKind::Forbidden,
            429 => ErrorKind::Exhausted,
            _ => ErrorKind::Unavailable,
        },
        ApiError::Transport(error, _) if error.is_timeout() => ErrorKind::DeadlineExceeded,
        ApiError::Transport(..) => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("{what}: {error}")).with_source(error)
}
