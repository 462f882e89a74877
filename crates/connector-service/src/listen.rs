//! Binds the ports and accepts connections.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

/// Connections queued by the kernel before they are accepted.
const BACKLOG: i32 = 1024;

/// Pause after a failed accept, such as with too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// A port could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another process listens on the port.
    #[error(
        "port {port} is already in use: choose another with {flag}, or stop the process that listens there"
    )]
    Taken {
        /// The port.
        port: u16,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// `--host` is not an interface of this machine.
    #[error("--host: `{host}` is not an address of this machine")]
    Host {
        /// The value of `--host`.
        host: String,
        /// The cause.
        source: io::Error,
    },
    /// Any other error, such as a privileged port.
    #[error("port {port} cannot be bound (see {flag})")]
    Other {
        /// The port.
        port: u16,
        /// The flag that sets it.
        flag: &'static str,
        /// The cause.
        source: io::Error,
    },
}

/// Binds a port on an interface, or on all: IPv6 and IPv4, or IPv4 only if the system has no IPv6. Does not share the port
/// with other processes.
pub(crate) async fn bind(
    host: Option<&str>,
    port: u16,
    flag: &'static str,
) -> Result<TcpListener, BindError> {
    let bound = match host {
        Some(host) => match resolve(host, port).await {
            Ok(address) => open(address),
            Err(source) => return Err(BindError::Host { host: host.to_owned(), source }),
        },
        None => match open(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
            Err(error) if lacks_ipv6(&error) => {
                open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
            }
            bound => bound,
        },
    };
    bound.map_err(|source| match (source.kind(), host) {
        (io::ErrorKind::AddrInUse, _) => BindError::Taken { port, flag },
        (io::ErrorKind::AddrNotAvailable, Some(host)) => {
            BindError::Host { host: host.to_owned(), source }
        }
        _ => BindError::Other { port, flag, source },
    })
}

/// Accepts the next connection. Skips clients that have disconnected already, and retries other errors after a pause.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => return stream,
            Err(error) if is_client_error(&error) => {
                debug!(%error, "a client disconnected before its connection was accepted");
            }
            Err(error) => {
                warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

/// True if only one connection is lost. Other errors, such as too many open files, persist.
fn is_client_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

async fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let mut found = tokio::net::lookup_host((host, port)).await?;
    found.next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Allows a restarted server to bind while old connections linger. Two servers still cannot share a port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// True for EAFNOSUPPORT (the kernel has no IPv6) and EADDRNOTAVAIL (IPv6 is disabled).
fn lacks_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = if cfg!(target_os = "linux") { 97 } else { 47 };
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn default_host_accepts_ipv4_and_ipv6() {
        let listener = bind(None, 0, "--port").await.unwrap();
        let address = listener.local_addr().unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).await.unwrap();
        if address.is_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).await.unwrap();
        }
    }

    #[tokio::test]
    async fn taken_port_is_reported_with_its_flag() {
        let first = bind(None, 0, "--port").await.unwrap();
        let port = first.local_addr().unwrap().port();
        let error = bind(None, port, "--port").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "port {port} is already in use: choose another with --port, or stop the process that listens there"
            )
        );
        assert!(matches!(
            bind(Some("127.0.0.1"), port, "--port").await,
            Err(BindError::Taken { .. })
        ));
    }

    #[tokio::test]
    async fn host_may_be_a_name_an_address_or_a_bracketed_address() {
        for host in ["localhost", "127.0.0.1"] {
            assert!(
                bind(Some(host), 0, "--port")
                    .await
                    .unwrap()
                    .local_addr()
                    .unwrap()
                    .ip()
                    .is_loopback(),
                "{host}"
            );
        }
        assert_eq!(resolve("[::1]", 1).await.unwrap(), SocketAddr::from((Ipv6Addr::LOCALHOST, 1)));
    }

    #[tokio::test]
    async fn host_of_another_machine_is_rejected() {
        // TEST-NET-1 is reserved for documentation.
        let error = bind(Some("192.0.2.1"), 0, "--port").await.unwrap_err();
        assert_eq!(error.to_string(), "--host: `192.0.2.1` is not an address of this machine");
    }
}
