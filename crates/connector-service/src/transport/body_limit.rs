//! Layer that reads the request message before anything decodes it, within limits of size, memory and time.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt as _};

use super::{
    limits::Limits,
    permits::{PermitPool, Permits},
    rejection::{Inner, Rejection, ResponseFuture},
    request_body::{MessageReader, RequestBody},
    route::{CallInfo, Route},
};

/// Reads the message of each call. Streams of reflection are passed through.
#[derive(Debug, Clone)]
pub(super) struct BodyLimitLayer {
    pool: PermitPool,
    max_bytes: u64,
    read_timeout: Duration,
}

impl BodyLimitLayer {
    pub(super) fn new(limits: &Limits, stop: CancellationToken) -> Self {
        Self {
            pool: PermitPool::of_memory(limits.request_bytes, stop),
            max_bytes: limits.message_bytes,
            read_timeout: limits.request_time,
        }
    }
}

impl<S> Layer<S> for BodyLimitLayer {
    type Service = BodyLimit<S>;

    fn layer(&self, inner: S) -> BodyLimit<S> {
        BodyLimit { inner, layer: self.clone() }
    }
}

/// The service of [`BodyLimitLayer`].
#[derive(Debug, Clone)]
pub(super) struct BodyLimit<S> {
    inner: S,
    layer: BodyLimitLayer,
}

impl<S: Inner<RequestBody>> Service<Request<Incoming>> for BodyLimit<S> {
    type Response = Response<Body>;
    type Error = Rejection;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> ResponseFuture {
        let info = CallInfo::of(&request);
        let Self { inner, layer: BodyLimitLayer { pool, max_bytes, read_timeout } } = self.clone();
        Box::pin(async move {
            if info.route == Route::Reflection {
                return inner.oneshot(request.map(RequestBody::Streaming)).await;
            }
            let (parts, body) = request.into_parts();
            let mut reader = MessageReader::new(body, Instant::now() + read_timeout);
            let size = reader.size().await.map_err(Rejection::incomplete)?.unwrap_or(0);
            if size > max_bytes {
                return Err(Rejection::too_large(
                    format!("the request has {size} bytes; the server's limit is {max_bytes}"),
                    "raise the connector server's --max-message-mib",
                ));
            }
            let permit = pool.acquire_memory(size, info.answer_by).await?;
            let body = reader.finish().await.map_err(Rejection::incomplete)?;
            let mut response = inner.oneshot(Request::from_parts(parts, body)).await?;
            if let Some(permit) = permit {
                Permits::attach(&mut response, permit);
            }
            Ok(response)
        })
    }
}
