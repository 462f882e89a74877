//! The HTTP port's connections. They are few and short; a stranger must not be able to keep a probe out, for Kubernetes
//! ends what it cannot probe.

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

/// Connections at once. One more ends the oldest.
const CONNECTIONS: usize = 100;

/// How long a client may take for the head of a request, or be idle before the next.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Serves the pages for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, pages: Router) -> Infallible {
    let newest = Arc::new(EvictingSet::new(CONNECTIONS));
    // They end with this future.
    let mut connections = JoinSet::new();
    loop {
        let stream = accept(&listener).await;
        connections.spawn(connection(stream, pages.clone(), Arc::clone(&newest)));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, pages: Router, newest: Arc<EvictingSet>) {
    let guest = newest.insert();
    let service = service_fn(move |request: Request<Incoming>| pages.clone().oneshot(request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A client that breaks off is none of our business.
        _ended = served => {}
        () = guest.evicted() => {}
    }
}
