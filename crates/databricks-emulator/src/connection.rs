//! Connections for HTTPS, and what goes wrong with new ones.

use crate::emulator::Shared;
use crate::faults::ConnectionFault;
use crate::tls::Tls;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// What a server says that was asked for TLS and speaks plain HTTP.
const PLAIN_HTTP: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Takes connections for HTTPS as the faults that are in force want it.
#[derive(Clone)]
pub(crate) struct Acceptor {
    shared: Arc<Shared>,
    trusted: RustlsAcceptor,
    untrusted: RustlsAcceptor,
    expired: RustlsAcceptor,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

impl Acceptor {
    pub(crate) fn new(shared: Arc<Shared>, tls: &Tls) -> Self {
        let acceptor = |config| RustlsAcceptor::new(RustlsConfig::from_config(Arc::clone(config)));
        Self {
            shared,
            trusted: acceptor(&tls.config),
            untrusted: acceptor(&tls.untrusted),
            expired: acceptor(&tls.expired),
        }
    }
}

type Accepted<Stream, Service> =
    Pin<Box<dyn Future<Output = io::Result<(Stream, Service)>> + Send>>;

impl<S: Send + 'static> Accept<TcpStream, S> for Acceptor {
    type Stream = <RustlsAcceptor as Accept<Connection, S>>::Stream;
    type Service = <RustlsAcceptor as Accept<Connection, S>>::Service;
    type Future = Accepted<Self::Stream, Self::Service>;

    fn accept(&self, mut stream: TcpStream, service: S) -> Self::Future {
        let strike = self.shared.faults.strike_connection();
        if let Some(strike) = &strike {
            tracing::debug!(rule = strike.rule, fault = ?strike.fault, "a connection goes wrong");
        }
        let acceptor = match strike.map(|strike| strike.fault) {
            None => self.trusted.clone(),
            Some(ConnectionFault::UntrustedCertificate) => self.untrusted.clone(),
            Some(ConnectionFault::ExpiredCertificate) => self.expired.clone(),
            Some(ConnectionFault::Closed) => return Box::pin(async { Err(refused()) }),
            Some(ConnectionFault::NotTls) => {
                return Box::pin(async move {
                    stream.write_all(PLAIN_HTTP).await?;
                    stream.shutdown().await?;
                    Err(refused())
                });
            }
        };
        // Taken after the strike, so that a rule that is added meanwhile ends this connection too.
        let connection = Connection::new(stream, self.shared.faults.open_connections());
        Box::pin(async move { acceptor.accept(connection, service).await })
    }
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "a fault ends the connection")
}

/// A connection that can be ended from outside.
pub(crate) struct Connection {
    stream: TcpStream,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    fn new(stream: TcpStream, end: CancellationToken) -> Self {
        Self { stream, ended: Box::pin(end.cancelled_owned()) }
    }

    fn is_ended(&mut self, cx: &mut Context<'_>) -> bool {
        self.ended.as_mut().poll(cx).is_ready()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_ended(cx) {
            return Poll::Ready(Err(refused()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_ended(cx) {
            return Poll::Ready(Err(refused()));
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
