//! Layer that turns the rejections of the layers below into gRPC statuses, and counts and logs them.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use connector_core::{Error, ErrorKind};
use http::{Request, Response};
use tonic::{Status, body::Body};
use tower::{Layer, Service, ServiceExt as _};

use super::{
    log_throttle::LogThrottle,
    route::{CallInfo, Route},
};
use crate::{
    metrics::{Metrics, Refusal},
    status::{self, Pushback},
};

/// Shortest retry delay of calls that were rejected because the server is busy.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(500);

/// The rejection of a call before it reaches a service.
#[derive(Debug)]
pub(super) struct Rejection {
    /// The reason, as a metric label.
    pub(super) reason: Refusal,
    /// The error for the caller.
    pub(super) error: Error,
}

impl Rejection {
    /// The server is full. Another replica, or this one later, can serve the call.
    pub(super) fn busy(message: &'static str) -> Self {
        Self { reason: Refusal::Busy, error: Error::new(ErrorKind::Exhausted, message) }
    }

    /// The server is shutting down. Another replica can serve the call.
    pub(super) fn stopping() -> Self {
        let error = Error::new(ErrorKind::Unavailable, "the server is shutting down")
            .with_hint("another replica can serve the call");
        Self { reason: Refusal::Stopping, error }
    }

    /// The request is too large for this server, now and later.
    pub(super) fn too_large(message: String, hint: &'static str) -> Self {
        let error = Error::new(ErrorKind::Exhausted, message).with_hint(hint);
        Self { reason: Refusal::TooLarge, error }
    }

    /// The request did not arrive in time, or not as one message.
    pub(super) fn incomplete(error: Error) -> Self {
        Self { reason: Refusal::Slow, error }
    }
}

/// The future of a layer that can reject.
pub(super) type ResponseFuture =
    Pin<Box<dyn Future<Output = Result<Response<Body>, Rejection>> + Send>>;

/// A service below [`RejectionLayer`].
pub(super) trait Inner<B>:
    Service<Request<B>, Response = Response<Body>, Error = Rejection, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S, B> Inner<B> for S where
    S: Service<Request<B>, Response = Response<Body>, Error = Rejection, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Responds to rejected calls.
#[derive(Debug, Clone)]
pub(super) struct RejectionLayer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    metrics: Arc<Metrics>,
    log: LogThrottle,
}

impl RejectionLayer {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Shared { metrics, log: LogThrottle::default() }))
    }
}

impl<S> Layer<S> for RejectionLayer {
    type Service = Rejecting<S>;

    fn layer(&self, inner: S) -> Rejecting<S> {
        Rejecting { inner, shared: Arc::clone(&self.0) }
    }
}

/// The service of [`RejectionLayer`].
#[derive(Debug, Clone)]
pub(super) struct Rejecting<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S: Inner<B>, B: Send + 'static> Service<Request<B>> for Rejecting<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let route = CallInfo::of(&request).route;
        let (inner, shared) = (self.inner.clone(), Arc::clone(&self.shared));
        Box::pin(async move {
            let response = inner.oneshot(request).await;
            Ok(response.unwrap_or_else(|rejection| shared.status(route, &rejection).into_http()))
        })
    }
}

impl Shared {
    fn status(&self, route: Route, Rejection { reason, error }: &Rejection) -> Status {
        self.metrics.refused(*reason);
        if let Some(suppressed) = self.log.permit() {
            tracing::warn!(
                ?route,
                error = status::message(error),
                detail = error.detail(),
                suppressed,
                "call rejected by the transport"
            );
        }
        match reason {
            Refusal::Busy => {
                status::pushed_back(error, Pushback::After(retry_delay(fastrand::f64())))
            }
            Refusal::TooLarge => status::pushed_back(error, Pushback::Never),
            _ => status::from_error(error),
        }
    }
}

/// Returns one to three times the shortest delay, so that clients rejected together do not return together.
/// `random` is in 0..1.
fn retry_delay(random: f64) -> Duration {
    MIN_RETRY_DELAY.mul_f64(1.0 + 2.0 * random)
}
