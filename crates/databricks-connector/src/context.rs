//! The state that all verbs share, and how a call gets its host, credential and client.
//!
//! Verbs (`create`, `get`, `delete`, `logs`, `metrics`) take `&Context` and never the connector. What only one verb
//! needs stays with that verb.

use std::time::{Duration, Instant};

use connector_core::{CallContext, Error, ErrorKind};
use databricks_client::{Client, Credentials, Host, RunId};

use crate::{
    config::Settings,
    create::{submission::Choices, tags::Cloud},
    credentials::{
        self,
        namespace_secret::{self, NoSecret},
    },
    get::{run_tracker::RunTracker, unverified_success::UnverifiedSuccesses},
    logs::known_clusters::KnownClusters,
    run_meta::{CredentialRef, RunMeta},
    task::DatabricksTask,
    telemetry::{Orphan, call_log},
};

/// Time reserved for building the answer when Databricks has used the rest of the caller's deadline.
const ANSWER_MARGIN: Duration = Duration::from_millis(100);

/// The connector's settings and in-memory state.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) run_tracker: RunTracker,
    pub(crate) unverified_successes: UnverifiedSuccesses,
    pub(crate) known_clusters: KnownClusters,
}

impl Context {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            run_tracker: RunTracker::default(),
            unverified_successes: UnverifiedSuccesses::default(),
            known_clusters: KnownClusters::default(),
        }
    }

    /// The operator's choices for a task. The cloud of its workspace is a guess until the workspace is known to be
    /// allowed; it only shapes tags.
    pub(crate) fn choices(&self, task: &DatabricksTask) -> Choices<'_> {
        let host = match &task.instance {
            Some(instance) => Host::parse(instance).ok(),
            None => self.settings.default_host.clone(),
        };
        let cloud = host.as_ref().map_or(Cloud::Unknown, Cloud::of);
        Choices {
            entrypoint: self.settings.entrypoint,
            tags: self.settings.cluster_tags.then_some(cloud),
            defaults: &self.settings.run_defaults,
        }
    }

    /// The workspace of a new task.
    pub(crate) fn host_of(&self, task: &DatabricksTask) -> Result<Host, Error> {
        let host = match (&task.instance, &self.settings.default_host) {
            (Some(instance), _) => Host::parse(instance).map_err(|error| {
                Error::invalid_task("the task's `databricksInstance` is not a workspace address")
                    .with_hint("give the host name alone, such as `dbc-1234.cloud.databricks.com`")
                    .with_source(error)
            })?,
            (None, Some(host)) => host.clone(),
            (None, None) => {
                return Err(Error::failed_precondition("no Databricks workspace is known for this task").with_hint(
                    "set `databricks_instance` in the task, or FLYTE_DATABRICKS_INSTANCE on the connector",
                ));
            }
        };
        self.permit(&host)?;
        Ok(host)
    }

    /// Refuses a host that no token may be sent to.
    pub(crate) fn permit(&self, host: &Host) -> Result<(), Error> {
        self.settings.hosts.check(host).map_err(|refused| {
            Error::new(ErrorKind::Forbidden, refused.to_string())
                .with_hint("the operator can add the host to FLYTE_DATABRICKS_ALLOWED_HOSTS")
        })
    }

    /// The connector's own credential for a run at that host.
    pub(crate) fn own_credentials(&self, host: &Host, meta: &RunMeta) -> Option<Credentials> {
        let name = match &meta.credential {
            Some(CredentialRef::Workspace(name)) => Some(name.as_str()),
            Some(CredentialRef::Secret(_)) | None => None,
        };
        self.settings.own.for_run(host, name).map(|own| own.credentials.clone())
    }

    /// The credential of a call about a run: the task's, the Secret that started it, the one that the v1 plugin stored,
    /// the connector's own.
    ///
    /// # Errors
    ///
    /// [`NoSecret`] when the run was started with a Secret that gives no credential now.
    pub(crate) async fn credentials_of(
        &self,
        host: &Host,
        cx: &CallContext,
        meta: &RunMeta,
    ) -> Result<Option<Credentials>, NoSecret> {
        if let Some(credentials) = self.settings.task_credentials.of(&cx.connection) {
            return Ok(Some(credentials));
        }
        if let Some(CredentialRef::Secret(secret)) = &meta.credential {
            let secrets = self.settings.namespace_secrets.as_ref();
            return namespace_secret::of_run(secrets, secret, cx).await.map(Some);
        }
        Ok(credentials::of_v1_meta(meta.auth_token.as_ref())
            .or_else(|| self.own_credentials(host, meta)))
    }

    /// Counts a run that belonged to nobody and was cancelled, once.
    pub(crate) fn orphan_cancelled(&self, host: &Host, run_id: RunId, orphan: Orphan) {
        if self.run_tracker.record_orphan(host, run_id, Instant::now()) {
            self.settings.telemetry.metrics.orphan_cancelled(orphan);
        }
    }

    /// The client of a workspace, bound by the caller's deadline, or by ours when the caller has none.
    pub(crate) fn client(
        &self,
        host: &Host,
        credentials: Credentials,
        deadline: Option<Instant>,
    ) -> Client {
        let deadline = deadline.unwrap_or_else(|| Instant::now() + self.settings.call_timeout);
        let deadline = deadline.checked_sub(ANSWER_MARGIN).unwrap_or(deadline);
        self.settings.pool.client(host, credentials).with_deadline(Some(deadline))
    }
}

/// No credential for a call: what can be done about it.
pub(crate) fn no_credentials(host: &Host) -> Error {
    Error::failed_precondition(format!("there is no token for {host}")).with_hint(
        "let the task bring one as its secret `databricks_token`, \
         or set FLYTE_DATABRICKS_ACCESS_TOKEN on the connector whose FLYTE_DATABRICKS_INSTANCE is this workspace",
    )
}

/// The workspace of a run, which the log line of the call names with it. What is not an address was not written by this connector.
pub(crate) fn host_of(meta: &RunMeta) -> Result<Host, Error> {
    let host = Host::parse(&meta.databricks_instance).map_err(|error| {
        Error::invalid_meta("the resource meta's `databricks_instance` is not a workspace address")
            .with_source(error)
    })?;
    call_log::workspace(&host);
    call_log::run(meta.run_id);
    Ok(host)
}
