//! The body of a request: a reader for its one message, and the body that the services receive.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use connector_core::{Error, ErrorKind};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

/// Bytes before a message: the compression flag and the length.
const PREFIX_BYTES: usize = 5;

/// Reads one length-prefixed message.
#[derive(Debug)]
pub(super) struct MessageReader {
    received: Vec<u8>,
    body: Incoming,
    read_by: Instant,
}

/// Returns the size of the message. None before the prefix has arrived.
fn message_size(received: &[u8]) -> Option<u64> {
    let length = received.get(1..PREFIX_BYTES)?;
    Some(length.iter().fold(0, |size, byte| size << 8 | u64::from(*byte)))
}

impl MessageReader {
    /// A reader that fails at `read_by`.
    pub(super) fn new(body: Incoming, read_by: Instant) -> Self {
        Self { received: Vec::new(), body, read_by }
    }

    /// Reads the prefix. Returns the size of the message; None if the body is empty.
    ///
    /// # Errors
    ///
    /// `DeadlineExceeded` at `read_by`, `InvalidRequest` if the client aborts.
    pub(super) async fn size(&mut self) -> Result<Option<u64>, Error> {
        while message_size(&self.received).is_none() {
            if !self.read_piece().await? {
                return Ok(None);
            }
        }
        Ok(message_size(&self.received))
    }

    /// Reads the rest of the message.
    ///
    /// # Errors
    ///
    /// As [`Self::size`], and `InvalidRequest` if more than one message arrives.
    pub(super) async fn finish(mut self) -> Result<RequestBody, Error> {
        if let Some(size) = self.size().await? {
            let total = size.saturating_add(PREFIX_BYTES as u64);
            while (self.received.len() as u64) < total && self.read_piece().await? {}
            if self.received.len() as u64 > total {
                return Err(Error::invalid_request("the request has more than one message"));
            }
        }
        let message = Some(self.received).filter(|received| !received.is_empty());
        Ok(RequestBody::Message(message.map(Bytes::from)))
    }

    /// Reads one more piece. Returns false at the end of the body.
    async fn read_piece(&mut self) -> Result<bool, Error> {
        let piece = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
        match tokio::time::timeout_at(self.read_by.into(), piece).await {
            Ok(None) => Ok(false),
            Ok(Some(Ok(frame))) => {
                if let Ok(piece) = frame.into_data() {
                    self.received.extend_from_slice(&piece);
                }
                Ok(true)
            }
            Ok(Some(Err(error))) => {
                Err(Error::invalid_request("the client aborted the request").with_source(error))
            }
            Err(_elapsed) => {
                Err(Error::new(ErrorKind::DeadlineExceeded, "the request did not arrive in time"))
            }
        }
    }
}

/// The body that a service receives.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// The whole message with its prefix. None if the body was empty, or once it is consumed.
    Message(Option<Bytes>),
    /// A stream of messages, as it arrives.
    Streaming(Incoming),
}

impl RequestBody {
    /// Returns the message without its prefix. Empty for a stream.
    pub(super) fn message(&self) -> &[u8] {
        match self {
            Self::Message(Some(bytes)) => bytes.get(PREFIX_BYTES..).unwrap_or_default(),
            Self::Message(None) | Self::Streaming(_) => &[],
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Message(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streaming(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Message(bytes) => bytes.is_none(),
            Self::Streaming(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_size_is_read_from_pieces_of_any_length() {
        let size = |pieces: &[&[u8]]| message_size(&pieces.concat());
        assert_eq!(size(&[&[0, 0, 0, 1, 2, 9, 9]]), Some(258));
        assert_eq!(size(&[&[0], &[], &[0, 0], &[1, 2]]), Some(258));
        assert_eq!(size(&[&[1, 255, 255, 255, 255]]), Some(u64::from(u32::MAX)));
        assert_eq!(size(&[&[0, 0, 0, 1]]), None);
        assert_eq!(size(&[]), None);
    }
}
