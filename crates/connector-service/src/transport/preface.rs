//! The first bytes of a connection. hyper waits for them without an end; here they are read within a time, and what
//! else came is named.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// What every HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first byte of a TLS handshake record (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Takes the preface off the stream, and gives back a stream on which it can be read again.
///
/// # Errors
///
/// What the stream fails with, or `InvalidData` as soon as a byte is not the preface's.
pub(super) async fn read<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<Prefaced<S>> {
    let mut came = [0; PREFACE.len()];
    let mut filled = 0;
    while let Some(room) = came.get_mut(filled..).filter(|room| !room.is_empty()) {
        let count = stream.read(room).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += count;
        let came = came.get(..filled).unwrap_or_default();
        if !PREFACE.starts_with(came) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, stranger(came)));
        }
    }
    Ok(Prefaced { stream, given: 0 })
}

/// What the client seems to speak instead.
fn stranger(came: &[u8]) -> &'static str {
    match came.first() {
        Some(&TLS_HANDSHAKE) => "the client speaks TLS, and this port does not",
        Some(byte) if byte.is_ascii_uppercase() => "the client speaks HTTP/1, not gRPC",
        _ => "the client does not speak HTTP/2",
    }
}

/// A stream whose preface was seen to be there and can be read once more.
#[derive(Debug)]
pub(super) struct Prefaced<S> {
    stream: S,
    given: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefaced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = PREFACE.get(self.given..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.get(..count).unwrap_or_default());
        self.given += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefaced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(bytes: &[u8]) -> String {
        read(bytes).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn the_preface_is_checked_and_still_there_to_be_read() {
        let bytes = [PREFACE.as_slice(), b"settings"].concat();
        let mut stream = read(bytes.as_slice()).await.unwrap();
        // In pieces smaller than it is.
        let mut first = [0; 10];
        stream.read_exact(&mut first).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!([first.as_slice(), &rest].concat(), bytes);
    }

    #[tokio::test]
    async fn a_stranger_is_told_by_its_first_byte() {
        assert!(refused(b"\x16\x03\x01").await.contains("speaks TLS"));
        assert!(refused(b"GET / HTTP/1.1\r\n").await.contains("HTTP/1"));
        assert!(refused(b"\0").await.contains("does not speak HTTP/2"));
        assert_eq!(
            read(b"PRI * HT".as_slice()).await.unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}
