//! The calls.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::{Instrument as _, debug};

use crate::{
    Credentials, Error, ErrorKind, Host, RunId,
    budget::{Budget, Lane},
    credentials::Minting,
    error::Call,
    gate::{FAIR_CHANCE, Tried},
    jobs::{ListRuns, Run, RunNow, RunOutput, RunsPage, SubmitRun, Submitted},
    pool::{Settings, Workspace},
    request::{Endpoint, Request},
    retry::{self, Failure, Spent},
    spans,
    transport::{self, Exchange, Received},
};

/// Pages of one run that are read; each holds 100 tasks, and a run has at most 1,000 (DA §1.1).
const MAX_RUN_PAGES: usize = 20;

/// Calls one workspace with one credential. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    workspace: Arc<Workspace>,
    budget: Arc<Budget>,
    credentials: Credentials,
    deadline: Option<Instant>,
    /// In place of the lane that each request belongs to.
    lane: Option<Lane>,
}

/// What came of a call that succeeded.
#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    body: Bytes,
    /// The version of the API that was asked.
    version: &'static str,
    attempts: u32,
    elapsed: Duration,
}

impl Client {
    pub(crate) fn new(
        workspace: Arc<Workspace>,
        budget: Arc<Budget>,
        credentials: Credentials,
    ) -> Self {
        Self { workspace, budget, credentials, deadline: None, lane: None }
    }

