//! The gRPC port: who may come in, how many at once, and for how long.
//!
//! tonic's own server is not used for this. It has no bound on connections, no certificate reload and no jitter on a
//! connection's age, and with a grace time it cuts an old connection off without a GOAWAY first (`docs/adr/0006`).

mod admission;
mod answer;
mod authorize;
mod class;
mod connection;
mod gate;
mod limits;
mod peer;
mod preface;
mod reload;
mod sparing;
mod tls;
mod upload;
mod weight;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;
use tracing::{debug, info};

pub use authorize::Callers;
pub use limits::Limits;
pub use tls::{Tls, TlsFiles};

pub(crate) use admission::{Room, Work};

use gate::Gate;
use peer::Peer;
use sparing::Sparing;

use crate::{
    evicting_set::EvictingSet,
    listen::accept,
    metrics::{Metrics, Refusal},
};

/// Access to the gRPC health service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum HealthAccess {
    /// Every client; health checkers seldom have a token.
    #[default]
    Open,
    /// Authorized callers.
    Callers,
    /// The service is not served.
    Off,
}

/// When a call came. Its time runs from there, not from when its message was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived(pub(crate) Instant);

/// Who is let in, and how.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) tls: Option<Tls>,
    pub(crate) callers: Callers,
    pub(crate) health: HealthAccess,
    pub(crate) limits: Limits,
    pub(crate) default_timeout: Duration,
}

/// What every connection of one server shares.
#[derive(Debug)]
pub(crate) struct Door {
    gate: Arc<Gate>,
    metrics: Arc<Metrics>,
    tls: Option<Tls>,
    limits: Limits,
    connections: Arc<Semaphore>,
    handshakes: EvictingSet,
    failures: Sparing,
    stop: CancellationToken,
}

impl Door {
    /// A door to those services. `work` is what their calls have begun and not finished. Once `stop` is cancelled, [`Door::serve`] takes no connection and asks those that
    /// are open to finish.
    pub(crate) fn new(
        routes: Routes,
        rules: Rules,
        metrics: Arc<Metrics>,
        work: Work,
        stop: CancellationToken,
    ) -> Self {
        let gate = Gate::new(routes, &rules, Arc::clone(&metrics), work, stop.clone());
        let Rules { tls, limits, .. } = rules;
        Self {
            gate: Arc::new(gate),
            metrics,
            tls,
            connections: Arc::new(Semaphore::new(limits.connections)),
            handshakes: EvictingSet::new(limits.handshakes),
            failures: Sparing::default(),
            limits,
            stop,
        }
    }

    /// Serves until `stop` was cancelled and every connection has ended.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let door = Arc::new(self);
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = door.stop.cancelled() => break,
                stream = accept(&listener) => stream,
            };
            door.admit(accepted, &tasks);
        }
        drop(listener);
        tasks.close();
        tasks.wait().await;
    }

    /// Serves the connection, or closes it at once when there are too many: a client then goes to another replica
    /// instead of waiting here.
    fn admit(self: &Arc<Self>, stream: TcpStream, tasks: &TaskTracker) {
        let Ok(place) = Arc::clone(&self.connections).try_acquire_owned() else {
            self.metrics.refused(Refusal::Connection);
            self.tell("there are too many connections");
            return;
        };
        let door = Arc::clone(self);
        tasks.spawn(async move {
            door.connection(stream).await;
            drop(place);
        });
    }

    async fn connection(&self, stream: TcpStream) {
        // Answers are small and each is waited for.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "a client left at once");
            return;
        }
        match &self.tls {
            None => {
                let greeting = async { Ok((preface::read(stream).await?, Peer::default())) };
                self.greeted(greeting).await;
            }
            Some(tls) => {
                let greeting = async {
                    let (stream, peer) = tls.accept(stream).await?;
                    Ok((preface::read(stream).await?, peer))
                };
                self.greeted(greeting).await;
            }
        }
    }

    /// Serves the connection once TLS and the first bytes of HTTP/2 are through.
    async fn greeted<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        greeting: impl Future<Output = io::Result<(S, Peer)>>,
    ) {
        let greeted = {
            let handshake = self.handshakes.insert();
            tokio::select! {
                greeted = tokio::time::timeout(self.limits.handshake_time, greeting) => greeted,
                () = handshake.evicted() => {
                    return self.failed("others were waiting, and the client did not begin");
                }
                () = self.stop.cancelled() => return,
            }
        };
        match greeted {
            Ok(Ok((stream, peer))) => {
                connection::serve(stream, peer, &self.gate, &self.limits, &self.stop).await;
            }
            // Who connects and says nothing is a check of the port, not a client.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Ok(Err(error)) => self.failed(&why(&error)),
            Err(_elapsed) => self.failed("the client did not begin in time"),
        }
    }

    fn failed(&self, error: &str) {
        self.metrics.refused(Refusal::Handshake);
        self.tell(error);
    }

    fn tell(&self, error: &str) {
        if let Some(untold) = self.failures.turn() {
            info!(error, untold, "a connection was closed before its first call");
        }
    }
}

/// Why a greeting failed, with what to do where the words of TLS do not say it.
fn why(error: &io::Error) -> String {
    let told = crate::error_chain::error_chain(error);
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidMessage(_)) => {
            format!("{told}; the client speaks no TLS: let it, or serve without --tls-cert")
        }
        Some(rustls::Error::NoCertificatesPresented) => {
            format!("{told}; with --tls-client-ca every client has to show one")
        }
        _ => told,
    }
}

#[cfg(test)]
mod tests {
    use rustls::InvalidMessage;

    use super::*;

    #[test]
    fn a_client_without_tls_or_certificate_is_told_of_with_what_to_do() {
        for (error, next) in [
            (rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType), "--tls-cert"),
            (rustls::Error::NoCertificatesPresented, "--tls-client-ca"),
        ] {
            let told = why(&io::Error::new(io::ErrorKind::InvalidData, error));
            assert!(told.contains(next), "{told}");
        }
    }
}
