//! Layer that bounds the memory of decoded requests, and tracks the call for shutdown.

use std::sync::Arc;

use http::{Request, Response};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;

use super::{
    decoded_size,
    limits::{Limits, MIB},
    middleware::{Middleware, Next, Rejection},
    permits::{Permit, PermitPool, Permits},
    request_body::RequestBody,
    route::{CallInfo, Route},
};

/// Request extension: the memory of a decoded request. Work that outlives its call holds a clone.
#[derive(Debug, Clone)]
pub(crate) struct MemoryPermit(#[expect(dead_code, reason = "released on drop")] Permit);

/// Queues large requests until there is memory to decode them. Health and reflection are not counted.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    pool: PermitPool,
    max_bytes: u64,
    in_flight: TaskTracker,
}

impl Memory {
    /// Tracks each call in `in_flight` until its response begins.
    pub(super) fn new(limits: &Limits, in_flight: TaskTracker, stop: CancellationToken) -> Self {
        let max_bytes = limits.request_bytes;
        Self { pool: PermitPool::of_memory(max_bytes, stop), max_bytes, in_flight }
    }
}

impl Middleware<RequestBody> for Memory {
    type NextBody = RequestBody;
    type Error = Rejection;

    async fn handle(
        self,
        mut request: Request<RequestBody>,
        next: impl Next<RequestBody>,
    ) -> Result<Response<Body>, Rejection> {
        let info = CallInfo::of(&request);
        let Route::Call { .. } = info.route else { return next.run(request).await };
        let size = decoded_size::estimate(request.body().message());
        if size > self.max_bytes {
            return Err(Rejection::too_large(
                format!(
                    "the decoded request would take {} MiB of memory; the server's limit for all requests is {} MiB",
                    size.div_ceil(MIB),
                    self.max_bytes / MIB
                ),
                "raise the connector server's --max-requests-mib",
            ));
        }
        let permit = self.pool.acquire_memory(size, info.respond_by).await?;
        if let Some(permit) = &permit {
            request.extensions_mut().insert(MemoryPermit(Arc::clone(permit)));
        }
        let _in_flight = self.in_flight.token();
        let mut response = next.run(request).await?;
        Permits::attach(&mut response, permit);
        Ok(response)
    }
}
