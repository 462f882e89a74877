//! The state that all verbs share, and how a call gets its host, credential and client.
//!
//! The verbs (`create`, `get`, `delete`, `task_logs`, `task_metrics`) take `&Context` and never the connector. What only one verb
//! needs belongs to that verb. Which credential is used is decided in `credentials`.

use std::time::{Duration, Instant};

use connector_core::{CallContext, CreateContext, Error, ErrorKind, attempt::AttemptId};
use databricks_client::{Client, Credentials, Host, RequestClass};

use crate::{
    config::settings::Settings,
    credentials::error::CredentialError,
    known_clusters::KnownClusters,
    run_meta::{CredentialRef, RunMeta},
    run_tracker::{CREDENTIAL_TTL, RunTracker},
    task::DatabricksTask,
    telemetry::call_log,
};

/// The part of the caller's deadline that is reserved for building the response.
const RESPONSE_MARGIN: Duration = Duration::from_millis(100);

/// The shortest time in which a request of a submission is sent.
const MIN_SUBMISSION_TIME: Duration = Duration::from_millis(100);

/// The connector's settings and in-memory state.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) run_tracker: RunTracker,
    pub(crate) known_clusters: KnownClusters,
}

impl Context {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            run_tracker: RunTracker::new(settings.grace_periods),
            settings,
            known_clusters: KnownClusters::default(),
        }
    }

    /// Returns the client for a new task, and the name of its credential if later calls need it.
    ///
    /// # Errors
    ///
    /// When the task's host is unknown or not allowed, or there is no credential for it.
    pub(crate) async fn client_for_task(
        &self,
        cx: &CreateContext,
        task: &DatabricksTask,
        attempt: &AttemptId,
    ) -> Result<(Client, Option<CredentialRef>), Error> {
        let host = self.host_of_task(task)?;
        call_log::workspace(&host);
        let credentials = &self.settings.credentials;
        let (credentials, name) = credentials.for_task(&host, cx, task, attempt).await?;
        // Reads that a submission needs do not wait behind polls.
        let client = self
            .client(&host, credentials, cx.deadline)
            .with_request_class(RequestClass::Write)
            .with_min_time(MIN_SUBMISSION_TIME);
        Ok((client, name))
    }

    fn host_of_task(&self, task: &DatabricksTask) -> Result<Host, Error> {
        let host = match (&task.instance, &self.settings.default_host) {
            (Some(instance), _) => Host::parse(instance).map_err(|error| {
                Error::invalid_task("the task's `databricksInstance` is not a workspace address")
                    .with_hint("give the host name alone, such as `dbc-1234.cloud.databricks.com`")
                    .with_source(error)
            })?,
            (None, Some(host)) => host.clone(),
            (None, None) => {
                return Err(Error::failed_precondition("the task has no Databricks workspace").with_hint(
                    "set `databricks_instance` in the task, or FLYTE_DATABRICKS_INSTANCE on the connector",
                ));
            }
        };
        self.permit(&host)?;
        Ok(self.settings.with_configured_workspace_id(host))
    }

    /// Returns the client for a call about a run. `last_seen` is the credential of last resort.
    ///
    /// # Errors
    ///
    /// When the host is not allowed, or there is no credential for it.
    pub(crate) async fn client_for_run(
        &self,
        host: &Host,
        cx: &CallContext,
        meta: &RunMeta,
        last_seen: Option<Credentials>,
    ) -> Result<Client, CredentialError> {
        self.permit(host).map_err(CredentialError::permanent)?;
        let credentials = &self.settings.credentials;
        let credentials = credentials.for_run(host, cx, meta, last_seen).await?;
        Ok(self.client(host, credentials, cx.deadline))
    }

    /// Returns the client for a log or metric call, which carries no connection (flyte-contract.md#logs-and-metrics).
    ///
    /// # Errors
    ///
    /// `InvalidMeta`; otherwise as [`Self::client_for_run`].
    pub(crate) async fn client_without_connection(
        &self,
        cx: &CallContext,
        meta: &RunMeta,
    ) -> Result<Client, Error> {
        let host = host_of_run(meta)?;
        let last_seen = self.run_tracker.remembered(
            &(host.clone(), meta.run_id),
            CREDENTIAL_TTL,
            Instant::now(),
        );
        self.client_for_run(&host, cx, meta, last_seen).await.map_err(|failed| failed.error)
    }

    /// Rejects a host that no token may be sent to.
    ///
    /// # Errors
    ///
    /// `Forbidden` when the host is not allowed.
    pub(crate) fn permit(&self, host: &Host) -> Result<(), Error> {
        self.settings.hosts.check(host).map_err(|forbidden| {
            Error::new(ErrorKind::Forbidden, forbidden.to_string())
                .with_hint("the operator can add the host to FLYTE_DATABRICKS_ALLOWED_HOSTS")
        })
    }

    /// Returns the client of a workspace, limited by the caller's deadline, or by the configured one if the caller has
    /// none.
    pub(crate) fn client(
        &self,
        host: &Host,
        credentials: Credentials,
        deadline: Option<Instant>,
    ) -> Client {
        let deadline = deadline.unwrap_or_else(|| Instant::now() + self.settings.call_timeout);
        let deadline = deadline.checked_sub(RESPONSE_MARGIN).unwrap_or(deadline);
        self.settings.pool.client(host, credentials).with_deadline(Some(deadline))
    }
}

/// Returns the workspace of a run, and records both in the log line of the call.
///
/// # Errors
///
/// `InvalidMeta` when the meta has no workspace address. Neither this connector nor the Python plugin writes such meta.
pub(crate) fn host_of_run(meta: &RunMeta) -> Result<Host, Error> {
    let parsed = Host::parse(&meta.databricks_instance);
    let host = match &meta.workspace_id {
        Some(id) => parsed.and_then(|host| host.with_workspace_id(id)),
        None => parsed,
    }
    .map_err(|error| {
        Error::invalid_meta("the resource meta's `databricks_instance` is not a workspace address")
            .with_source(error)
    })?;
    call_log::workspace(&host);
    call_log::run(meta.run_id);
    Ok(host)
}
