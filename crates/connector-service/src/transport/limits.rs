//! Limits of the gRPC port.

use std::time::Duration;

/// Bytes of a mebibyte.
pub(crate) const MIB: u64 = 1024 * 1024;

/// Limits of the gRPC port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open connections. Further ones are closed.
    pub connections: usize,
    /// Connections without a complete TLS handshake and HTTP/2 preface. A further one evicts the oldest.
    pub handshakes: usize,
    /// Time for handshake and preface.
    pub handshake_time: Duration,
    /// Concurrent calls per connection. Clients queue further ones.
    pub streams: u32,
    /// Size of a call's headers, as HTTP/2 counts it.
    pub header_bytes: u32,
    /// Calls served concurrently.
    pub calls: usize,
    /// Calls queued beyond those. Further ones are rejected with `RESOURCE_EXHAUSTED`.
    pub queued: usize,
    /// Size of one request. Larger ones are rejected with `RESOURCE_EXHAUSTED`.
    pub message_bytes: u64,
    /// Memory of all requests larger than 32 KiB: their encoded size while they are read and, separately, their estimated
    /// decoded size. Further requests are queued.
    pub request_bytes: u64,
    /// Time to receive a request.
    pub request_time: Duration,
    /// Time for the client to read a response. After it the connection is closed.
    pub response_read_timeout: Duration,
    /// Idle time of a connection before a ping.
    pub ping_after: Duration,
    /// Time for the ping's response. After it the connection is closed.
    pub ping_answer: Duration,
    /// Age at which a connection is closed gracefully, ±10 %, so that clients discover new replicas. None: no limit.
    pub connection_age: Option<Duration>,
    /// Time that calls of such a connection have to finish.
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
            response_read_timeout: Duration::from_mins(1),
            ping_after: Duration::from_secs(30),
            ping_answer: Duration::from_secs(20),
            connection_age: Some(Duration::from_mins(30)),
            // Longer than the default deadline of calls.
            connection_age_grace: Duration::from_mins(2),
        }
    }
}

impl Limits {
    /// Returns the maximum age of one connection, with jitter. `random` is in 0..1.
    pub(crate) fn jittered_age(&self, random: f64) -> Option<Duration> {
        self.connection_age.map(|age| age.mul_f64(0.9 + 0.2 * random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_age_varies_by_a_tenth() {
        let limits =
            Limits { connection_age: Some(Duration::from_secs(1000)), ..Limits::default() };
        for (random, seconds) in [(0.0, 900), (0.5, 1000), (1.0, 1100)] {
            let age = limits.jittered_age(random).unwrap();
            assert!(
                age.abs_diff(Duration::from_secs(seconds)) < Duration::from_millis(1),
                "{age:?}"
            );
        }
        assert_eq!(Limits { connection_age: None, ..limits }.jittered_age(0.5), None);
    }
}
