//! One HTTP/2 connection, after its preface.

use std::{pin::pin, sync::Arc};

use http::Request;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::debug;

use super::{limits::Limits, response_body::CloseConnection, stack::Stack, tls::Peer};
use crate::error_chain::error_chain;

/// Unread bytes of one request that HTTP/2 buffers; the protocol's default.
const STREAM_WINDOW: u32 = 64 * 1024 - 1;

/// Unread bytes of all requests of a connection that HTTP/2 buffers.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Serves calls until the client disconnects. At the maximum age and at shutdown the client receives a GOAWAY, and its
/// calls may finish.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    stack: &Stack,
    limits: &Limits,
    stop: &CancellationToken,
) {
    let close = CancellationToken::new();
    let (stack, peer, close_extension) =
        (stack.clone(), Arc::new(peer), CloseConnection(close.clone()));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&peer));
        request.extensions_mut().insert(close_extension.clone());
        stack.clone().oneshot(request)
    });
    let mut connection = pin!(builder(limits).serve_connection(TokioIo::new(stream), service));
    let expired = async {
        match limits.jittered_age(fastrand::f64()) {
            Some(age) => tokio::time::sleep(age).await,
            None => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        result = &mut connection => Some(result),
        () = close.cancelled() => Some(Ok(())),
        () = stop.cancelled() => None,
        () = expired => None,
    };
    let result = if let Some(result) = result {
        result
    } else {
        connection.as_mut().graceful_shutdown();
        // At shutdown the server's own, shorter drain time applies.
        tokio::select! {
            result = connection => result,
            () = close.cancelled() => Ok(()),
            () = tokio::time::sleep(limits.connection_age_grace) => {
                debug!("connection closed: its calls outlived the grace period");
                Ok(())
            }
        }
    };
    if let Err(error) = result {
        debug!(error = error_chain(&error), "connection failed");
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
