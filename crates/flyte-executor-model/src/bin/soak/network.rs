//! A bad network between the servers and the workspace: it breaks connections before a request has gone through, after
//! the workspace has done what was asked and before the answer is whole, and it holds answers up.
//!
//! It sees nothing but encrypted pieces, as a real one. A piece on its way up is a request or a part of one, a piece on
//! its way down an answer or a part of one, now and then of a handshake.

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

/// Room for a piece: more than a TLS record.
const PIECE: usize = 32 * 1024;

/// The longest that a piece is held up.
const LONGEST: Duration = Duration::from_millis(1500);

/// A network that carries everything from its own address to another one. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) address: SocketAddr,
    struck: Arc<Struck>,
    carrying: JoinHandle<()>,
}

/// How often it struck.
#[derive(Debug, Default)]
pub(crate) struct Struck {
    before: AtomicU64,
    after: AtomicU64,
    held_up: AtomicU64,
}

/// What becomes of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passes,
    HeldUp(Duration),
    Breaks,
}

impl Fate {
    /// One in ten faults is a delay.
    fn of(rng: &mut Rng, per_ten_thousand: u16) -> Self {
        if rng.u16(0..10_000) >= per_ten_thousand {
            return Self::Passes;
        }
        if rng.u8(0..10) == 0 { Self::HeldUp(LONGEST.mul_f64(rng.f64())) } else { Self::Breaks }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

impl Network {
    /// Carries everything to that address; of ten thousand pieces so many meet a fault.
    ///
    /// # Errors
    ///
    /// When nothing can be listened on.
    pub(crate) async fn start(
        to: SocketAddr,
        seed: u64,
        per_ten_thousand: u16,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let struck = Arc::new(Struck::default());
        let counted = Arc::clone(&struck);
        let carrying = tokio::spawn(async move {
            let mut seeds = Rng::with_seed(seed);
            loop {
                // A connection that cannot be taken is one that broke.
                let Ok((near, _)) = listener.accept().await else { continue };
                let (rng, struck) = (seeds.fork(), Arc::clone(&counted));
                tokio::spawn(async move {
                    // However it ends, it is over.
                    drop(carry(near, to, rng, per_ten_thousand, &struck).await);
                });
            }
        });
        Ok(Self { address, struck, carrying })
    }

    /// Broken before the request went through, broken after it, and held up.
    pub(crate) fn struck(&self) -> [u64; 3] {
        let Struck { before, after, held_up } = self.struck.as_ref();
        [before, after, held_up].map(|count| count.load(Ordering::Relaxed))
    }
}

/// Carries one connection until it ends or breaks.
async fn carry(
    near: TcpStream,
    to: SocketAddr,
    mut rng: Rng,
    per_ten_thousand: u16,
    struck: &Struck,
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
        pass(&mut near_reads, &mut far_writes, chance, (&struck.before, &struck.held_up)).await
    };
    let downward = async {
        let chance = (down, per_ten_thousand);
        pass(&mut far_reads, &mut near_writes, chance, (&struck.after, &struck.held_up)).await
    };
    // Whichever way ends first, both ends are dropped.
    tokio::select! {
        ended = upward => ended,
        ended = downward => ended,
    }
}

/// Carries one way, until its end or a break.
async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    (mut rng, per_ten_thousand): (Rng, u16),
    (broken, held_up): (&AtomicU64, &AtomicU64),
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = from.read(&mut buffer).await?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else {
            return Ok(());
        };
        match Fate::of(&mut rng, per_ten_thousand) {
            Fate::Passes => {}
            Fate::HeldUp(wait) => {
                held_up.fetch_add(1, Ordering::Relaxed);
                sleep(wait).await;
            }
            Fate::Breaks => {
                broken.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
        }
        to.write_all(piece).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listener that answers every piece with the same.
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

    async fn asked(network: &Network) -> Option<[u8; 4]> {
        let mut stream = TcpStream::connect(network.address).await.ok()?;
        stream.write_all(b"ping").await.ok()?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.ok()?;
        Some(answer)
    }

    #[tokio::test]
    async fn a_good_network_carries_both_ways() {
        let network = Network::start(echo().await, 1, 0).await.unwrap();
        assert_eq!(asked(&network).await.as_ref(), Some(b"ping"));
        assert_eq!(network.struck(), [0, 0, 0]);
    }

    #[tokio::test]
    async fn a_bad_one_breaks_connections_before_and_after_the_request() {
        let network = Network::start(echo().await, 1, 4_000).await.unwrap();
        let answers = futures_util::future::join_all((0..60).map(|_| asked(&network))).await;
        let [before, after, _] = network.struck();
        assert!(before > 0 && after > 0, "{:?}", network.struck());
        let lost = answers.iter().filter(|answer| answer.is_none()).count();
        assert_eq!(u64::try_from(lost).unwrap(), before + after);
    }
}
