//! The trait that a connector implements.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    CallContext, Count, CreateContext, Error, LogPage, LogsRequest, Metric, MetricsRequest,
    Resource, TaskType,
};

/// Runs tasks of some types on a service of its own.
///
/// Implementors write plain `async fn`; the futures must be `Send`. Every method must be idempotent: Flyte sends
/// the same request again after a lost answer, to any replica (FC §0.5).
///
/// Each method runs in the `tracing` span of its call, which ends up in the call's log line. A connector may record there
/// where it sends the work (`workspace`), what the work is called there (`run_id`), and how many requests the call took
/// (`attempts`).
pub trait Connector: Send + Sync + 'static {
    /// The name under which the metadata service lists this connector.
    const NAME: &'static str;

    /// What identifies the work between calls. It is stored by Flyte as JSON, in clear: names and ids, no secrets.
    type ResourceMeta: Serialize + DeserializeOwned + Send + 'static;

    /// The task types this connector serves.
    fn task_types(&self) -> Vec<TaskType>;

    /// What this connector counts, the same names each time. Asked for whenever metrics are read, so it must be quick.
    fn counts(&self) -> Vec<Count> {
        Vec::new()
    }

    /// How this connector stands now, for people who look after the server: whom it calls, what it watches, what failed
    /// lately. A JSON value of any shape, shown as it is; bounded, without I/O, and without a secret. Null: nothing to
    /// tell.
    fn status(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Starts the work and returns what identifies it.
    ///
    /// # Errors
    ///
    /// Any error costs the user one attempt (FC §0.2).
    fn create(
        &self,
        cx: CreateContext,
    ) -> impl Future<Output = Result<Self::ResourceMeta, Error>> + Send;

    /// Tells how the work stands.
    ///
    /// # Errors
    ///
    /// Only for what can never succeed: the sixth error of an attempt freezes the task (FC §0.3).
    fn get(
        &self,
        cx: CallContext,
        meta: Self::ResourceMeta,
    ) -> impl Future<Output = Result<Resource, Error>> + Send;

    /// Stops the work. Finished and unknown work is a success.
    ///
    /// # Errors
    ///
    /// Only for what somebody must mend: Flyte repeats a failing delete every 10 s without end (FC §0.4).
    fn delete(
        &self,
        cx: CallContext,
        meta: Self::ResourceMeta,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Gives up work whose creation Flyte was told had failed: Flyte starts the next attempt, and nobody will ever ask
    /// for this one. Comes some time after that answer. Without meta nobody knows whether the work was started: the
    /// answer of [`create`](Self::create) [may have had an effect](Error::may_have_effect).
    ///
    /// # Errors
    ///
    /// Whatever keeps the work from being stopped; the server tries again a few times.
    fn abandon(
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

    /// Stops what earlier attempts of the same action left alive: Flyte gave it up, or never knew of it. Comes beside
    /// the [`create`](Self::create) of a later attempt, whose answer does not wait long for it, and once more after a
    /// grace time: what an earlier attempt asked for may have been under way when its server died.
    ///
    /// # Errors
    ///
    /// Whatever keeps that work from being found or stopped; the server tries again a few times.
    fn stop_earlier_attempts(
        &self,
        _cx: CreateContext,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// Time series of the work, for the asked names and window.
    ///
    /// # Errors
    ///
    /// `Unimplemented` unless the connector says otherwise.
    fn metrics(
        &self,
        _cx: CallContext,
        _meta: Self::ResourceMeta,
        _request: MetricsRequest,
    ) -> impl Future<Output = Result<Vec<Metric>, Error>> + Send {
        async { Err(Error::unimplemented(format!("{} has no metrics", Self::NAME))) }
    }

    /// One page of the log of the work.
    ///
    /// # Errors
    ///
    /// `Unimplemented` unless the connector says otherwise.
    fn logs(
        &self,
        _cx: CallContext,
        _meta: Self::ResourceMeta,
        _request: LogsRequest,
    ) -> impl Future<Output = Result<LogPage, Error>> + Send {
        async { Err(Error::unimplemented(format!("{} has no logs", Self::NAME))) }
    }
}
