//! Layers written as one async function of a request and the rest of the stack, as in `axum::middleware`.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use connector_core::{Error, ErrorKind};
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt as _};

use crate::metrics::RejectionReason;

/// The rejection of a call before it reaches a service.
#[derive(Debug)]
pub(super) struct Rejection {
    /// The reason, as a metric label.
    pub(super) reason: RejectionReason,
    /// The error for the caller.
    pub(super) error: Error,
}

impl Rejection {
    /// The server is full. Another replica, or this one later, can serve the call.
    pub(super) fn busy(message: &'static str) -> Self {
        Self { reason: RejectionReason::Busy, error: Error::new(ErrorKind::Exhausted, message) }
    }

    /// The server is shutting down. Another replica can serve the call.
    pub(super) fn stopping() -> Self {
        let error = Error::new(ErrorKind::Unavailable, "the server is shutting down")
            .with_hint("another replica can serve the call");
        Self { reason: RejectionReason::Stopping, error }
    }

    /// The request is too large for this server, now and later.
    pub(super) fn too_large(message: String, hint: &'static str) -> Self {
        let error = Error::new(ErrorKind::Exhausted, message).with_hint(hint);
        Self { reason: RejectionReason::TooLarge, error }
    }

    /// The request did not arrive in time, or not as one message.
    pub(super) fn incomplete(error: Error) -> Self {
        Self { reason: RejectionReason::Slow, error }
    }
}

/// The behaviour of a layer.
pub(super) trait Middleware<B>: Clone {
    /// The request body that the rest of the stack receives.
    type NextBody;
    /// [`Rejection`], except in the layer that turns rejections into responses.
    type Error;

    /// Rejects the call, or passes it to `next`.
    fn handle(
        self,
        request: Request<B>,
        next: impl Next<Self::NextBody>,
    ) -> impl Future<Output = Result<Response<Body>, Self::Error>> + Send + 'static;
}

/// The rest of the stack below a layer.
pub(super) trait Next<B>: Clone + Send + 'static {
    /// Passes the call on.
    fn run(
        self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<Body>, Rejection>> + Send + 'static;
}

impl<S, B: Send + 'static> Next<B> for S
where
    S: Service<Request<B>, Response = Response<Body>, Error = Rejection, Future: Send>
        + Clone
        + Send
        + 'static,
{
    fn run(
        self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<Body>, Rejection>> + Send + 'static {
        self.oneshot(request)
    }
}

/// The layer of a [`Middleware`].
#[derive(Debug, Clone)]
pub(super) struct MiddlewareLayer<M>(pub(super) M);

impl<S, M: Clone> Layer<S> for MiddlewareLayer<M> {
    type Service = MiddlewareService<M, S>;

    fn layer(&self, next: S) -> MiddlewareService<M, S> {
        MiddlewareService { middleware: self.0.clone(), next }
    }
}

/// The service of [`MiddlewareLayer`].
#[derive(Debug, Clone)]
pub(super) struct MiddlewareService<M, S> {
    middleware: M,
    next: S,
}

impl<M: Middleware<B>, S: Next<M::NextBody>, B> Service<Request<B>> for MiddlewareService<M, S> {
    type Response = Response<Body>;
    type Error = M::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, M::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(self.middleware.clone().handle(request, self.next.clone()))
    }
}
