//! Reads the HTTP/2 connection preface, so that the caller can limit the time for it and report other protocols. hyper
//! has no timeout for the preface.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

/// The first bytes of every HTTP/2 connection (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first byte of a TLS handshake record (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Reads the preface. Returns a stream that yields it again.
///
/// # Errors
///
/// An error of the stream, or `InvalidData` at the first byte that differs from the preface.
pub(super) async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    let mut received = [0; PREFACE.len()];
    let mut filled = 0;
    while let Some(rest) = received.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let count = stream.read(rest).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += count;
        let received = received.get(..filled).unwrap_or_default();
        if !PREFACE.starts_with(received) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, other_protocol(received)));
        }
    }
    let (reader, writer) = tokio::io::split(stream);
    Ok(tokio::io::join(PREFACE.chain(reader), writer))
}

/// Names the protocol that the client seems to speak.
fn other_protocol(received: &[u8]) -> &'static str {
    match received.first() {
        Some(&TLS_HANDSHAKE) => "the client speaks TLS, but this port is plaintext",
        Some(byte) if byte.is_ascii_uppercase() => "the client speaks HTTP/1, not gRPC",
        _ => "the client does not speak HTTP/2",
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{join, sink};

    use super::*;

    async fn read_error(bytes: &[u8]) -> io::Error {
        read(join(bytes, sink())).await.err().unwrap()
    }

    async fn error(bytes: &[u8]) -> String {
        read_error(bytes).await.to_string()
    }

    #[tokio::test]
    async fn preface_is_checked_and_replayed() {
        let bytes = [PREFACE, b"settings"].concat();
        let mut stream = read(join(bytes.as_slice(), sink())).await.unwrap();
        // In pieces smaller than the preface.
        let mut first = [0; 10];
        stream.read_exact(&mut first).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!([first.as_slice(), &rest].concat(), bytes);
    }

    #[tokio::test]
    async fn other_protocols_are_recognised_by_their_first_byte() {
        assert!(error(b"\x16\x03\x01").await.contains("speaks TLS"));
        assert!(error(b"GET / HTTP/1.1\r\n").await.contains("HTTP/1"));
        assert!(error(b"\0").await.contains("does not speak HTTP/2"));
        assert_eq!(read_error(b"PRI * HT").await.kind(), io::ErrorKind::UnexpectedEof);
    }
}
