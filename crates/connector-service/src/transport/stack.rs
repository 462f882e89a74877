//! The stack of layers between a connection and the services, in the order in which a call meets them.
//!
//! Limits on connections, TLS and the preface apply before there is a call; `connection` and the accept loop have them.

use std::{convert::Infallible, sync::Arc};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, service::Routes};
use tower::{ServiceBuilder, util::BoxCloneSyncService};

use super::{
    admission::{AdmissionLayer, Backlog, ConcurrencyLayer},
    authorization::AuthorizationLayer,
    body_limit::BodyLimitLayer,
    config::TransportConfig,
    memory::MemoryLayer,
    rejection::{Rejection, RejectionLayer},
    response_body::ResponseBodyLayer,
    route::RouteLayer,
};
use crate::metrics::Metrics;

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
    let limits = &config.limits;
    let in_flight = backlog.all.clone();
    ServiceBuilder::new()
        .layer(BoxCloneSyncService::layer())
        .layer(RouteLayer { default_timeout: config.default_timeout })
        .layer(RejectionLayer::new(metrics))
        .layer(ResponseBodyLayer { read_timeout: limits.answer_time })
        .layer(AuthorizationLayer::new(config.callers.clone(), config.health))
        .layer(AdmissionLayer::new(limits, backlog, stop.clone()))
        .layer(BodyLimitLayer::new(limits, stop.clone()))
        .layer(ConcurrencyLayer::new(limits.calls, stop.clone()))
        .layer(MemoryLayer::new(limits, in_flight, stop.clone()))
        .map_err(|infallible: Infallible| -> Rejection { match infallible {} })
        .service(routes.prepare())
}
