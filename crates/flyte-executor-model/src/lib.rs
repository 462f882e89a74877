//! A model of Flyte's executor, as far as a connector sees it: when it calls, what an answer or an error costs, when it
//! tries again, and when it gives a task up.
//!
//! It stands in for the executor in tests that would take days and a Kubernetes cluster with the real one. The facts are
//! those of the project's Flyte reference, cited as FC with their section; the traces of the real executor there (FC
//! §8.1, §8.2) are this crate's tests, row by row.
//!
//! The decisions are pure. A [`Task`] takes an [`Event`] and answers the [`Action`]s that follow; it has no clock, no
//! randomness and no network. Inside it, an [`Attempt`] is what the executor's connector plugin knows of one attempt.
//!
//! Around them, [`Executor`] has the clock and the network: real gRPC calls over a [`Client`] that spreads them over
//! replicas and retries as grpc-go does under a [`ServiceConfig`].
//!
//! What it leaves out: the UI, other plugins, caching, and quotas, none of which a connector can tell apart from the
//! outside.

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

pub use attempt::{Attempt, Polling};
pub use balancer::Balancer;
pub use client::{Called, Client, Ended, Try};
pub use executor::{Executor, Fate, Finished, Outcome, Requests, Traced, Verb};
pub use history::{Event as StoredEvent, History};
pub use launch::refusal_before_any_call;
pub use report::{Fault, Kind, Phase, Report, TaskError};
pub use service_config::{ConnectBackoff, Pushback, Retries, RetryPolicy, ServiceConfig};
pub use settings::{Deadlines, Settings};
pub use task::{Action, Call, End, Event, Outputs, Standing, Task, Timer};
