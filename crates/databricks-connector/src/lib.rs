//! The Databricks connector: runs Flyte tasks as Databricks job runs, and tells the truth about them.
//!
//! It translates between two vocabularies and holds no transport of its own. [`create::submission`] turns a task into the body of
//! a run submission, [`get::phase`] turns the state of a run into a Flyte phase, [`get::reason`] says why; these are pure.
//! [`connector`], [`get`] and [`delete`] are the thin shells that call Databricks. [`get::run_tracker`] is what this process
//! remembers, and never what another replica needs.
//!
//! ```
//! use connector_core::Registry;
//! use databricks_connector::{Config, DatabricksConnector};
//!
//! let connector = DatabricksConnector::new(Config {
//!     instance: Some("dbc-1234.cloud.databricks.com".to_owned()),
//!     ..Config::default()
//! })?;
//! let registry = Registry::builder().register(connector).build()?;
//! assert_eq!(registry.connectors()[0].name(), "Databricks Connector");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![expect(
    rustdoc::private_intra_doc_links,
    reason = "the crate guide leads a reader of the source through the modules"
)]

mod config;
mod connector;
mod context;
mod create;
mod credentials;
mod delete;
mod error;
#[cfg(test)]
#[path = "../../../fixtures/requests.rs"]
mod fixtures;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
mod get;
mod logs;
mod metrics;
mod run_meta;
mod task;
pub mod telemetry;

pub use databricks_client::{TokenEndpoints, TracePropagator};

pub use config::{
    CallLimits, Config, ConfigError, ConfigField, JobsApi, Workspaces, WorkspacesError,
    run_defaults::{RunDefaults, RunDefaultsError},
};
pub use connector::DatabricksConnector;
pub use create::workload::Entrypoint;
pub use credentials::{
    Identity, WorkspaceCheck,
    namespace_secret::{
        NamespaceSecrets, SecretAccess, SecretContent, SecretNamespaces, SecretReading,
        SecretTrouble,
    },
};
pub use get::phase::UserFailures;
pub use logs::options::LogOptions;
pub use run_meta::RunMeta;
pub use task_storage::{
    LogFile, LogStorage, ObjectStores, S3Folder, StorageError, StorageFuture, TaskStorage,
};
