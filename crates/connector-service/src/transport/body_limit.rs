//! Layer that reads the request message before anything decodes it, within limits of size, memory and time.

use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use super::{
    limits::Limits,
    middleware::{Middleware, Next, Rejection},
    permits::{PermitPool, Permits},
    request_body::{MessageReader, RequestBody},
    route::{CallInfo, Route},
};

/// Reads the message of each call. Streams of reflection are passed through.
#[derive(Debug, Clone)]
pub(super) struct BodyLimit {
    pool: PermitPool,
    max_bytes: u64,
    read_timeout: Duration,
}

impl BodyLimit {
    pub(super) fn new(limits: &Limits, stop: CancellationToken) -> Self {
        Self {
            pool: PermitPool::of_memory(limits.request_bytes, stop),
            max_bytes: limits.message_bytes,
            read_timeout: limits.request_time,
        }
    }
}

impl Middleware<Incoming> for BodyLimit {
    type NextBody = RequestBody;
    type Error = Rejection;

    async fn handle(
        self,
        request: Request<Incoming>,
        next: impl Next<RequestBody>,
    ) -> Result<Response<Body>, Rejection> {
        let info = CallInfo::of(&request);
        if info.route == Route::Reflection {
            return next.run(request.map(RequestBody::Streaming)).await;
        }
        let (parts, body) = request.into_parts();
        let mut reader = MessageReader::new(body, Instant::now() + self.read_timeout);
        let size = reader.size().await.map_err(Rejection::incomplete)?.unwrap_or(0);
        if size > self.max_bytes {
            let limit = self.max_bytes;
            return Err(Rejection::too_large(
                format!("the request has {size} bytes; the server's limit is {limit}"),
                "raise the connector server's --max-message-mib",
            ));
        }
        let permit = self.pool.acquire_memory(size, info.respond_by).await?;
        let body = reader.finish().await.map_err(Rejection::incomplete)?;
        let mut response = next.run(Request::from_parts(parts, body)).await?;
        Permits::attach(&mut response, permit);
        Ok(response)
    }
}
