//! The gRPC port: who may come in, how many at once, and for how long.
//!
//! tonic's own server is not used for this. It has no bound on connections, no certificate reload and no jitter on a
//! connection's age, and with a grace time it cuts an old connection off without a GOAWAY first (`docs/adr/0006`).

mod connection;
mod limits;
mod preface;

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;
use tracing::{debug, warn};

pub use limits::Limits;

/// How long no connection is taken after the system had no room for one.
const OUT_OF_ROOM: Duration = Duration::from_millis(100);

/// What every connection of one server shares.
#[derive(Debug)]
pub(crate) struct Door {
    routes: Routes,
    limits: Limits,
    connections: Arc<Semaphore>,
    handshakes: Semaphore,
    stop: CancellationToken,
}

impl Door {
    /// A door to those services. Once `stop` is cancelled, [`Door::serve`] takes no connection and asks those that
    /// are open to finish.
    pub(crate) fn new(routes: Routes, limits: Limits, stop: CancellationToken) -> Self {
        Self {
            routes: routes.prepare(),
            connections: Arc::new(Semaphore::new(limits.connections)),
            handshakes: Semaphore::new(limits.handshakes),
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
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _peer)) => door.admit(stream, &tasks),
                Err(error) if of_the_client(&error) => {
                    debug!(%error, "a client left before its connection was taken");
                }
                Err(error) => {
                    warn!(%error, "no connection can be taken at this moment");
                    tokio::time::sleep(OUT_OF_ROOM).await;
                }
            }
        }
        drop(listener);
        tasks.close();
        tasks.wait().await;
    }

    /// Serves the connection, or closes it at once when there are too many: a client then goes to another replica
    /// instead of waiting here.
    fn admit(self: &Arc<Self>, stream: TcpStream, tasks: &TaskTracker) {
        let Ok(place) = Arc::clone(&self.connections).try_acquire_owned() else {
            debug!(most = self.limits.connections, "a connection was closed: there are too many");
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
        let greeted = tokio::select! {
            greeted = tokio::time::timeout(self.limits.handshake_time, self.greet(stream)) => greeted,
            () = self.stop.cancelled() => return,
        };
        match greeted {
            Ok(Ok(stream)) => {
                connection::serve(stream, self.routes.clone(), &self.limits, &self.stop).await;
            }
            Ok(Err(error)) => {
                debug!(error = crate::status::chain(&error), "a connection was closed");
            }
            Err(_elapsed) => debug!("a connection was closed: its client did not begin in time"),
        }
    }

    /// Up to the first bytes of HTTP/2. A bound on how many do this keeps those who never finish from costing more
    /// than that many buffers.
    async fn greet(&self, stream: TcpStream) -> io::Result<preface::Prefaced<TcpStream>> {
        let _turn = self.handshakes.acquire().await.map_err(io::Error::other)?;
        preface::read(stream).await
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
