//! The connector: finds the workspace and the credential of a call, and hands it to the code of its verb.

use std::time::{Duration, Instant};

use connector_core::{
    CallContext, Connector, Count, CreateContext, Error, ErrorKind, LogPage, LogsRequest, Metric,
    MetricsRequest, Reading, Resource, TaskType,
};
use databricks_client::{Client, Credentials, Host, RunId};

use crate::{
    call_log,
    config::{Config, ConfigError, Settings},
    create,
    credentials::{self, WorkspaceCheck},
    delete::{self, Stopped},
    get,
    logs::{self, KnownClusters},
    metrics,
    namespace_secret::{self, NoSecret},
    run_meta::{CredentialRef, RunMeta},
    status::Status,
    submit::Choices,
    tags::Cloud,
    task::DatabricksTask,
    unchecked::Unchecked,
    upstream::{Orphan, Workspaces},
    watch::Watch,
};

/// What the connector itself needs to answer when Databricks has taken the rest of the caller's time.
const ANSWER_MARGIN: Duration = Duration::from_millis(100);

/// Runs Flyte tasks of type `databricks` as Databricks job runs.
#[derive(Debug)]
pub struct DatabricksConnector {
    pub(crate) settings: Settings,
    pub(crate) watch: Watch,
    pub(crate) unchecked: Unchecked,
    pub(crate) known_clusters: KnownClusters,
}

impl DatabricksConnector {
    /// A connector with the operator's decisions.
    ///
    /// # Errors
    ///
    /// When a part of the configuration cannot be used; the error says which.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self {
            settings: Settings::try_from(config)?,
            watch: Watch::default(),
            unchecked: Unchecked::default(),
            known_clusters: KnownClusters::default(),
        })
    }

    /// The workspaces that are called. Taken before the connector moves into a registry.
    pub fn workspaces(&self) -> Workspaces {
        Workspaces::new(self.settings.pool.clone())
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
        self.settings.hosts.permits(host).map_err(|refused| {
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
        if self.watch.orphaned(host, run_id, Instant::now()) {
            self.settings.upstream.orphan_cancelled(orphan);
        }
    }

    /// Proves each of the connector's own credentials at its workspace. Nothing is started there.
    pub async fn check(&self) -> Vec<WorkspaceCheck> {
        credentials::check_all(self).await
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

impl Connector for DatabricksConnector {
    const NAME: &'static str = "Databricks Connector";
    type ResourceMeta = RunMeta;

    fn task_types(&self) -> Vec<TaskType> {
        vec![TaskType::new("databricks", 0)]
    }

    fn counts(&self) -> Vec<Count> {
        #[expect(clippy::cast_precision_loss, reason = "a count that large is not told exactly")]
        let unchecked = self.unchecked.count() as f64;
        let mut counts = vec![Count {
            name: "flyte_connector_databricks_unchecked_successes",
            help: "Runs that succeeded for Databricks, and whose error.pb and outputs.pb could not be looked at",
            labels: Vec::new(),
            reading: Reading::Counter(unchecked),
        }];
        let workspaces = self.settings.pool.workspaces();
        counts
            .extend(self.settings.upstream.counts(&workspaces, &self.watch.phases(Instant::now())));
        counts
    }

    fn status(&self) -> serde_json::Value {
        // Strings, numbers and maps with string keys are always JSON.
        serde_json::to_value(Status::of(self)).unwrap_or_default()
    }

    async fn create(&self, cx: CreateContext) -> Result<RunMeta, Error> {
        call_log::counting(create::run(self, &cx)).await
    }

    async fn abandon(&self, cx: CreateContext, meta: Option<RunMeta>) -> Result<(), Error> {
        match meta {
            Some(meta) => {
                let host = host_of(&meta)?;
                let stopped = delete::run(self, &CallContext::from(cx), &meta).await?;
                if stopped == Stopped::Cancelled {
                    self.orphan_cancelled(&host, meta.run_id, Orphan::Abandoned);
                }
                Ok(())
            }
            None => create::abandoned(self, &cx).await,
        }
    }

    async fn get(&self, cx: CallContext, meta: RunMeta) -> Result<Resource, Error> {
        call_log::counting(get::resource(self, &cx, &meta)).await
    }

    async fn delete(&self, cx: CallContext, meta: RunMeta) -> Result<(), Error> {
        call_log::counting(delete::run(self, &cx, &meta)).await.map(|_stopped| ())
    }

    async fn stop_earlier_attempts(&self, cx: CreateContext) -> Result<(), Error> {
        create::stop_earlier_attempts(self, &cx).await
    }

    async fn metrics(
        &self,
        cx: CallContext,
        meta: RunMeta,
        request: MetricsRequest,
    ) -> Result<Vec<Metric>, Error> {
        call_log::counting(metrics::of_run(self, &cx, &meta, &request)).await
    }

    async fn logs(
        &self,
        cx: CallContext,
        meta: RunMeta,
        request: LogsRequest,
    ) -> Result<LogPage, Error> {
        call_log::counting(logs::page(self, &cx, &meta, &request)).await
    }
}
