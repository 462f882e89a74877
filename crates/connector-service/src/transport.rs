//! The gRPC port: connections, TLS, and the layers that a call passes before it reaches a service.
//!
//! [`stack`] composes the layers and is the place to start. A new check of calls is a layer with its own file. Code
//! that knows tasks belongs in `service`.
//!
//! The accept loop is our own, not tonic's server: tonic has no limit on connections, no certificate reload and no jitter
//! on connection age, and closes an old connection without a GOAWAY (`docs/adr/0006-own-accept-loop.md`).

mod admission;
mod authorization;
mod body_limit;
mod connection;
mod decoded_size;
mod limits;
mod log_throttle;
mod memory;
mod middleware;
mod permits;
mod preface;
mod rejection;
mod request_body;
mod response_body;
mod route;
mod stack;
mod tls;
mod tls_reload;

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;
use tracing::{debug, info};

pub use authorization::{Callers, HealthAccess};
pub use limits::Limits;
pub(crate) use limits::MIB;
pub use tls::{Tls, TlsFiles};

pub(crate) use admission::Backlog;
pub(crate) use memory::MemoryPermit;
pub(crate) use route::CallInfo;
pub(crate) use stack::TransportConfig;

use self::{log_throttle::LogThrottle, stack::Stack, tls::Peer};
use crate::{
    error_chain::error_chain,
    evicting_set::EvictingSet,
    listen::accept,
    metrics::{Metrics, RejectionReason},
};

/// The gRPC port of one server.
#[derive(Debug)]
pub(crate) struct Transport {
    stack: Stack,
    metrics: Arc<Metrics>,
    tls: Option<Tls>,
    limits: Limits,
    connections: Arc<Semaphore>,
    handshakes: EvictingSet,
    log: LogThrottle,
    stop: CancellationToken,
}

impl Transport {
    /// Puts the layers around the services. `backlog` is the unfinished work of their calls. Cancelling `stop` begins the
    /// shutdown.
    pub(crate) fn new(
        routes: Routes,
        config: TransportConfig,
        metrics: Arc<Metrics>,
        backlog: Backlog,
        stop: CancellationToken,
    ) -> Self {
        let stack = stack::stack(routes, &config, Arc::clone(&metrics), backlog, &stop);
        let TransportConfig { tls, limits, .. } = config;
        Self {
            stack,
            metrics,
            tls,
            connections: Arc::new(Semaphore::new(limits.connections)),
            handshakes: EvictingSet::new(limits.handshakes),
            log: LogThrottle::default(),
            limits,
            stop,
        }
    }

    /// Serves until `stop` is cancelled and every connection is closed.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let transport = Arc::new(self);
        let tasks = TaskTracker::new();
        loop {
            let stream = tokio::select! {
                biased;
                () = transport.stop.cancelled() => break,
                stream = accept(&listener) => stream,
            };
            transport.spawn(stream, &tasks);
        }
        drop(listener);
        tasks.close();
        tasks.wait().await;
    }

    /// Serves the connection in a task. Closes it if there are too many, so that the client tries another replica instead
    /// of waiting here.
    fn spawn(self: &Arc<Self>, stream: TcpStream, tasks: &TaskTracker) {
        let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else {
            self.metrics.rejected(RejectionReason::Connection);
            self.log_closed("too many connections");
            return;
        };
        let transport = Arc::clone(self);
        tasks.spawn(async move {
            transport.serve_connection(stream).await;
            drop(permit);
        });
    }

    async fn serve_connection(&self, stream: TcpStream) {
        // Responses are small, and callers wait for each.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "the client disconnected immediately");
            return;
        }
        match &self.tls {
            None => {
                let handshake = async { Ok((preface::read(stream).await?, Peer::default())) };
                self.serve_after(handshake).await;
            }
            Some(tls) => {
                let handshake = async {
                    let (stream, peer) = tls.accept(stream).await?;
                    Ok((preface::read(stream).await?, peer))
                };
                self.serve_after(handshake).await;
            }
        }
    }

    /// Serves the connection after its TLS handshake and HTTP/2 preface.
    async fn serve_after<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        handshake: impl Future<Output = io::Result<(S, Peer)>>,
    ) {
        let result = {
            let entry = self.handshakes.insert();
            tokio::select! {
                result = tokio::time::timeout(self.limits.handshake_time, handshake) => result,
                () = entry.evicted() => {
                    return self.handshake_failed("too many handshakes, and this one was the oldest");
                }
                () = self.stop.cancelled() => return,
            }
        };
        match result {
            Ok(Ok((stream, peer))) => {
                connection::serve(stream, peer, &self.stack, &self.limits, &self.stop).await;
            }
            // A port check connects and sends nothing.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Ok(Err(error)) => self.handshake_failed(&describe(&error)),
            Err(_elapsed) => self.handshake_failed("handshake timeout"),
        }
    }

    fn handshake_failed(&self, error: &str) {
        self.metrics.rejected(RejectionReason::Handshake);
        self.log_closed(error);
    }

    fn log_closed(&self, error: &str) {
        if let Some(suppressed) = self.log.permit() {
            info!(error, suppressed, "connection closed before its first call");
        }
    }
}

/// Describes why a handshake failed, with a remedy for common mistakes.
fn describe(error: &io::Error) -> String {
    let text = error_chain(error);
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidMessage(_)) => {
            format!(
                "{text}; the client sent plaintext: enable TLS on the client or drop --tls-cert"
            )
        }
        Some(rustls::Error::NoCertificatesPresented) => {
            format!("{text}; --tls-client-ca requires a certificate of every client")
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use rustls::InvalidMessage;

    use super::*;

    #[test]
    fn plaintext_and_missing_certificates_are_reported_with_a_remedy() {
        for (error, flag) in [
            (rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType), "--tls-cert"),
            (rustls::Error::NoCertificatesPresented, "--tls-client-ca"),
        ] {
            let text = describe(&io::Error::new(io::ErrorKind::InvalidData, error));
            assert!(text.contains(flag), "{text}");
        }
    }
}
