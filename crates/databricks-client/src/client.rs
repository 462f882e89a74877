//! The calls.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Method;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use tracing::debug;

use crate::{
    Credentials, Error, ErrorKind, Host, RunId,
    error::Call,
    jobs::{ListRuns, Run, RunOutput, RunsPage, SubmitRun, Submitted},
    pool::Workspace,
    retry::{Failure, Spent},
    transport::{self, Exchange},
};

/// Pages of one run that are read; each holds 100 tasks, and a run has at most 1,000 (DA §1.1).
const MAX_RUN_PAGES: usize = 20;

/// Calls one workspace with one credential. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    workspace: Arc<Workspace>,
    credentials: Credentials,
    deadline: Option<Instant>,
}

/// One call, before the version of the API is known.
struct Request<'a> {
    method: Method,
    /// Below `/api/<version>/jobs/`.
    endpoint: &'static str,
    query: &'a [(&'static str, String)],
    body: Option<Bytes>,
    /// Whether it may be sent again although its first sending may have had its effect.
    is_safe: bool,
}

impl Client {
    pub(crate) fn new(workspace: Arc<Workspace>, credentials: Credentials) -> Self {
        Self { workspace, credentials, deadline: None }
    }

    /// The same client for a caller who stops waiting then. It bounds every try and every wait in between.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<std::time::Instant>) -> Self {
        self.deadline = deadline.map(Instant::from_std);
        self
    }

    /// The host that is called.
    pub fn host(&self) -> &Host {
        &self.workspace.host
    }

    /// The name of the credential, for people.
    pub fn credentials_name(&self) -> &str {
        self.credentials.name()
    }

    /// Starts a run and returns its id. With an idempotency token it is tried again after a lost answer, and the same
    /// run comes back; without one it is sent once.
    ///
    /// # Errors
    ///
    /// [`Error`] as its kinds say.
    pub async fn submit_run(&self, run: &SubmitRun) -> Result<RunId, Error> {
        let request = Request {
            is_safe: run.idempotency_token().is_some(),
            ..Request::post("runs/submit", encode(run)?)
        };
        Ok(self.call::<Submitted>(request).await?.run_id)
    }

    /// A run with all its tasks.
    ///
    /// # Errors
    ///
    /// [`Error`]; `RunNotFound` when the workspace says that there is no such run.
    pub async fn get_run(&self, run_id: RunId) -> Result<Run, Error> {
        let mut run: Run =
            self.call(Request::get("runs/get", &[("run_id", run_id.to_string())])).await?;
        for _ in 1..MAX_RUN_PAGES {
            let Some(token) = run.next_page_token.take().filter(|token| !token.is_empty()) else {
                break;
            };
            let query = [("run_id", run_id.to_string()), ("page_token", token)];
            let page: Run = self.call(Request::get("runs/get", &query)).await?;
            // A for-each run pages its iterations and repeats its only task (DA §1.3).
            if page.iterations.is_empty() {
                run.tasks.extend(page.tasks);
            } else {
                run.iterations.extend(page.iterations);
            }
            run.next_page_token = page.next_page_token;
        }
        Ok(run)
    }

    /// What one task run wrote. The id of a whole run is refused (DA §1.4).
    ///
    /// # Errors
    ///
    /// [`Error`] as its kinds say.
    pub async fn get_run_output(&self, task_run_id: RunId) -> Result<RunOutput, Error> {
        self.call(Request::get("runs/get-output", &[("run_id", task_run_id.to_string())])).await
    }

    /// Asks for the end of a run. It ends some time later (DA §3.2).
    ///
    /// # Errors
    ///
    /// [`Error`]; `RunNotFound` when the workspace says that there is no such run.
    pub async fn cancel_run(&self, run_id: RunId) -> Result<(), Error> {
        let body = encode(&serde_json::json!({ "run_id": run_id }))?;
        self.send(&Request::post("runs/cancel", body)).await.map(|_answer| ())
    }

    /// One page of runs, the latest first.
    ///
    /// # Errors
    ///
    /// [`Error`] as its kinds say.
    pub async fn list_runs(&self, list: &ListRuns) -> Result<RunsPage, Error> {
        self.call(Request::get("runs/list", &list.query())).await
    }

    async fn call<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, Error> {
        let answer = self.send(&request).await?;
        let not_the_apis = |why: String| {
            let call = self.described(&request, self.workspace.jobs_version());
            Error::new(ErrorKind::Decode, format!("the answer is not what the API gives ({why})"))
                .with_call(call, 1, Duration::ZERO)
        };
        // A list would pass for an object with every field absent.
        if answer.trim_ascii_start().first() != Some(&b'{') {
            return Err(not_the_apis("it is not a JSON object".to_owned()));
        }
        // serde's own words may quote the answer.
        serde_json::from_slice(&answer).map_err(|error| {
            not_the_apis(format!("line {}, column {}", error.line(), error.column()))
        })
    }

    /// Sends the request until it succeeds, its failure is final, or a bound is reached.
    async fn send(&self, request: &Request<'_>) -> Result<Bytes, Error> {
        let settings = &self.workspace.settings;
        let started = Instant::now();
        let mut random = fastrand::Rng::new();
        let mut attempts = 0;
        loop {
            let version = self.workspace.jobs_version();
            attempts += 1;
            let outcome = self.attempt(request, version, attempts).await;
            let error = match outcome {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            let spent = Spent {
                attempts,
                elapsed: started.elapsed(),
                left: self
                    .deadline
                    .map(|deadline| deadline.saturating_duration_since(Instant::now())),
            };
            // The request was not understood, so it had no effect: it can be sent again whatever it is.
            if error.is_bad_target()
                && self.workspace.fall_back(version)
                && attempts < settings.retry.max_attempts
            {
                continue;
            }
            let failure =
                Failure { is_transient: error.is_retryable(), retry_after: error.retry_after() };
            match settings.retry.next(failure, request.is_safe, spent, &mut random) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => {
                    return Err(error.with_call(
                        self.described(request, version),
                        attempts,
                        started.elapsed(),
                    ));
                }
            }
        }
    }

    async fn attempt(
        &self,
        request: &Request<'_>,
        version: &str,
        attempt: u32,
    ) -> Result<Bytes, Error> {
        let settings = &self.workspace.settings;
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(Error::new(ErrorKind::Timeout, "the caller's time ran out"));
        }
        let authorization = self.credentials.authorization().ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                format!("{} holds characters that no header may hold", self.credentials.name()),
            )
        })?;
        let path = path(version, request.endpoint);
        let outcome = transport::send(
            &self.workspace.http,
            Exchange {
                method: request.method.clone(),
                url: format!("{}{path}", self.workspace.host.base_url()),
                query: request.query,
                body: request.body.as_ref(),
                authorization,
                user_agent: self.workspace.user_agent(&self.credentials),
                timeout: left
                    .map_or(settings.request_timeout, |left| left.min(settings.request_timeout)),
                max_response_bytes: settings.max_response_bytes,
            },
        )
        .await;
        let status = outcome.as_ref().map_or_else(Error::status, |_| Some(200));
        debug!(host = %self.workspace.host, method = %request.method, path, attempt, status, "databricks request");
        outcome
    }

    fn described(&self, request: &Request<'_>, version: &str) -> Call {
        Call {
            method: request.method.clone(),
            path: path(version, request.endpoint),
            host: self.workspace.host.clone(),
        }
    }
}

impl<'a> Request<'a> {
    fn get(endpoint: &'static str, query: &'a [(&'static str, String)]) -> Self {
        Self { method: Method::GET, endpoint, query, body: None, is_safe: true }
    }

    fn post(endpoint: &'static str, body: Bytes) -> Self {
        Self { method: Method::POST, endpoint, query: &[], body: Some(body), is_safe: true }
    }
}

fn path(version: &str, endpoint: &str) -> String {
    format!("/api/{version}/jobs/{endpoint}")
}

fn encode(body: &impl Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|error| {
        Error::new(ErrorKind::Config, "the request could not be written").with_source(error)
    })
}
