//! Binding the two ports, and taking connections from them.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// How long no connection is taken after the system had no room for one.
const OUT_OF_ROOM: Duration = Duration::from_millis(100);

/// A port could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody else listens there.
    #[error(
        "port {port} is already in use: choose another with {flag}, or stop what listens there"
    )]
    Taken {
        /// The port.
        port: u16,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// `--host` is no interface of this machine.
    #[error("--host: `{host}` is not an address of this machine")]
    Host {
        /// What was given.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// Anything else, such as a port that only root may bind.
    #[error("port {port} cannot be bound (see {flag})")]
    Other {
        /// The port.
        port: u16,
        /// The flag that sets it.
        flag: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Binds a port on that interface, or on all: IPv6 and IPv4 together, IPv4 alone where the system has no IPv6.
/// The port is never shared with another process.
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

/// The next connection. A client that left before it was taken is passed over, and a system without room for one is
/// given a moment.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => return stream,
            Err(error) if of_the_client(&error) => {
                debug!(%error, "a client left before its connection was taken");
            }
            Err(error) => {
                warn!(%error, "no connection can be taken at this moment");
                tokio::time::sleep(OUT_OF_ROOM).await;
            }
        }
    }
}

/// Whether only that one connection is lost. Anything else, such as too many open files, lasts.
fn of_the_client(error: &io::Error) -> bool {
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
    // Lets a restarted server bind while old connections linger. It does not let two servers share a port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// EAFNOSUPPORT comes when the kernel has no IPv6, EADDRNOTAVAIL when it is switched off.
fn lacks_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = if cfg!(target_os = "linux") { 97 } else { 47 };
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_host_both_families_reach_the_port() {
        let listener = bind(None, 0, "--port").await.unwrap();
        let address = listener.local_addr().unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).await.unwrap();
        if address.is_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_taken_port_names_port_and_flag() {
        let first = bind(None, 0, "--port").await.unwrap();
        let port = first.local_addr().unwrap().port();
        let error = bind(None, port, "--port").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "port {port} is already in use: choose another with --port, or stop what listens there"
            )
        );
        assert!(matches!(
            bind(Some("127.0.0.1"), port, "--port").await,
            Err(BindError::Taken { .. })
        ));
    }

    #[tokio::test]
    async fn a_host_may_be_a_name_an_address_or_an_address_in_brackets() {
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
    async fn a_host_elsewhere_is_refused_by_name() {
        // TEST-NET-1 is nobody's address.
        let error = bind(Some("192.0.2.1"), 0, "--port").await.unwrap_err();
        assert_eq!(error.to_string(), "--host: `192.0.2.1` is not an address of this machine");
    }
}
