//! The object-safe twin of [`Connector`], so that a registry can hold connectors of different meta types.

use std::pin::Pin;

use crate::{
    CallContext, Connector, Count, CreateContext, Error, LogPage, LogsRequest, Metric,
    MetricsRequest, Resource, TaskType, resource_meta,
};

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

pub(crate) trait ErasedConnector: Send + Sync {
    fn name(&self) -> &'static str;
    fn task_types(&self) -> Vec<TaskType>;
    fn counts(&self) -> Vec<Count>;
    fn status(&self) -> serde_json::Value;
    fn create(&self, cx: CreateContext) -> BoxFuture<'_, Vec<u8>>;
    fn get<'a>(&'a self, cx: CallContext, meta: &'a [u8]) -> BoxFuture<'a, Resource>;
    fn delete<'a>(&'a self, cx: CallContext, meta: &'a [u8]) -> BoxFuture<'a, ()>;
    fn abandon<'a>(&'a self, cx: CreateContext, meta: Option<&'a [u8]>) -> BoxFuture<'a, ()>;
    fn stop_earlier_attempts(&self, cx: CreateContext) -> BoxFuture<'_, ()>;
    fn metrics<'a>(
        &'a self,
        cx: CallContext,
        meta: &'a [u8],
        request: MetricsRequest,
    ) -> BoxFuture<'a, Vec<Metric>>;
    fn logs<'a>(
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

    fn counts(&self) -> Vec<Count> {
        Connector::counts(self)
    }

    fn status(&self) -> serde_json::Value {
        Connector::status(self)
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

    fn abandon<'a>(&'a self, cx: CreateContext, meta: Option<&'a [u8]>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            Connector::abandon(self, cx, meta.map(resource_meta::decode).transpose()?).await
        })
    }

    fn stop_earlier_attempts(&self, cx: CreateContext) -> BoxFuture<'_, ()> {
        Box::pin(Connector::stop_earlier_attempts(self, cx))
    }

    fn metrics<'a>(
        &'a self,
        cx: CallContext,
        meta: &'a [u8],
        request: MetricsRequest,
    ) -> BoxFuture<'a, Vec<Metric>> {
        Box::pin(async move {
            Connector::metrics(self, cx, resource_meta::decode(meta)?, request).await
        })
    }

    fn logs<'a>(
        &'a self,
        cx: CallContext,
        meta: &'a [u8],
        request: LogsRequest,
    ) -> BoxFuture<'a, LogPage> {
        Box::pin(
            async move { Connector::logs(self, cx, resource_meta::decode(meta)?, request).await },
        )
    }
}
