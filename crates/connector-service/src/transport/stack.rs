//! The stack of layers between a connection and the services, in the order in which a call meets them.
//!
//! Limits on connections, TLS and the preface apply before there is a call; `connection` and the accept loop have them.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, service::Routes};
use tower::{ServiceBuilder, util::BoxCloneSyncService};

use super::{
    admission::{Admission, Backlog, Concurrency},
    authorization::{Authorization, Callers, HealthAccess},
    body_limit::BodyLimit,
    limits::Limits,
    memory::Memory,
    middleware::{MiddlewareLayer, Rejection},
    permits::PermitPool,
    rejection::Rejecting,
    response_body::HoldPermits,
    route::CallInfo,
    tls::Tls,
};
use crate::metrics::Metrics;

/// Configuration of the gRPC port.
#[derive(Debug)]
pub(crate) struct TransportConfig {
    pub(crate) tls: Option<Tls>,
    pub(crate) callers: Callers,
    pub(crate) health: HealthAccess,
    pub(crate) limits: Limits,
    pub(crate) default_timeout: Duration,
}

/// The services with all layers.
pub(super) type Stack = BoxCloneSyncService<Request<Incoming>, Response<Body>, Infallible>;

/// Builds the stack.
pub(super) fn stack(
    routes: Routes,
    config: &TransportConfig,
    metrics: Arc<Metrics>,
    backlog: Backlog,
    stop: &CancellationToken,
) -> Stack {
    let TransportConfig { callers, health, limits, default_timeout, .. } = config;
    let authorization = Authorization { callers: callers.clone(), health: *health };
    let default_timeout = *default_timeout;
    let in_flight = backlog.all.clone();
    ServiceBuilder::new()
        .layer(BoxCloneSyncService::layer())
        .map_request(move |request| CallInfo::insert(request, default_timeout))
        .layer(MiddlewareLayer(Rejecting::new(metrics)))
        .layer(MiddlewareLayer(HoldPermits { read_timeout: limits.response_read_timeout }))
        .layer(MiddlewareLayer(authorization))
        .layer(MiddlewareLayer(Admission::new(limits, backlog, stop.clone())))
        .layer(MiddlewareLayer(BodyLimit::new(limits, stop.clone())))
        .layer(MiddlewareLayer(Concurrency(PermitPool::new(limits.calls, stop.clone()))))
        .layer(MiddlewareLayer(Memory::new(limits, in_flight, stop.clone())))
        .map_err(|infallible: Infallible| -> Rejection { match infallible {} })
        .service(routes.prepare())
}
