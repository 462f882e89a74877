//! One connection, from its preface to its end.

use std::{pin::pin, sync::Arc};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Limits, gate::Gate, peer::Peer};

/// How much of one request HTTP/2 may hold before it is read; the protocol's own default.
const STREAM_WINDOW: u32 = 64 * 1024 - 1;

/// How much of all requests of one connection HTTP/2 may hold before they are read.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Serves calls until the client leaves. When the connection is old, or a stop is asked for, the client is told to
/// begin no more calls here (GOAWAY), and those it has may finish.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    gate: &Arc<Gate>,
    limits: &Limits,
    stop: &CancellationToken,
) {
    let cut = CancellationToken::new();
    let shared = Arc::new((Arc::clone(gate), peer, cut.clone()));
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move {
            let (gate, peer, cut) = &*shared;
            gate.answer(peer, cut, request).await
        }
    });
    let mut connection = pin!(builder(limits).serve_connection(TokioIo::new(stream), service));
    let old = async {
        match limits.age(fastrand::f64()) {
            Some(age) => tokio::time::sleep(age).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = cut.cancelled() => Some(Ok(())),
        () = stop.cancelled() => None,
        () = old => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        // A stop has a grace time of its own, which is shorter.
        tokio::select! {
            ended = connection => ended,
            () = cut.cancelled() => Ok(()),
            () = tokio::time::sleep(limits.connection_age_grace) => {
                debug!("a connection was cut off: it did not end when it was asked to");
                Ok(())
            }
        }
    };
    if let Err(error) = ended {
        debug!(error = crate::error_chain::error_chain(&error), "a connection failed");
    }
}

fn builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header_bytes)
        .keep_alive_interval(limits.ping_after)
        .keep_alive_timeout(limits.ping_answer);
    builder
}
