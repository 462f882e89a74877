//! Finds a connector by task type.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt,
    sync::Arc,
};

use crate::{
    CallContext, Connector, Count, CreateContext, Error, LogPage, LogsRequest, Metric,
    MetricsRequest, Resource, TaskType, erased::ErasedConnector,
};

/// A registered connector. Meta goes in and out as bytes; only the connector knows what they mean.
#[derive(Clone)]
pub struct ConnectorHandle(Arc<dyn ErasedConnector>);

impl ConnectorHandle {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// The task types it serves.
    pub fn task_types(&self) -> Vec<TaskType> {
        self.0.task_types()
    }

    /// What it counts.
    pub fn counts(&self) -> Vec<Count> {
        self.0.counts()
    }

    /// How it stands now, for people.
    pub fn status(&self) -> serde_json::Value {
        self.0.status()
    }

    /// Starts work and returns the resource meta.
    ///
    /// # Errors
    ///
    /// As [`Connector::create`].
    pub async fn create(&self, cx: CreateContext) -> Result<Vec<u8>, Error> {
        self.0.create(cx).await
    }

    /// Tells how the work stands.
    ///
    /// # Errors
    ///
    /// `InvalidMeta` for meta that cannot be read, else as [`Connector::get`].
    pub async fn get(&self, cx: CallContext, meta: &[u8]) -> Result<Resource, Error> {
        self.0.get(cx, meta).await
    }

    /// Stops the work.
    ///
    /// # Errors
    ///
    /// `InvalidMeta` for meta that cannot be read, else as [`Connector::delete`].
    pub async fn delete(&self, cx: CallContext, meta: &[u8]) -> Result<(), Error> {
        self.0.delete(cx, meta).await
    }

    /// Gives up work whose creation Flyte was told had failed.
    ///
    /// # Errors
    ///
    /// `InvalidMeta` for meta that cannot be read, else as [`Connector::abandon`].
    pub async fn abandon(&self, cx: CreateContext, meta: Option<&[u8]>) -> Result<(), Error> {
        self.0.abandon(cx, meta).await
    }

    /// Stops what earlier attempts of the same action left alive.
    ///
    /// # Errors
    ///
    /// As [`Connector::stop_earlier_attempts`].
    pub async fn stop_earlier_attempts(&self, cx: CreateContext) -> Result<(), Error> {
        self.0.stop_earlier_attempts(cx).await
    }

    /// Time series of the work.
    ///
    /// # Errors
    ///
    /// `InvalidMeta` for meta that cannot be read, else as [`Connector::metrics`].
    pub async fn metrics(
        &self,
        cx: CallContext,
        meta: &[u8],
        request: MetricsRequest,
    ) -> Result<Vec<Metric>, Error> {
        self.0.metrics(cx, meta, request).await
    }

    /// One page of the log.
    ///
    /// # Errors
    ///
    /// `InvalidMeta` for meta that cannot be read, else as [`Connector::logs`].
    pub async fn logs(
        &self,
        cx: CallContext,
        meta: &[u8],
        request: LogsRequest,
    ) -> Result<LogPage, Error> {
        self.0.logs(cx, meta, request).await
    }
}

impl fmt::Debug for ConnectorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectorHandle").field(&self.name()).finish()
    }
}

/// Every connector of a server, by task type. Built once, never changed, cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Tables>);

#[derive(Debug)]
struct Tables {
    by_task_type: BTreeMap<TaskType, ConnectorHandle>,
    connectors: Vec<ConnectorHandle>,
}

impl Registry {
    /// An empty builder.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder { connectors: Vec::new() }
    }

    /// The connector that serves this task type.
    pub fn find(&self, task_type: &TaskType) -> Option<&ConnectorHandle> {
        self.0.by_task_type.get(task_type)
    }

    /// The connector of that name.
    pub fn by_name(&self, name: &str) -> Option<&ConnectorHandle> {
        self.0.connectors.iter().find(|connector| connector.name() == name)
    }

    /// Every connector, in the order of registration.
    pub fn connectors(&self) -> &[ConnectorHandle] {
        &self.0.connectors
    }

    /// Every task type that is served.
    pub fn task_types(&self) -> impl Iterator<Item = &TaskType> {
        self.0.by_task_type.keys()
    }
}

/// Collects connectors.
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

    /// The registry.
    ///
    /// # Errors
    ///
    /// When two connectors share a name or a task type, or one serves no task type.
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

/// Why connectors do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Two connectors share a name.
    #[error("two connectors are named `{name}`")]
    DuplicateName {
        /// The shared name.
        name: &'static str,
    },
    /// Two connectors serve the same task type.
    #[error("task type {task_type} is served by both `{first}` and `{second}`")]
    DuplicateTaskType {
        /// The shared type.
        task_type: TaskType,
        /// The connector registered first.
        first: &'static str,
        /// The connector registered second.
        second: &'static str,
    },
    /// A connector serves no task type, so nothing could ever reach it.
    #[error("connector `{name}` serves no task type")]
    NoTaskType {
        /// Its name.
        name: &'static str,
    },
}
