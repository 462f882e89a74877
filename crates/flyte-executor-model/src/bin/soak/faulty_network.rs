//! A faulty network between the servers and the workspace: breaks connections before a request or before a response is
//! delivered, and delays data.
//!
//! It forwards encrypted chunks. A chunk to the workspace is a request or part of one, a chunk back a response or part of one,
//! sometimes part of a TLS handshake.

use fastrand::Rng;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// More than a TLS record.
const BUFFER_SIZE: usize = 32 * 1024;

/// The longest delay.
const MAX_DELAY: Duration = Duration::from_millis(1500);

/// Forwards connections from its address to another. Stops when dropped.
#[derive(Debug)]
pub(crate) struct FaultyNetwork {
    pub(crate) address: SocketAddr,
    counts: Arc<FaultCounts>,
    task: JoinHandle<()>,
}

/// How often it counts.
#[derive(Debug, Default)]
pub(crate) struct FaultCounts {
    before: AtomicU64,
    after: AtomicU64,
    delayed: AtomicU64,
}

/// The fault of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkFault {
    None,
    Delay(Duration),
    Break,
}

impl ChunkFault {
    /// One in ten faults is a delay.
    fn random(rng: &mut Rng, per_ten_thousand: u16) -> Self {
        if rng.u16(0..10_000) >= per_ten_thousand {
            return Self::None;
        }
        if rng.u8(0..10) == 0 { Self::Delay(MAX_DELAY.mul_f64(rng.f64())) } else { Self::Break }
    }
}

impl Drop for FaultyNetwork {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FaultyNetwork {
    /// Starts forwarding to this address. `per_ten_thousand` of 10,000 chunks get a fault.
    ///
    /// # Errors
    ///
    /// Fails if no port can be bound.
    pub(crate) async fn start(
        to: SocketAddr,
        seed: u64,
        per_ten_thousand: u16,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let counts = Arc::new(FaultCounts::default());
        let counted = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            let mut seeds = Rng::with_seed(seed);
            loop {
                // A failed accept is a broken connection.
                let Ok((near, _)) = listener.accept().await else { continue };
                let (rng, counts) = (seeds.fork(), Arc::clone(&counted));
                tokio::spawn(async move {
                    // An error is a broken connection.
                    drop(forward(near, to, rng, per_ten_thousand, &counts).await);
                });
            }
        });
        Ok(Self { address, counts, task })
    }

    /// Returns the number of connections broken before the request, after it, and of delayed chunks.
    pub(crate) fn fault_counts(&self) -> [u64; 3] {
        let FaultCounts { before, after, delayed } = self.counts.as_ref();
        [before, after, delayed].map(|count| count.load(Ordering::Relaxed))
    }
}

/// Forwards one connection until it closes or breaks.
async fn forward(
    near: TcpStream,
    to: SocketAddr,
    mut rng: Rng,
    per_ten_thousand: u16,
    counts: &FaultCounts,
) -> io::Result<()> {
    let far = TcpStream::connect(to).await?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
    }
    let (up, down) = (rng.fork(), rng.fork());
    let (mut near_reads, mut near_writes) = near.into_split();
    let (mut far_reads, mut far_writes) = far.into_split();
    let upward = async {
        let chance = (up, per_ten_thousand);
        forward_one_way(&mut near_reads, &mut far_writes, chance, (&counts.before, &counts.delayed))
            .await
    };
    let downward = async {
        let chance = (down, per_ten_thousand);
        forward_one_way(&mut far_reads, &mut near_writes, chance, (&counts.after, &counts.delayed))
            .await
    };
    // When one direction ends, both connections are closed.
    tokio::select! {
        ended = upward => ended,
        ended = downward => ended,
    }
}

/// Forwards one direction until it closes or breaks.
async fn forward_one_way(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    (mut rng, per_ten_thousand): (Rng, u16),
    (broken, delayed): (&AtomicU64, &AtomicU64),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        let read = from.read(&mut buffer).await?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else {
            return Ok(());
        };
        match ChunkFault::random(&mut rng, per_ten_thousand) {
            ChunkFault::None => {}
            ChunkFault::Delay(wait) => {
                delayed.fetch_add(1, Ordering::Relaxed);
                sleep(wait).await;
            }
            ChunkFault::Break => {
                broken.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
        }
        to.write_all(chunk).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that echoes all data.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reads, mut writes) = stream.into_split();
                    drop(tokio::io::copy(&mut reads, &mut writes).await);
                });
            }
        });
        address
    }

    async fn ping(network: &FaultyNetwork) -> Option<[u8; 4]> {
        let mut stream = TcpStream::connect(network.address).await.ok()?;
        stream.write_all(b"ping").await.ok()?;
        let mut reply = [0; 4];
        stream.read_exact(&mut reply).await.ok()?;
        Some(reply)
    }

    #[tokio::test]
    async fn network_without_faults_forwards_both_directions() {
        let network = FaultyNetwork::start(echo().await, 1, 0).await.unwrap();
        assert_eq!(ping(&network).await.as_ref(), Some(b"ping"));
        assert_eq!(network.fault_counts(), [0, 0, 0]);
    }

    #[tokio::test]
    async fn faulty_network_breaks_connections_before_and_after_the_request() {
        let network = FaultyNetwork::start(echo().await, 1, 4_000).await.unwrap();
        let replies = futures_util::future::join_all((0..60).map(|_| ping(&network))).await;
        let [before, after, _] = network.fault_counts();
        assert!(before > 0 && after > 0, "{:?}", network.fault_counts());
        let lost = replies.iter().filter(|reply| reply.is_none()).count();
        assert_eq!(u64::try_from(lost).unwrap(), before + after);
    }
}
