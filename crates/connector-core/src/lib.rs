//! Interface between a Flyte connector and its server: the [`Connector`] trait, the [`Registry`] of connectors by task
//! type, and the types of their calls, such as [`CreateContext`], [`Resource`], [`Phase`] and [`Error`].
//!
//! This crate has no transport and does no I/O. A server translates gRPC calls into these types; a connector translates
//! them into calls of an external service. Generated protobuf types appear only where a connector needs Flyte's own
//! definitions: the task template, its inputs, outputs and execution metadata.
//!
//! Beside the interface there are building blocks, which a connector may use or leave. They are pure.
//!
//! - [`attempt`]: the identity of an attempt, its idempotency token, and the run tag.
//! - [`digest`]: SHA-256 digests for names and tokens.
//! - [`literal`]: conversion between literals, by the types of an interface, and JSON or text.
//! - [`run_tracker`]: the last known phase of runs whose polls fail, and when their tasks fail.
//! - [`template`]: rendering of Flyte's template variables, such as `{{.inputs.day}}`.
//! - [`value`]: conversion between protobuf `Struct` and JSON.
//!
//! A complete connector, whose tasks only sleep:
//!
//! ```
//! use connector_core::{CallContext, Connector, CreateContext, Error, Phase, Registry, Resource, TaskType};
//! use serde::{Deserialize, Serialize};
//! use std::time::{Duration, SystemTime};
//!
//! /// Identifies the work between calls. Flyte stores it, so that any replica can answer.
//! #[derive(Serialize, Deserialize)]
//! struct Nap {
//!     ends_at: SystemTime,
//! }
//!
//! struct SleepConnector;
//!
//! impl Connector for SleepConnector {
//!     const NAME: &'static str = "Sleep Connector";
//!     type ResourceMeta = Nap;
//!
//!     fn task_types(&self) -> Vec<TaskType> {
//!         vec![TaskType::new("sleep", 0)]
//!     }
//!
//!     async fn create(&self, cx: CreateContext) -> Result<Nap, Error> {
//!         let custom = cx.custom()?;
//!         let seconds = custom
//!             .get("seconds")
//!             .and_then(serde_json::Value::as_u64)
//!             .ok_or_else(|| Error::invalid_task("the task has no `seconds`").with_hint("set `seconds` to a whole number"))?;
//!         let ends_at = SystemTime::now().checked_add(Duration::from_secs(seconds));
//!         Ok(Nap { ends_at: ends_at.ok_or_else(|| Error::invalid_task("`seconds` is too large"))? })
//!     }
//!
//!     async fn get(&self, _cx: CallContext, nap: Nap) -> Result<Resource, Error> {
//!         let done = SystemTime::now() >= nap.ends_at;
//!         Ok(Resource::new(if done { Phase::Succeeded } else { Phase::Running }))
//!     }
//!
//!     async fn delete(&self, _cx: CallContext, _nap: Nap) -> Result<(), Error> {
//!         Ok(())
//!     }
//! }
//!
//! let registry = Registry::builder().register(SleepConnector).build()?;
//! assert!(registry.find(&TaskType::new("sleep", 0)).is_some());
//! # Ok::<(), connector_core::RegistryError>(())
//! ```
//!
//! Flyte tolerates few errors from `get`: six errors during an attempt freeze the task in its last phase
//! (flyte-contract.md#gettask-errors). A connector therefore answers transient faults with `Ok` and the last known phase.

#![forbid(unsafe_code)]

pub mod attempt;
mod connection;
mod connector;
mod context;
pub mod digest;
mod erased;
mod error;
pub mod literal;
mod logs;
mod metrics;
mod registry;
mod resource;
mod resource_meta;
pub mod run_tracker;
mod task_type;
pub mod template;
#[cfg(feature = "testing")]
pub mod testing;
pub mod value;

// Crates whose types appear in this API.
pub use {flyteidl2, prometheus_client, prost_types, secrecy, serde, serde_json};

/// Compiles the examples in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use connection::Connection;
pub use connector::Connector;
pub use context::{CallContext, CreateContext, PendingError};
pub use error::{Error, ErrorKind};
pub use logs::{LogLine, LogPage, LogsRequest, Originator};
pub use metrics::{Metric, MetricsRequest, Sample, Series};
pub use registry::{ConnectorHandle, Registry, RegistryBuilder, RegistryError};
pub use resource::{LogLink, Phase, Resource};
pub use resource_meta::MAX_RESOURCE_META_BYTES;
pub use task_type::TaskType;
