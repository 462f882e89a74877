//! Connectors by task type.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt,
    sync::Arc,
};

use prometheus_client::registry::Registry as MetricsRegistry;

use crate::{
    CallContext, Connector, CreateContext, Error, LogPage, LogsRequest, Metric, MetricsRequest,
    Resource, TaskType, erased::ErasedConnector,
};

/// A registered connector of any type. Resource meta is bytes here; only the connector decodes it.
#[derive(Clone)]
pub struct ConnectorHandle(Arc<dyn ErasedConnector>);

impl ConnectorHandle {
    /// Returns [`Connector::NAME`].
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// Returns the task types that the connector serves.
    pub fn task_types(&self) -> Vec<TaskType> {
        self.0.task_types()
    }

    /// Registers the connector's Prometheus metrics.
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        self.0.register_metrics(registry);
    }

    /// Returns the internal state of the connector, for the `/status` page.
    pub fn diagnostics(&self) -> serde_json::Value {
        self.0.diagnostics()
    }

    /// Starts the work and returns its encoded resource meta.
    ///
    /// # Errors
    ///
    /// `Internal` for meta that cannot be encoded; otherwise as [`Connector::create`].
    pub async fn create(&self, cx: CreateContext) -> Result<Vec<u8>, Error> {
        self.0.create(cx).await
    }

    /// Returns the phase of the work, with its message, links and outputs.
    ///
    /// # Errors
    ///
    /// `InvalidMeta` for meta that cannot be decoded; otherwise as [`Connector::get`].
    pub async fn get(&self, cx: CallContext, meta: &[u8]) -> Result<Resource, Error> {
        self.0.get(cx, meta).await
    }

    /// Cancels the work.
    ///
    /// # Errors
    ///
    /// `InvalidMeta` for meta that cannot be decoded; otherwise as [`Connector::delete`].
    pub async fn delete(&self, cx: CallContext, meta: &[u8]) -> Result<(), Error> {
        self.0.delete(cx, meta).await
    }

    /// Cancels work whose create was reported to Flyte as failed.
    ///
    /// # Errors
    ///
    /// `InvalidMeta` for meta that cannot be decoded; otherwise as [`Connector::cancel_abandoned`].
    pub async fn cancel_abandoned(
        &self,
        cx: CreateContext,
        meta: Option<&[u8]>,
    ) -> Result<(), Error> {
        self.0.cancel_abandoned(cx, meta).await
    }

    /// Cancels live work of earlier attempts of the same action.
    ///
    /// # Errors
    ///
    /// As [`Connector::cancel_earlier_attempts`].
    pub async fn cancel_earlier_attempts(&self, cx: CreateContext) -> Result<(), Error> {
        self.0.cancel_earlier_attempts(cx).await
    }

    /// Returns time series of the work.
    ///
    /// # Errors
    ///
    /// `InvalidMeta` for meta that cannot be decoded; otherwise as [`Connector::get_metrics`].
    pub async fn get_metrics(
        &self,
        cx: CallContext,
        meta: &[u8],
        request: MetricsRequest,
    ) -> Result<Vec<Metric>, Error> {
        self.0.get_metrics(cx, meta, request).await
    }

    /// Returns one page of the work's log.
    ///
    /// # Errors
    ///
    /// `InvalidMeta` for meta that cannot be decoded; otherwise as [`Connector::get_logs`].
    pub async fn get_logs(
        &self,
        cx: CallContext,
        meta: &[u8],
        request: LogsRequest,
    ) -> Result<LogPage, Error> {
        self.0.get_logs(cx, meta, request).await
    }
}

impl fmt::Debug for ConnectorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectorHandle").field(&self.name()).finish()
    }
}

/// All connectors of a server, by task type. Immutable and cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Tables>);

#[derive(Debug)]
struct Tables {
    by_task_type: BTreeMap<TaskType, ConnectorHandle>,
    connectors: Vec<ConnectorHandle>,
}

impl Registry {
    /// Returns an empty builder.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder { connectors: Vec::new() }
    }

    /// Returns the connector that serves this task type.
    pub fn find(&self, task_type: &TaskType) -> Option<&ConnectorHandle> {
        self.0.by_task_type.get(task_type)
    }

    /// Returns the connector with this name.
    pub fn by_name(&self, name: &str) -> Option<&ConnectorHandle> {
        self.0.connectors.iter().find(|connector| connector.name() == name)
    }

    /// Returns all connectors in registration order.
    pub fn connectors(&self) -> &[ConnectorHandle] {
        &self.0.connectors
    }

    /// Returns all task types that are served.
    pub fn task_types(&self) -> impl Iterator<Item = &TaskType> {
        self.0.by_task_type.keys()
    }
}

/// Builds a [`Registry`].
#[derive(Debug)]
pub struct RegistryBuilder {
    connectors: Vec<ConnectorHandle>,
}

impl RegistryBuilder {
    /// Adds a connector.
    #[must_use]
    pub fn register(mut self, connector: impl Connector) -> Self {
        self.connectors.push(ConnectorHandle(Arc::new(connector)));
        self
    }

    /// Builds the registry.
    ///
    /// # Errors
    ///
    /// When two connectors have the same name or task type, or one serves no task type.
    pub fn build(self) -> Result<Registry, RegistryError> {
        let mut by_task_type = BTreeMap::new();
        let mut names = BTreeSet::new();
        for connector in &self.connectors {
            let name = connector.name();
            if !names.insert(name) {
                return Err(RegistryError::DuplicateName { name });
            }
            let task_types = connector.task_types();
            if task_types.is_empty() {
                return Err(RegistryError::NoTaskType { name });
            }
            for task_type in task_types {
                match by_task_type.entry(task_type) {
                    Entry::Vacant(vacant) => {
                        vacant.insert(connector.clone());
                    }
                    Entry::Occupied(taken) => {
                        return Err(RegistryError::DuplicateTaskType {
                            task_type: taken.key().clone(),
                            first: taken.get().name(),
                            second: name,
                        });
                    }
                }
            }
        }
        Ok(Registry(Arc::new(Tables { by_task_type, connectors: self.connectors })))
    }
}

/// Why a registry cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Two connectors have the same name.
    #[error("two connectors are named `{name}`")]
    DuplicateName {
        /// The name.
        name: &'static str,
    },
    /// Two connectors serve the same task type.
    #[error("task type {task_type} is served by both `{first}` and `{second}`")]
    DuplicateTaskType {
        /// The task type.
        task_type: TaskType,
        /// The connector registered first.
        first: &'static str,
        /// The connector registered second.
        second: &'static str,
    },
    /// A connector serves no task type.
    #[error("connector `{name}` serves no task type")]
    NoTaskType {
        /// The connector's name.
        name: &'static str,
    },
}
