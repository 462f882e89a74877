#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! The connector translates between the two vocabularies and has no transport.
//!
//! - [`connector`] implements [`connector_core::Connector`]; [`context`] is the shared state, and resolves the host,
//!   credential and client of a call.
//! - The verbs: [`create`] submits a task, [`get`] turns a run into a Flyte phase, [`delete`] cancels runs, [`task_logs`]
//!   and [`task_metrics`] read them, [`check`] checks credentials. Verbs depend on `context`, never on `connector`.
//! - The nouns: [`config`] is what the operator sets, [`task`] what the user wrote, [`run_meta`] what Flyte stores between
//!   calls, [`phase`] the phase of a run, [`credentials`] the credential of a call, [`telemetry`] metrics and log
//!   fields. Nouns depend neither on `context` nor on verbs.

#![forbid(unsafe_code)]
#![expect(
    rustdoc::private_intra_doc_links,
    reason = "the crate guide leads a reader of the source through the modules"
)]

mod check;
mod config;
mod connector;
mod context;
mod create;
mod credentials;
mod declared_outputs;
mod delete;
mod error;
#[cfg(test)]
#[path = "../../../fixtures/requests.rs"]
mod fixtures;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
mod get;
mod known_clusters;
mod phase;
mod run_meta;
mod run_timeline;
mod run_tracker;
mod task;
mod task_logs;
mod task_metrics;
pub mod telemetry;

pub use databricks_client::{TokenEndpoints, TracePropagator};

pub use check::{Identity, WorkspaceCheck};
pub use config::{
    CallLimits, Config, ConfigError, ConfigField, Entrypoint, JobsApi,
    log_options::LogOptions,
    run_defaults::{RunDefaults, RunDefaultsError},
    workspaces::{Workspaces, WorkspacesError},
};
pub use connector::DatabricksConnector;
pub use credentials::namespace_secret::{
    SecretAccess, SecretContent, SecretError, SecretFuture, SecretNamespaces, SecretReader,
};
pub use phase::UserFailures;
pub use run_meta::RunMeta;
pub use task_storage::{
    LogFile, LogStorage, ObjectStores, S3Folder, StorageError, StorageFuture, TaskStorage,
};
