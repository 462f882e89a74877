//! How much the gRPC port takes at once.

use std::time::Duration;

const MIB: u64 = 1024 * 1024;

/// How much the gRPC port takes at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections. One more is closed at once.
    pub connections: usize,
    /// Connections whose TLS handshake or HTTP/2 preface is not done. One more ends the oldest of them.
    pub handshakes: usize,
    /// How long a client may take for both.
    pub handshake_time: Duration,
    /// Calls open on one connection. A client keeps one more back until an answer has come.
    pub streams: u32,
    /// The bytes of a call's headers, as HTTP/2 counts them.
    pub header_bytes: u32,
    /// Calls that run at once.
    pub calls: usize,
    /// Calls that wait for their turn. One more is refused with `RESOURCE_EXHAUSTED`.
    pub queued: usize,
    /// The bytes of one request. A larger one is refused with `RESOURCE_EXHAUSTED`.
    pub message_bytes: u64,
    /// The memory of all requests larger than 32 KiB: their bytes while they come in and, counted apart, what they take
    /// once they are decoded, by an estimate. One more waits for its turn.
    pub request_bytes: u64,
    /// How long a request may take to come in.
    pub request_time: Duration,
    /// How long an answer may take to be read, before the connection is closed.
    pub answer_time: Duration,
    /// How long a connection is silent before it is pinged.
    pub ping_after: Duration,
    /// How long a ping may stay unanswered before the connection is closed.
    pub ping_answer: Duration,
    /// How old a connection gets, give or take a tenth, before its client is asked to open another: that is when
    /// clients find new replicas. None: as old as it likes.
    pub connection_age: Option<Duration>,
    /// How long calls may go on after that.
    pub connection_age_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1000,
            handshakes: 100,
            handshake_time: Duration::from_secs(10),
            streams: 1000,
            header_bytes: 16 * 1024,
            calls: 1000,
            queued: 4000,
            message_bytes: 16 * MIB,
            request_bytes: 256 * MIB,
            request_time: Duration::from_secs(30),
            answer_time: Duration::from_mins(1),
            ping_after: Duration::from_secs(30),
            ping_answer: Duration::from_secs(20),
            connection_age: Some(Duration::from_mins(30)),
            // Longer than a call without a deadline of its own may take.
            connection_age_grace: Duration::from_mins(2),
        }
    }
}

impl Limits {
    /// The age at which one connection is asked to go, so that those which came together do not go together.
    /// `chance` is in 0..1.
    pub(crate) fn age(&self, chance: f64) -> Option<Duration> {
        self.connection_age.map(|age| age.mul_f64(0.9 + 0.2 * chance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_connection_is_within_a_tenth() {
        let limits =
            Limits { connection_age: Some(Duration::from_secs(1000)), ..Limits::default() };
        for (chance, seconds) in [(0.0, 900), (0.5, 1000), (1.0, 1100)] {
            let age = limits.age(chance).unwrap();
            assert!(
                age.abs_diff(Duration::from_secs(seconds)) < Duration::from_millis(1),
                "{age:?}"
            );
        }
        assert_eq!(Limits { connection_age: None, ..limits }.age(0.5), None);
    }
}
