//! Where every call passes on its way to a service.

use std::convert::Infallible;

use connector_core::Error;
use flyteidl2::connector::async_connector_service_server::SERVICE_NAME as ASYNC_CONNECTOR;
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::{body::Body, service::Routes};
use tower::ServiceExt as _;

use super::{Callers, peer::Peer, sparing::Sparing};
use crate::status;

const HEALTH: &str = "/grpc.health.v1.Health/";

/// Who may ask the gRPC health service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HealthAccess {
    /// Everybody who can connect: those who watch a server's health seldom have a token.
    #[default]
    Open,
    /// Those who may call.
    Callers,
    /// Nobody: the service is not there.
    Off,
}

/// What every call of one server passes.
#[derive(Debug)]
pub(super) struct Gate {
    routes: Routes,
    callers: Callers,
    health: HealthAccess,
    refusals: Sparing,
}

impl Gate {
    pub(super) fn new(routes: Routes, callers: Callers, health: HealthAccess) -> Self {
        Self { routes: routes.prepare(), callers, health, refusals: Sparing::default() }
    }

    /// The services' answer, or the refusal.
    pub(super) async fn answer(
        &self,
        peer: &Peer,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        if let Err(error) = self.admit(peer, &request) {
            self.tell(&request, &error);
            return Ok(status::from_error(&error).into_http());
        }
        self.routes.clone().oneshot(request.map(Body::new)).await
    }

    fn admit<B>(&self, peer: &Peer, request: &Request<B>) -> Result<(), Error> {
        if self.health == HealthAccess::Open && request.uri().path().starts_with(HEALTH) {
            return Ok(());
        }
        self.callers.admit(peer, request.headers())
    }

    fn tell<B>(&self, request: &Request<B>, error: &Error) {
        let Some(untold) = self.refusals.turn() else { return };
        // A path is made up by the caller; only ours is worth a line.
        let service =
            request.uri().path().split('/').nth(1).filter(|name| *name == ASYNC_CONNECTOR);
        tracing::warn!(
            service = service.unwrap_or("another"),
            error = status::message(error),
            detail = error.detail(),
            untold,
            "a caller was refused"
        );
    }
}
