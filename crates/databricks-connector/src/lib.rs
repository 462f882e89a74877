//! The Databricks connector: runs Flyte tasks as Databricks job runs, and tells the truth about them.
//!
//! It translates between two vocabularies and holds no transport of its own. [`submit`] turns a task into the body of
//! a run submission, [`phase`] turns the state of a run into a Flyte phase, [`reason`] says why; these are pure.
//! [`connector`], [`get`] and [`delete`] are the thin shells that call Databricks. [`watch`] is what this process
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

mod arguments;
mod call_log;
mod compute;
mod config;
mod connector;
mod container;
mod create;
mod credentials;
mod delete;
mod ended;
mod ending;
mod entrypoint;
mod error;
mod execution;
#[cfg(test)]
mod fixture;
mod flyte_side;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
mod get;
mod hints;
mod idempotency;
mod json;
mod links;
mod logs;
mod marker;
mod metrics;
mod namespace_secret;
mod outputs;
mod own_work;
mod phase;
mod reason;
mod run_defaults;
mod run_meta;
mod serverless;
mod single_inputs;
mod status;
mod submit;
mod sweep;
mod tags;
mod task;
mod task_files;
mod unchecked;
pub mod upstream;
mod warehouse;
mod watch;
mod whole_numbers;
mod work;

pub use databricks_client::{Authorities, Propagate};

pub use config::{CallLimits, Config, ConfigError, ConfigField, JobsApi};
pub use connector::DatabricksConnector;
pub use credentials::{Identity, WorkspaceCheck, Workspaces, WorkspacesError};
pub use logs::LogReading;
pub use namespace_secret::{
    NamespaceSecrets, SecretAccess, SecretContent, SecretNamespaces, SecretReading, SecretTrouble,
};
pub use phase::UserFailures;
pub use run_defaults::{RunDefaults, RunDefaultsError};
pub use run_meta::RunMeta;
pub use task_files::{
    LogFile, LogFiles, Looked, Looking, ObjectStores, S3Folder, TaskFiles, Unwritten, Writing,
};
pub use work::Entrypoint;
