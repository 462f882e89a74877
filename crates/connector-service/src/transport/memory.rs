//! Layer that bounds the memory of decoded requests, and tracks the call for shutdown.

use std::task::{Context, Poll};

use http::{Request, Response};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt as _};

use super::{
    decoded_size,
    limits::Limits,
    permits::{Permit, PermitPool, Permits},
    rejection::{Inner, Rejection, ResponseFuture},
    request_body::RequestBody,
    route::{CallInfo, Route},
};

const MIB: u64 = 1024 * 1024;

/// Request extension: the memory of a decoded request. Work that outlives its call holds a clone.
#[derive(Debug, Clone)]
pub(crate) struct MemoryPermit(#[expect(dead_code, reason = "released on drop")] Permit);

/// Queues large requests until there is memory to decode them. Health and reflection are not counted.
#[derive(Debug, Clone)]
pub(super) struct MemoryLayer {
    pool: PermitPool,
    max_bytes: u64,
    in_flight: TaskTracker,
}

impl MemoryLayer {
    /// Tracks each call in `in_flight` until its response begins.
    pub(super) fn new(limits: &Limits, in_flight: TaskTracker, stop: CancellationToken) -> Self {
        let max_bytes = limits.request_bytes;
        Self { pool: PermitPool::of_memory(max_bytes, stop), max_bytes, in_flight }
    }
}

impl<S> Layer<S> for MemoryLayer {
    type Service = Memory<S>;

    fn layer(&self, inner: S) -> Memory<S> {
        Memory { inner, layer: self.clone() }
    }
}

/// The service of [`MemoryLayer`].
#[derive(Debug, Clone)]
pub(super) struct Memory<S> {
    inner: S,
    layer: MemoryLayer,
}

impl<S: Inner<RequestBody>> Service<Request<RequestBody>> for Memory<S> {
    type Response = Response<Body>;
    type Error = Rejection;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> ResponseFuture {
        let info = CallInfo::of(&request);
        let Self { inner, layer: MemoryLayer { pool, max_bytes, in_flight } } = self.clone();
        Box::pin(async move {
            let Route::Call { .. } = info.route else { return inner.oneshot(request).await };
            let size = decoded_size::estimate(request.body().message());
            if size > max_bytes {
                return Err(Rejection::too_large(
                    format!(
                        "the decoded request would take {} MiB of memory; the server's limit for all requests is {} MiB",
                        size.div_ceil(MIB),
                        max_bytes / MIB
                    ),
                    "raise the connector server's --max-requests-mib",
                ));
            }
            let permit = pool.acquire_memory(size, info.answer_by).await?;
            if let Some(permit) = &permit {
                request.extensions_mut().insert(MemoryPermit(permit.clone()));
            }
            let _in_flight = in_flight.token();
            let mut response = inner.oneshot(request).await?;
            if let Some(permit) = permit {
                Permits::attach(&mut response, permit);
            }
            Ok(response)
        })
    }
}
