//! Connections to every replica of a connector, and the choice among them, as grpc-go's `round_robin` makes it.
//!
//! A replica is CONNECTING until it is first reached, READY while it is connected, and FAILING from a failed try to
//! connect until the next good one. Calls go to the READY ones in turn. With none of them they wait while any is
//! CONNECTING; when all are FAILING they fail at once, unless they wait for ready.

use crate::service_config::ConnectBackoff;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tonic::body::Body;

/// How long one try to connect may take (gRPC's minimum).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Every replica, by its place.
#[derive(Debug)]
pub struct Balancer {
    replicas: Vec<Replica>,
    turn: AtomicUsize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Replica {
    address: watch::Sender<SocketAddr>,
    keeper: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    states: Mutex<Vec<State>>,
    changed: Notify,
}

#[derive(Debug, Clone)]
enum State {
    Connecting,
    Ready(Connection),
    Failing(String),
}

/// A connection to one replica.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) address: SocketAddr,
    pub(crate) sender: SendRequest<Body>,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        for replica in &self.replicas {
            replica.keeper.abort();
        }
    }
}

impl Balancer {
    /// Connects to every address at once. Has to be called within a tokio runtime.
    pub fn new(addresses: &[SocketAddr], backoff: ConnectBackoff) -> Self {
        let shared = Arc::new(Shared {
            states: Mutex::new(vec![State::Connecting; addresses.len()]),
            changed: Notify::new(),
        });
        let replicas = addresses.iter().enumerate().map(|(place, address)| {
            let (sender, receiver) = watch::channel(*address);
            let keeper = tokio::spawn(keep(place, receiver, backoff, Arc::clone(&shared)));
            Replica { address: sender, keeper }
        });
        Self { replicas: replicas.collect(), turn: AtomicUsize::new(0), shared }
    }

    /// The name service says that the replica at this place has another address now.
    pub fn moved(&self, place: usize, address: SocketAddr) {
        if let Some(replica) = self.replicas.get(place) {
            replica.address.send_replace(address);
        }
    }

    /// Waits until every replica is connected.
    pub async fn all_ready(&self) {
        self.wait_for(|states| {
            states.iter().all(|state| matches!(state, State::Ready(_))).then_some(())
        })
        .await;
    }

    /// The connection that the next call takes.
    ///
    /// # Errors
    ///
    /// Why there is none, for a call that does not wait.
    pub(crate) async fn pick(&self, wait_for_ready: bool) -> Result<Connection, String> {
        self.wait_for(|states| {
            let ready: Vec<&Connection> = states.iter().filter_map(State::usable).collect();
            if !ready.is_empty() {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) % ready.len();
                return ready.get(turn).map(|connection| Ok((*connection).clone()));
            }
            let fault = states.iter().map(State::fault).collect::<Option<Vec<&str>>>()?;
            let last = fault.last().copied().unwrap_or("no replica");
            (!wait_for_ready).then(|| Err(format!("last connection error: {last}")))
        })
        .await
    }

    async fn wait_for<T>(&self, mut look: impl FnMut(&[State]) -> Option<T> + Send) -> T {
        loop {
            // Before the look, so that no change is missed.
            let changed = self.shared.changed.notified();
            if let Some(found) = look(&self.shared.lock()) {
                return found;
            }
            changed.await;
        }
    }
}

impl State {
    fn usable(&self) -> Option<&Connection> {
        match self {
            Self::Ready(connection) if !connection.sender.is_closed() => Some(connection),
            _ => None,
        }
    }

    /// Why it fails; `None` when it does not, or not known to.
    fn fault(&self) -> Option<&str> {
        match self {
            Self::Failing(fault) => Some(fault),
            Self::Connecting | Self::Ready(_) => None,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, place: usize, state: State) {
        if let Some(slot) = self.lock().get_mut(place) {
            *slot = state;
        }
        self.changed.notify_waiters();
    }
}

/// Keeps one replica connected, for ever.
async fn keep(
    place: usize,
    mut address: watch::Receiver<SocketAddr>,
    backoff: ConnectBackoff,
    shared: Arc<Shared>,
) {
    let mut failures = 0;
    loop {
        let target = *address.borrow_and_update();
        match connect(target).await {
            Ok((connection, served)) => {
                failures = 0;
                let closed = connection.sender.clone();
                shared.set(place, State::Ready(connection));
                tokio::select! {
                    () = served => {}
                    // It takes no new calls from its GOAWAY on, while those under way finish.
                    () = closed_for_calls(closed) => {}
                    changed = address.changed() => if changed.is_err() { return },
                }
                shared.set(place, State::Connecting);
            }
            Err(fault) => {
                failures += 1;
                shared.set(place, State::Failing(fault));
                tokio::select! {
                    () = sleep(backoff.wait(failures, fastrand::f64())) => {}
                    changed = address.changed() => if changed.is_err() { return },
                }
            }
        }
    }
}

async fn closed_for_calls(mut sender: SendRequest<Body>) {
    // `ready` is an error once the connection takes no more; while it is fine there is nothing to wait on but time.
    while sender.ready().await.is_ok() {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Connects, and hands the connection's own work to the runtime: it goes on until the last call over it is done.
async fn connect(
    address: SocketAddr,
) -> Result<(Connection, impl Future<Output = ()> + Send), String> {
    let connecting = async {
        let stream =
            TcpStream::connect(address).await.map_err(|error| format!("{address}: {error}"))?;
        stream.set_nodelay(true).map_err(|error| format!("{address}: {error}"))?;
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| format!("{address}: {error}"))
    };
    let (sender, serving) = timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_elapsed| format!("{address}: no connection within {CONNECT_TIMEOUT:?}"))??;
    let served = tokio::spawn(serving);
    let ended = async move {
        // How it ended does not matter: it is gone.
        drop(served.await);
    };
    Ok((Connection { address, sender }, ended))
}
