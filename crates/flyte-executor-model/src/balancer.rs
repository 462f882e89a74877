//! Connects to all replicas of a connector and picks one per call, as grpc-go's `round_robin` does.
//!
//! A replica is CONNECTING until its first connection, READY while connected, and FAILING after a failed connect. Calls go to
//! READY replicas in turn. Without any, calls wait while a replica is CONNECTING. If all are FAILING, calls fail immediately
//! unless they wait for ready.

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

/// The timeout of one connect: gRPC's minimum.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections to all replicas, by index.
#[derive(Debug)]
pub struct Balancer {
    replicas: Vec<Replica>,
    turn: AtomicUsize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Replica {
    address: watch::Sender<SocketAddr>,
    task: JoinHandle<()>,
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
            replica.task.abort();
        }
    }
}

impl Balancer {
    /// Starts connecting to all addresses. Must be called in a tokio runtime.
    pub fn new(addresses: &[SocketAddr], backoff: ConnectBackoff) -> Self {
        let shared = Arc::new(Shared {
            states: Mutex::new(vec![State::Connecting; addresses.len()]),
            changed: Notify::new(),
        });
        let replicas = addresses.iter().enumerate().map(|(index, address)| {
            let (sender, receiver) = watch::channel(*address);
            let task = tokio::spawn(keep_connected(index, receiver, backoff, Arc::clone(&shared)));
            Replica { address: sender, task }
        });
        Self { replicas: replicas.collect(), turn: AtomicUsize::new(0), shared }
    }

    /// Changes the address of a replica, as a name resolver does.
    pub fn set_address(&self, index: usize, address: SocketAddr) {
        if let Some(replica) = self.replicas.get(index) {
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

    /// Returns the connection for the next call.
    ///
    /// # Errors
    ///
    /// Returns the last connection error if no replica is available and the call does not wait.
    pub(crate) async fn pick(&self, wait_for_ready: bool) -> Result<Connection, String> {
        self.wait_for(|states| {
            let ready: Vec<&Connection> = states.iter().filter_map(State::usable).collect();
            if !ready.is_empty() {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) % ready.len();
                return ready.get(turn).map(|connection| Ok((*connection).clone()));
            }
            let connect_error =
                states.iter().map(State::connect_error).collect::<Option<Vec<&str>>>()?;
            let last = connect_error.last().copied().unwrap_or("no replica");
            (!wait_for_ready).then(|| Err(format!("last connection error: {last}")))
        })
        .await
    }

    async fn wait_for<T>(&self, mut look: impl FnMut(&[State]) -> Option<T> + Send) -> T {
        loop {
            // Register before the check, so that no change is missed.
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

    /// Returns the connection error of a FAILING replica.
    fn connect_error(&self) -> Option<&str> {
        match self {
            Self::Failing(connect_error) => Some(connect_error),
            Self::Connecting | Self::Ready(_) => None,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, index: usize, state: State) {
        if let Some(slot) = self.lock().get_mut(index) {
            *slot = state;
        }
        self.changed.notify_waiters();
    }
}

/// Keeps one replica connected.
async fn keep_connected(
    index: usize,
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
                shared.set(index, State::Ready(connection));
                tokio::select! {
                    () = served => {}
                    // After GOAWAY the connection takes no new calls, while those in flight finish.
                    () = closed_for_calls(closed) => {}
                    changed = address.changed() => if changed.is_err() { return },
                }
                shared.set(index, State::Connecting);
            }
            Err(connect_error) => {
                failures += 1;
                shared.set(index, State::Failing(connect_error));
                tokio::select! {
                    () = sleep(backoff.wait(failures, fastrand::f64())) => {}
                    changed = address.changed() => if changed.is_err() { return },
                }
            }
        }
    }
}

async fn closed_for_calls(mut sender: SendRequest<Body>) {
    // `ready` fails once the connection takes no new calls. There is no event to wait for, so poll.
    while sender.ready().await.is_ok() {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Connects, and spawns the connection's driver, which runs until the last call has finished.
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
        // The reason does not matter.
        drop(served.await);
    };
    Ok((Connection { address, sender }, ended))
}
