//! Client of the job API. Knows nothing of Flyte.
//!
//! | call | effect |
//! | --- | --- |
//! | `POST /jobs` with a [`NewJob`] | starts a job, or returns the job with the same `key` |
//! | `GET /jobs?action=A` | the active jobs with this action |
//! | `GET /jobs/{id}` | one [`Job`] |
//! | `POST /jobs/{id}/cancel` | cancels the job; no effect on an ended one |

use std::{
    fmt,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Limit of a call without a deadline.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A job to start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewJob {
    /// What to run.
    pub command: String,
    /// Idempotency key: the service starts one job for each key.
    pub key: String,
    /// Identifies the action in Flyte; equal for all its attempts.
    pub action: String,
    /// Counts the attempts of the action from 0.
    pub attempt: u32,
}

/// A job of the service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The service's id.
    pub id: String,
    /// How far the job is.
    pub state: JobState,
    /// Why it failed.
    pub reason: Option<String>,
    /// As submitted.
    pub attempt: u32,
    /// As submitted.
    pub key: String,
}

/// The states of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for a machine.
    Queued,
    /// Runs.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Was cancelled.
    Cancelled,
}

/// A failed call. Never contains the token.
#[derive(Debug)]
#[non_exhaustive]
pub enum ApiError {
    /// The service answered with this status.
    Status(StatusCode),
    /// The request was not sent, not answered, or not answered as the API promises. `true`: it may have had an effect.
    Transport(reqwest::Error, bool),
}

impl ApiError {
    /// True if the request may have taken effect although it failed.
    pub fn may_have_effect(&self) -> bool {
        match self {
            Self::Status(status) => status.is_server_error(),
            Self::Transport(_, may_have_effect) => *may_have_effect,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the batch service answered {status}"),
            Self::Transport(error, _) if error.is_timeout() => {
                f.write_str("the batch service did not answer in time")
            }
            Self::Transport(error, _) if error.is_decode() => {
                f.write_str("the answer of the batch service is malformed")
            }
            Self::Transport(..) => f.write_str("the batch service is unreachable"),
        }
    }
}

impl std::error::Error for ApiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Status(_) => None,
            Self::Transport(error, _) => Some(error),
        }
    }
}

/// The address of the service is not an http or https URL.
#[derive(Debug)]
pub struct InvalidUrl(String);

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not an http or https URL", self.0)
    }
}

impl std::error::Error for InvalidUrl {}

/// A client of the service. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct JobApi {
    http: reqwest::Client,
    base: Url,
}

/// The credential and the deadline of one call.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Sent as a bearer token.
    pub token: &'a SecretString,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
}

impl JobApi {
    /// Creates a client for the service at this address.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`] unless the address is an http or https URL.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        let base = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let base = base.ok_or_else(|| InvalidUrl(url.to_owned()))?;
        Ok(Self { http: reqwest::Client::new(), base })
    }

    /// Starts a job.
    ///
    /// # Errors
    ///
    /// [`ApiError`]; repeat the call with the same key after one.
    pub async fn submit(&self, call: Call<'_>, job: &NewJob) -> Result<Job, ApiError> {
        self.send(call, Method::POST, self.url(&["jobs"]), Some(job)).await
    }

    /// Returns a job.
    ///
    /// # Errors
    ///
    /// [`ApiError`]; the status 404 means that the service does not know the job.
    pub async fn get(&self, call: Call<'_>, id: &str) -> Result<Job, ApiError> {
        self.send(call, Method::GET, self.url(&["jobs", id]), None).await
    }

    /// Returns the active jobs of an action.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub async fn active(&self, call: Call<'_>, action: &str) -> Result<Vec<Job>, ApiError> {
        let mut url = self.url(&["jobs"]);
        url.query_pairs_mut().append_pair("action", action);
        self.send(call, Method::GET, url, None).await
    }

    /// Cancels a job.
    ///
    /// # Errors
    ///
    /// [`ApiError`]; the status 404 means that the service does not know the job.
    pub async fn cancel(&self, call: Call<'_>, id: &str) -> Result<(), ApiError> {
        let url = self.url(&["jobs", id, "cancel"]);
        let _job: Job = self.send(call, Method::POST, url, None).await?;
        Ok(())
    }

    /// Returns the address of a job's page.
    pub fn link(&self, id: &str) -> String {
        self.url(&["jobs", id]).into()
    }

    /// Appends path segments, percent-encoded.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    async fn send<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        method: Method,
        url: Url,
        body: Option<&NewJob>,
    ) -> Result<T, ApiError> {
        let timeout = call
            .deadline
            .map_or(DEFAULT_TIMEOUT, |deadline| deadline.saturating_duration_since(Instant::now()));
        let mut request =
            self.http.request(method, url).timeout(timeout).bearer_auth(call.token.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| {
            let may_have_effect = !error.is_connect();
            ApiError::Transport(error.without_url(), may_have_effect)
        })?;
        if !response.status().is_success() {
            return Err(ApiError::Status(response.status()));
        }
        response.json().await.map_err(|error| ApiError::Transport(error.without_url(), true))
    }
}
