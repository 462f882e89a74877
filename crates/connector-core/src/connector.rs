//! The trait that a connector implements.

use prometheus_client::registry::Registry as MetricsRegistry;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    CallContext, CreateContext, Error, LogPage, LogsRequest, Metric, MetricsRequest, Resource,
    TaskType,
};

/// Runs Flyte tasks of certain types on an external service.
///
/// Implement the methods as `async fn`; their futures must be `Send`. Every method must be idempotent: Flyte may send the
/// same request again, to any replica (flyte-contract.md#createtask).
///
/// Each method runs in the `tracing` span of its call, and the server logs one line for each call from that span. A
/// connector may record these fields in it: `workspace` (the service it called), `run_id` (the id of the work there) and
/// `requests` (the number of requests it sent).
pub trait Connector: Send + Sync + 'static {
    /// Name of this connector in Flyte's connector metadata service.
    const NAME: &'static str;

    /// Identifies the work between calls. Flyte stores it as JSON in clear text: put names and ids in it, no secrets.
    type ResourceMeta: Serialize + DeserializeOwned + Send + 'static;

    /// Returns the task types that this connector serves.
    fn task_types(&self) -> Vec<TaskType>;

    /// Registers this connector's Prometheus metrics. The server calls it once.
    ///
    /// Start each name with `flyte_connector_`, and take label values only from a bounded set: not from anything that a
    /// task or its author can choose freely. Register a [`Collector`](prometheus_client::collector::Collector) for values
    /// that are computed at scrape time; it must be fast and do no I/O.
    fn register_metrics(&self, _registry: &mut MetricsRegistry) {}

    /// Returns the internal state of this connector as JSON, for the server's `/status` page.
    ///
    /// For example the services it calls, the work it tracks, recent failures. The size must be bounded. No I/O, no
    /// secrets. `Null` when there is nothing to show.
    fn diagnostics(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Starts the work and returns its id.
    ///
    /// # Errors
    ///
    /// Any error costs the user one attempt (flyte-contract.md#createtask).
    fn create(
        &self,
        cx: CreateContext,
    ) -> impl Future<Output = Result<Self::ResourceMeta, Error>> + Send;

    /// Returns the phase of the work, with its message, links and outputs.
    ///
    /// # Errors
    ///
    /// Return an error only for permanent faults; answer transient faults with the last known phase. Six errors during
    /// an attempt freeze the task (flyte-contract.md#gettask-errors).
    fn get(
        &self,
        cx: CallContext,
        meta: Self::ResourceMeta,
    ) -> impl Future<Output = Result<Resource, Error>> + Send;

    /// Cancels the work. Succeeds for finished and unknown work.
    ///
    /// # Errors
    ///
    /// Flyte repeats a failed delete every 10 s without limit (flyte-contract.md#deletetask).
    fn delete(
        &self,
        cx: CallContext,
        meta: Self::ResourceMeta,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Cancels work whose create was reported to Flyte as failed. Flyte never asks for this work again.
    ///
    /// The server calls it after a grace period. `meta` is `None` when [`create`](Self::create) failed with an error that
    /// [may have started the work](Error::may_have_started); find the work by its idempotency key or its labels then.
    ///
    /// # Errors
    ///
    /// When the work cannot be cancelled. The server retries a limited number of times.
    fn cancel_abandoned(
        &self,
        cx: CreateContext,
        meta: Option<Self::ResourceMeta>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        async move {
            match meta {
                Some(meta) => self.delete(CallContext::from(cx), meta).await,
                None => Ok(()),
            }
        }
    }

    /// Cancels live work of earlier attempts of the same action.
    ///
    /// The server calls it twice for an attempt that is not the first: during [`create`](Self::create), which waits for
    /// it only briefly, and again after a grace period, because a create of an earlier attempt may have been in flight
    /// when its server died.
    ///
    /// # Errors
    ///
    /// When that work cannot be found or cancelled. The server retries a limited number of times.
    fn cancel_earlier_attempts(
        &self,
        _cx: CreateContext,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// Returns time series of the work for the requested names and time range.
    ///
    /// # Errors
    ///
    /// `Unimplemented` by default.
    fn get_metrics(
        &self,
        _cx: CallContext,
        _meta: Self::ResourceMeta,
        _request: MetricsRequest,
    ) -> impl Future<Output = Result<Vec<Metric>, Error>> + Send {
        async { Err(Error::unimplemented(format!("{} provides no metrics", Self::NAME))) }
    }

    /// Returns one page of the work's log.
    ///
    /// # Errors
    ///
    /// `Unimplemented` by default.
    fn get_logs(
        &self,
        _cx: CallContext,
        _meta: Self::ResourceMeta,
        _request: LogsRequest,
    ) -> impl Future<Output = Result<LogPage, Error>> + Send {
        async { Err(Error::unimplemented(format!("{} provides no logs", Self::NAME))) }
    }
}
