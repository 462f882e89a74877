//! Object-safe form of [`Connector`], so that a registry can hold connectors with different `ResourceMeta` types.

use std::pin::Pin;

use prometheus_client::registry::Registry as MetricsRegistry;

use crate::{
    CallContext, Connector, CreateContext, Error, LogPage, LogsRequest, Metric, MetricsRequest,
    Resource, TaskType, resource_meta,
};

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

pub(crate) trait ErasedConnector: Send + Sync {
    fn name(&self) -> &'static str;
    fn task_types(&self) -> Vec<TaskType>;
    fn register_metrics(&self, registry: &mut MetricsRegistry);
    fn diagnostics(&self) -> serde_json::Value;
    fn create(&self, cx: CreateContext) -> BoxFuture<'_, Vec<u8>>;
    fn get<'a>(&'a self, cx: CallContext, meta: &'a [u8]) -> BoxFuture<'a, Resource>;
    fn delete<'a>(&'a self, cx: CallContext, meta: &'a [u8]) -> BoxFuture<'a, ()>;
    fn cancel_abandoned<'a>(
        &'a self,
        cx: CreateContext,
        meta: Option<&'a [u8]>,
    ) -> BoxFuture<'a, ()>;
    fn cancel_earlier_attempts(&self, cx: CreateContext) -> BoxFuture<'_, ()>;
    fn get_metrics<'a>(
        &'a self,
        cx: CallContext,
        meta: &'a [u8],
        request: MetricsRequest,
    ) -> BoxFuture<'a, Vec<Metric>>;
    fn get_logs<'a>(
        &'a self,
        cx: CallContext,
        meta: &'a [u8],
        request: LogsRequest,
    ) -> BoxFuture<'a, LogPage>;
}

impl<C: Connector> ErasedConnector for C {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn task_types(&self) -> Vec<TaskType> {
        Connector::task_types(self)
    }

    fn register_metrics(&self, registry: &mut MetricsRegistry) {
        Connector::register_metrics(self, registry);
    }

    fn diagnostics(&self) -> serde_json::Value {
        Connector::diagnostics(self)
    }

    fn create(&self, cx: CreateContext) -> BoxFuture<'_, Vec<u8>> {
        Box::pin(async move { resource_meta::encode(&Connector::create(self, cx).await?) })
    }

    fn get<'a>(&'a self, cx: CallContext, meta: &'a [u8]) -> BoxFuture<'a, Resource> {
        Box::pin(async move { Connector::get(self, cx, resource_meta::decode(meta)?).await })
    }

    fn delete<'a>(&'a self, cx: CallContext, meta: &'a [u8]) -> BoxFuture<'a, ()> {
        Box::pin(async move { Connector::delete(self, cx, resource_meta::decode(meta)?).await })
    }

    fn cancel_abandoned<'a>(
        &'a self,
        cx: CreateContext,
        meta: Option<&'a [u8]>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let meta = meta.map(resource_meta::decode).transpose()?;
            Connector::cancel_abandoned(self, cx, meta).await
        })
    }

    fn cancel_earlier_attempts(&self, cx: CreateContext) -> BoxFuture<'_, ()> {
        Box::pin(Connector::cancel_earlier_attempts(self, cx))
    }

    fn get_metrics<'a>(
        &'a self,
        cx: CallContext,
        meta: &'a [u8],
        request: MetricsRequest,
    ) -> BoxFuture<'a, Vec<Metric>> {
        Box::pin(async move {
            Connector::get_metrics(self, cx, resource_meta::decode(meta)?, request).await
        })
    }

    fn get_logs<'a>(
        &'a self,
        cx: CallContext,
        meta: &'a [u8],
        request: LogsRequest,
    ) -> BoxFuture<'a, LogPage> {
        Box::pin(async move {
            Connector::get_logs(self, cx, resource_meta::decode(meta)?, request).await
        })
    }
}
