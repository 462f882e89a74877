//! A model of Flyte's executor as a connector sees it: when it calls, how it handles responses and errors, when it retries,
//! and when it fails a task.
//!
//! It replaces the executor in tests that would take days and a Kubernetes cluster. The tests of this crate compare it with
//! recorded traces of the real executor (flyte-contract.md#observed-plugin, flyte-contract.md#observed-backend).
//!
//! The decisions do no I/O: a [`Task`] takes an [`Event`] and returns [`Action`]s. An [`Attempt`] is the state of the
//! executor's connector plugin for one attempt. [`Executor`] adds the clock and the network: gRPC calls over a [`Client`] that
//! spreads them over replicas and retries as grpc-go does with a [`ServiceConfig`].
//!
//! Not modelled: the UI, other plugins, caching, and quotas. A connector cannot observe them.

#![forbid(unsafe_code)]

mod attempt;
mod balancer;
mod client;
mod executor;
mod history;
mod launch;
mod report;
mod service_config;
mod settings;
mod task;

pub use attempt::{Attempt, NextPoll, Outputs};
pub use balancer::Balancer;
pub use client::{CallResult, Client, Try, TryOutcome};
pub use executor::{CallOutput, Disruptions, Executor, Finished, Method, Requests, TracedCall};
pub use history::{Event as StoredEvent, History};
pub use launch::launch_error;
pub use report::{CallFailure, ErrorClass, Phase, Report, TaskError};
pub use service_config::{ConnectBackoff, Pushback, Retries, RetryPolicy, ServiceConfig};
pub use settings::{Deadlines, ExecutorSettings};
pub use task::{Action, Call, End, Event, Task, TaskStatus, Timer};
