//! Accepts HTTPS connections and injects connection faults.

use super::certificates::Certificates;
use crate::faults::ConnectionFault;
use crate::state::AppState;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The response of a plain HTTP server to a TLS handshake.
const PLAIN_HTTP: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A TLS acceptor that asks the fault rules about every connection.
#[derive(Clone)]
pub(crate) struct FaultAcceptor {
    state: Arc<AppState>,
    certificates: Arc<Certificates>,
}

impl FaultAcceptor {
    pub(crate) fn new(state: &Arc<AppState>, certificates: &Arc<Certificates>) -> Self {
        Self { state: Arc::clone(state), certificates: Arc::clone(certificates) }
    }
}

type Accepted<Stream, Service> =
    Pin<Box<dyn Future<Output = io::Result<(Stream, Service)>> + Send>>;

impl<S: Send + 'static> Accept<TcpStream, S> for FaultAcceptor {
    type Stream = <RustlsAcceptor as Accept<CancellableStream, S>>::Stream;
    type Service = <RustlsAcceptor as Accept<CancellableStream, S>>::Service;
    type Future = Accepted<Self::Stream, Self::Service>;

    fn accept(&self, mut stream: TcpStream, service: S) -> Self::Future {
        let injected = self.state.faults.next_connection_fault();
        if let Some(injected) = &injected {
            tracing::debug!(rule = injected.rule, fault = ?injected.fault, "injecting connection fault");
        }
        let config = match injected.map(|injected| injected.fault) {
            None => &self.certificates.valid,
            Some(ConnectionFault::UntrustedCertificate) => &self.certificates.untrusted,
            Some(ConnectionFault::ExpiredCertificate) => &self.certificates.expired,
            Some(ConnectionFault::Closed) => return Box::pin(async { Err(fault_error()) }),
            Some(ConnectionFault::NotTls) => {
                return Box::pin(async move {
                    stream.write_all(PLAIN_HTTP).await?;
                    stream.shutdown().await?;
                    Err(fault_error())
                });
            }
        };
        let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(Arc::clone(config)));
        // Read the token after asking the rules: a rule added meanwhile must close this connection too.
        let stream = CancellableStream::new(stream, self.state.faults.https_connections());
        Box::pin(async move { acceptor.accept(stream, service).await })
    }
}

fn fault_error() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "connection closed by an injected fault")
}

/// A TCP stream whose reads and writes fail once a token is cancelled.
pub(crate) struct CancellableStream {
    stream: TcpStream,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl CancellableStream {
    fn new(stream: TcpStream, token: CancellationToken) -> Self {
        Self { stream, cancelled: Box::pin(token.cancelled_owned()) }
    }

    fn is_cancelled(&mut self, cx: &mut Context<'_>) -> bool {
        self.cancelled.as_mut().poll(cx).is_ready()
    }
}

impl AsyncRead for CancellableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_cancelled(cx) {
            return Poll::Ready(Err(fault_error()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for CancellableStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_cancelled(cx) {
            return Poll::Ready(Err(fault_error()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
