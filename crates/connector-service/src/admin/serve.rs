//! Connections of the HTTP port. Idle peers must not block a probe, because Kubernetes kills a pod whose probes fail.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::Router;
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tower::ServiceExt as _;

use crate::{evicting_set::EvictingSet, listen::accept};

/// Open connections. A further one evicts the oldest.
const MAX_CONNECTIONS: usize = 100;

/// Time to receive the headers of a request, idle time included.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the routes. Never completes.
pub(crate) async fn serve(listener: TcpListener, routes: Router) -> Infallible {
    let open = Arc::new(EvictingSet::new(MAX_CONNECTIONS));
    // Aborted when this future is dropped.
    let mut connections = JoinSet::new();
    loop {
        let stream = accept(&listener).await;
        connections.spawn(connection(stream, routes.clone(), Arc::clone(&open)));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, routes: Router, open: Arc<EvictingSet>) {
    let entry = open.insert();
    let service = service_fn(move |request: Request<Incoming>| routes.clone().oneshot(request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // Errors of the client are irrelevant.
        _ended = served => {}
        () = entry.evicted() => {}
    }
}
