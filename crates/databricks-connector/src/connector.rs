//! The [`Connector`] implementation. Each method delegates to the module of its verb.

use std::{sync::Arc, time::Instant};

use connector_core::{
    CallContext, Connector, CreateContext, Error, LogPage, LogsRequest, Metric, MetricsRequest,
    Resource, TaskType,
};
use prometheus_client::registry::Registry;

use crate::{
    check::{self, WorkspaceCheck},
    config::{Config, ConfigError, settings::Settings},
    context::Context,
    create,
    delete::{self, orphans},
    get,
    run_meta::RunMeta,
    task_logs, task_metrics,
    telemetry::{
        WorkspaceSnapshot, call_log,
        gauges::{GaugeValues, Gauges},
        status::Status,
    },
};

/// Runs Flyte tasks of type `databricks` as Databricks job runs.
#[derive(Debug)]
pub struct DatabricksConnector {
    context: Arc<Context>,
}

impl DatabricksConnector {
    /// Creates a connector from the operator's configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] that names the field that cannot be used.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self { context: Arc::new(Context::new(Settings::try_from(config)?)) })
    }

    /// Returns the state of the client of each called workspace, ordered by host. Does no I/O and contains no secret.
    pub fn workspace_snapshots(&self) -> Vec<WorkspaceSnapshot> {
        self.context.settings.pool.snapshots()
    }

    /// Checks each of the connector's own credentials at its workspace. Starts no run.
    pub async fn check(&self) -> Vec<WorkspaceCheck> {
        check::all(&self.context).await
    }
}

impl Connector for DatabricksConnector {
    const NAME: &'static str = "Databricks Connector";
    type ResourceMeta = RunMeta;

    fn task_types(&self) -> Vec<TaskType> {
        vec![TaskType::new("databricks", 0)]
    }

    fn register_metrics(&self, registry: &mut Registry) {
        self.context.settings.telemetry.metrics.register(registry);
        let context = Arc::clone(&self.context);
        registry.register_collector(Box::new(Gauges {
            telemetry: Arc::clone(&context.settings.telemetry),
            values: move || GaugeValues {
                runs: context.run_tracker.phases(Instant::now()),
                workspaces: context.settings.pool.snapshots(),
            },
        }));
    }

    fn diagnostics(&self) -> serde_json::Value {
        let Context { settings, run_tracker, .. } = &*self.context;
        let status = Status::new(
            &settings.own_workspaces(),
            &settings.pool.snapshots(),
            run_tracker.phases(Instant::now()),
            &settings.telemetry.last_errors(),
        );
        // Strings, numbers and maps with string keys are always JSON.
        serde_json::to_value(status).unwrap_or_default()
    }

    async fn create(&self, cx: CreateContext) -> Result<RunMeta, Error> {
        call_log::counting(create::run(&self.context, &cx)).await
    }

    async fn cancel_abandoned(
        &self,
        cx: CreateContext,
        meta: Option<RunMeta>,
    ) -> Result<(), Error> {
        orphans::cancel_abandoned(&self.context, cx, meta).await
    }

    async fn get(&self, cx: CallContext, meta: RunMeta) -> Result<Resource, Error> {
        call_log::counting(get::resource(&self.context, &cx, &meta)).await
    }

    async fn delete(&self, cx: CallContext, meta: RunMeta) -> Result<(), Error> {
        call_log::counting(delete::cancel_task_run(&self.context, &cx, &meta))
            .await
            .map(|_outcome| ())
    }

    async fn cancel_earlier_attempts(&self, cx: CreateContext) -> Result<(), Error> {
        orphans::cancel_earlier_attempts(&self.context, &cx).await
    }

    async fn get_metrics(
        &self,
        cx: CallContext,
        meta: RunMeta,
        request: MetricsRequest,
    ) -> Result<Vec<Metric>, Error> {
        call_log::counting(task_metrics::of_run(&self.context, &cx, &meta, &request)).await
    }

    async fn get_logs(
        &self,
        cx: CallContext,
        meta: RunMeta,
        request: LogsRequest,
    ) -> Result<LogPage, Error> {
        call_log::counting(task_logs::page(&self.context, &cx, &meta, &request)).await
    }
}