    /// The same client for a caller who stops waiting then. It bounds every try and every wait in between. Without one
    /// each call has the time of [`ClientPoolBuilder::call_timeout`](crate::ClientPoolBuilder::call_timeout).
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<std::time::Instant>) -> Self {
        self.deadline = deadline.map(Instant::from_std);
        self
    }

    /// The same client for something that is worth no more time than this; a deadline that is earlier stays.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        let limit = Instant::now().checked_add(limit);
        self.deadline = self.deadline.into_iter().chain(limit).min();
        self
    }

    /// The same client, whose every call is taken from one lane of the budget. What is read for a submission is a part
    /// of it: it must not wait behind reads that can come again.
    #[must_use]
    pub fn in_lane(mut self, lane: Lane) -> Self {
        self.lane = Some(lane);
        self
    }

    /// When the caller stops waiting, or when the time of a call is over that begins now.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline.unwrap_or_else(|| Instant::now() + self.workspace.settings.call_timeout)
    }

    /// The same client until then.
    pub(crate) fn until(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.workspace.settings
    }

    /// What calls another host, for which no token is meant.
    pub(crate) fn http_beside(&self, host: &Host) -> &reqwest::Client {
        // No proxy reaches this machine's own loopback.
        let is_near = *host == self.workspace.host
            || (host.is_loopback() && self.workspace.host.is_loopback());
        if is_near { &self.workspace.http } else { &self.workspace.cloud }
    }

    fn lane_of(&self, request: &Request<'_>) -> Lane {
        self.lane.unwrap_or_else(|| request.lane())
    }

    /// The host that is called.
    pub fn host(&self) -> &Host {
        &self.workspace.host
    }

    /// The credential of every call.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
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
        let request = Request::post(Endpoint::Jobs("runs/submit"), run)?
            .safe_if(run.idempotency_token().is_some());
        Ok(self.call::<Submitted>(&request).await?.run_id)
    }

    /// Starts a run of a job that is there already, and returns the id of the run. Tried again as a submission is.
    ///
    /// # Errors
    ///
    /// [`Error`] as its kinds say.
    pub async fn run_now(&self, run: &RunNow) -> Result<RunId, Error> {
        let is_safe = run.idempotency_token().is_some();
        let request = Request::post(Endpoint::Jobs("run-now"), run)?.safe_if(is_safe);
        Ok(self.call::<Submitted>(&request).await?.run_id)
    }

    /// A run with all its tasks: of 2.2, which gives 100 at a time, as many pages as there are (DA §1.3). Should there
    /// be more pages than a run can have, [`Run::next_page_token`] is where the rest starts.
    ///
    /// # Errors
    ///
    /// [`Error`]; `RunNotFound` when the workspace says that there is no such run.
    pub async fn get_run(&self, run_id: RunId) -> Result<Run, Error> {
        let query = [("run_id", run_id.to_string())];
        let mut run: Run =
            self.call(&Request::get(Endpoint::Jobs("runs/get"), &query).naming_a_run()).await?;
        for _ in 1..MAX_RUN_PAGES {
            let Some(token) = run.next_page_token.take().filter(|token| !token.is_empty()) else {
                break;
            };
            let query = [("run_id", run_id.to_string()), ("page_token", token)];
            let page: Run =
                self.call(&Request::get(Endpoint::Jobs("runs/get"), &query).naming_a_run()).await?;
            run.iterations.extend(page.iterations);
            // A for-each run pages its iterations, and repeats its only task on every page (DA §1.3).
            if run.iterations.is_empty() {
                run.tasks.extend(page.tasks);
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
        let query = [("run_id", task_run_id.to_string())];
        self.call(&Request::get(Endpoint::Jobs("runs/get-output"), &query).naming_a_run()).await
    }

    /// Asks for the end of a run. It ends some time later (DA §3.2).
    ///
    /// # Errors
    ///
    /// [`Error`]; `RunNotFound` when the workspace says that there is no such run.
    pub async fn cancel_run(&self, run_id: RunId) -> Result<(), Error> {
        let body = serde_json::json!({ "run_id": run_id });
        let request =
            Request::post(Endpoint::Jobs("runs/cancel"), &body)?.safe_if(true).naming_a_run();
        // The answer is empty or `{}` (DA §1.0).
        self.send(&request).await.map(|_answer| ())
    }

    /// One page of runs, the latest first.
    ///
    /// # Errors
    ///
    /// [`Error`] as its kinds say.
    pub async fn list_runs(&self, list: &ListRuns) -> Result<RunsPage, Error> {
        self.call(&Request::get(Endpoint::Jobs("runs/list"), &list.query())).await
    }

    /// Sends the request and reads the answer, which must be a JSON object.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        request: &Request<'_>,
    ) -> Result<T, Error> {
        let answer = self.send(request).await?;
        let not_the_apis = |why: String| {
            Error::new(ErrorKind::Decode, format!("the answer is not what the API gives ({why})"))
                .with_status(answer.status)
                .with_call(self.called(request, answer.version), answer.attempts, answer.elapsed)
        };
        // A list would pass for an object with every field absent.
        if answer.body.trim_ascii_start().first() != Some(&b'{') {
            return Err(not_the_apis("it is not a JSON object".to_owned()));
        }
        // serde's own words may quote the answer.
        serde_json::from_slice(&answer.body).map_err(|error| {
            not_the_apis(format!("line {}, column {}", error.line(), error.column()))
        })
    }

    /// Sends the request and hands over the bytes of the answer.
    pub(crate) async fn bytes(&self, request: &Request<'_>) -> Result<Bytes, Error> {
        self.send(request).await.map(|answer| answer.body)
    }

    /// Sends the request until it succeeds, its failure is final, or a bound is reached.
    pub(crate) async fn send(&self, request: &Request<'_>) -> Result<Answer, Error> {
        let settings = &self.workspace.settings;
        let started = Instant::now();
        let mut random = fastrand::Rng::new();
        let deadline = self.deadline.unwrap_or_else(|| started + settings.call_timeout);
        let mut attempts = 0;
        let mut was_refused = false;
        let mut before = None;
        loop {
            let version = self.workspace.jobs_version();
            attempts += 1;
            let is_hurried = deadline.saturating_duration_since(Instant::now()) < FAIR_CHANCE;
            // On the heap: every future of a caller would carry it otherwise.
            let outcome = Box::pin(self.attempt(request, version, attempts, deadline)).await;
            let error = match outcome {
                Ok(Received { status, body }) => {
                    let elapsed = started.elapsed();
                    return Ok(Answer { status, body, version, attempts, elapsed });
                }
                Err(error) => error,
            };
            let is_unsent = error.is_unsent();
            if is_unsent {
                attempts -= 1;
            }
            let spent = Spent {
                attempts,
                elapsed: started.elapsed(),
                left: deadline.saturating_duration_since(Instant::now()),
            };
            // A refused token had no effect: a new one, where one can be had, is tried once. A page in place of an answer
            // is no sure refusal.
            if !was_refused
                && error.is_refused_token()
                && (request.is_safe || !error.is_told_as_success())
            {
                was_refused = true;
                if error.proof().is_some_and(|proof| self.credentials.refused(self.host(), proof)) {
                    continue;
                }
            }
            // The request was not understood, so it had no effect: it is sent again whatever it is. Only one that asked
            // for 2.2 can be, so this happens once.
            if request.is_versioned() && error.is_bad_target() && self.workspace.fall_back(version)
            {
                continue;
            }
            let failure = Failure {
                is_transient: error.is_retryable()
                    && is_worth_waiting(&error, self.lane_of(request)),
                retry_after: error.retry_after(),
            };
            // What was not sent had no effect.
            let is_safe = request.is_safe || is_unsent;
            match settings.retry.next(failure, is_safe, spent, &mut random) {
                Some(delay) => {
                    before = Some(error);
                    tokio::time::sleep(delay).await;
                }
                None => {
                    return Err(telling(error, before, is_hurried).with_call(
                        self.called(request, version),
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
        version: &'static str,
        attempt: u32,
        deadline: Instant,
    ) -> Result<Received, Error> {
        let settings = &self.workspace.settings;
        let out_of_time =
            || Error::new(ErrorKind::Timeout, "the caller's time ran out").before_sending();
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(out_of_time());
        }
        let http = &self.workspace.http;
        // Before the turn: a failing authority is no fault of the workspace.
        let minting = Minting {
            host: self.host(),
            http,
            cloud: &self.workspace.cloud,
            observer: self.workspace.gate.observer(),
            deadline,
        };
        let proofs = self.credentials.proofs(minting).await?;
        let generation = proofs.generation;
        let path = request.path(version);
        let wait_until = Instant::now() + retry::wait(left);
        let turn =
            self.workspace.gate.turn(&self.budget, self.lane_of(request), wait_until).await?;
        let sent = Instant::now();
        let left = deadline.saturating_duration_since(sent);
        if left.is_zero() {
            return Err(out_of_time());
        }
        let timeout = turn.timeout(settings.retry.timeout(
            settings.request_timeout,
            request.is_safe,
            attempt,
            left,
        ));
        let endpoint = request.name();
        let span = spans::request(self.host(), &request.method, endpoint, attempt);
        let propagate = settings.propagate.as_ref();
        let outcome = transport::send(
            http,
            Exchange {
                method: request.method.clone(),
                url: format!("{}{path}{}", self.workspace.host.base_url(), request.suffix),
                query: request.query,
                span: request.span,
                body: request.body.as_ref(),
                names_a_run: request.names_a_run,
                credentials: &self.credentials,
                proofs: proofs.headers,
                user_agent: self.workspace.user_agent(&self.credentials),
                trace: propagate
                    .map(|propagate| span.in_scope(|| propagate.headers()))
                    .unwrap_or_default(),
                timeout,
                max_response_bytes: settings.max_response_bytes,
            },
        )
        .instrument(span.clone())
        .await;
        turn.finish(&outcome, Tried { endpoint, attempt, timeout, duration: sent.elapsed() });
        let (status, failure) = match &outcome {
            Ok(received) => (Some(received.status), None),
            Err(error) => (error.status(), Some(error.kind())),
        };
        spans::end(&span, status, outcome.as_ref().err());
        debug!(
            host = %self.workspace.host,
            method = %request.method,
            path,
            attempt,
            status,
            failure = failure.map(tracing::field::debug),
            "databricks request"
        );
        outcome.map_err(|error| error.with_proof(generation))
    }

    fn called(&self, request: &Request<'_>, version: &str) -> Call {
        Call {
            method: request.method.clone(),
            path: request.path(version),
            host: self.workspace.host.clone(),
        }
    }
}

/// The failure that is told: a try that the caller's deadline cut short says less than the one before it.
fn telling(last: Error, before: Option<Error>, is_hurried: bool) -> Error {
    before.filter(|_| is_hurried && last.is_without_answer_in_time()).unwrap_or(last)
}

/// Whether a call that failed should wait for another try. A host that is down is waited for only by writes: a failed
/// submission costs its task an attempt, and a read comes again by itself.
fn is_worth_waiting(error: &Error, lane: Lane) -> bool {
    match error.kind() {
        ErrorKind::Throttled => false,
        ErrorKind::HostDown => lane == Lane::Writes,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_that_the_deadline_cut_short_does_not_hide_the_failure_before_it() {
        let told = |last, before: Option<ErrorKind>, is_hurried| {
            let before = before.map(|kind| Error::new(kind, "x"));
            telling(Error::new(last, "x"), before, is_hurried).kind()
        };
        let (unavailable, timeout) = (ErrorKind::Unavailable, ErrorKind::Timeout);
        assert_eq!(told(timeout, Some(unavailable), true), unavailable);
        // A workspace that had its fair chance to answer, and did not, is what is wrong.
        assert_eq!(told(timeout, Some(unavailable), false), timeout);
        assert_eq!(told(timeout, None, true), timeout);
        assert_eq!(told(ErrorKind::Connect, Some(unavailable), true), ErrorKind::Connect);
    }
}
