//! The body of a request: one message, read as a whole before it is decoded, within a time and no longer than it said.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use connector_core::{Error, ErrorKind};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

/// What stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A message that is coming in.
#[derive(Debug)]
pub(super) struct Upload {
    read: Read,
    body: Incoming,
    until: Instant,
}

/// What has come so far. Most requests come in one piece, which is not copied.
#[derive(Debug, Default)]
enum Read {
    #[default]
    Nothing,
    One(Bytes),
    More(Vec<u8>),
}

impl Read {
    fn add(&mut self, piece: Bytes) {
        *self = match std::mem::take(self) {
            Self::Nothing => Self::One(piece),
            Self::One(first) => Self::More([first, piece].concat()),
            Self::More(mut bytes) => {
                bytes.extend_from_slice(&piece);
                Self::More(bytes)
            }
        };
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::One(piece) => piece,
            Self::More(bytes) => bytes,
        }
    }

    /// The size of the message, once its prefix is there.
    fn size(&self) -> Option<u64> {
        let length = self.bytes().get(1..PREFIX)?;
        Some(length.iter().fold(0, |size, byte| size << 8 | u64::from(*byte)))
    }
}

impl Upload {
    /// Nothing of it is read. All of it must be there at `until`.
    pub(super) fn new(body: Incoming, until: Instant) -> Self {
        Self { read: Read::default(), body, until }
    }

    /// Reads until the size of the message is known. None when there is no message.
    ///
    /// # Errors
    ///
    /// `DeadlineExceeded` when it does not come in time, `InvalidRequest` when the client breaks off.
    pub(super) async fn size(&mut self) -> Result<Option<u64>, Error> {
        while self.read.size().is_none() {
            if !self.next().await? {
                return Ok(None);
            }
        }
        Ok(self.read.size())
    }

    /// Reads the rest of the message.
    ///
    /// # Errors
    ///
    /// As [`Upload::size`], and `InvalidRequest` when there is more than one message.
    pub(super) async fn whole(mut self) -> Result<Message, Error> {
        if let Some(size) = self.size().await? {
            let whole = size.saturating_add(PREFIX as u64);
            while (self.read.bytes().len() as u64) < whole && self.next().await? {}
            if self.read.bytes().len() as u64 > whole {
                return Err(Error::invalid_request("the request is longer than its one message"));
            }
        }
        Ok(Message::Whole(match self.read {
            Read::Nothing => None,
            Read::One(piece) => Some(piece),
            Read::More(bytes) => Some(bytes.into()),
        }))
    }

    /// Reads one more piece, and says whether there was one.
    async fn next(&mut self) -> Result<bool, Error> {
        let piece = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
        match tokio::time::timeout_at(self.until.into(), piece).await {
            Ok(None) => Ok(false),
            Ok(Some(Ok(frame))) => {
                if let Ok(piece) = frame.into_data() {
                    self.read.add(piece);
                }
                Ok(true)
            }
            Ok(Some(Err(error))) => {
                Err(Error::invalid_request("the request broke off").with_source(error))
            }
            Err(_elapsed) => {
                Err(Error::new(ErrorKind::DeadlineExceeded, "the request did not come in time"))
            }
        }
    }
}

/// The body that a service gets.
#[derive(Debug)]
pub(super) enum Message {
    /// All there is.
    Whole(Option<Bytes>),
    /// As it comes in.
    Endless(Incoming),
}

impl Message {
    /// The message without what stands before it, if it is there.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(Some(bytes)) => bytes.get(PREFIX..).unwrap_or_default(),
            Self::Whole(None) | Self::Endless(_) => &[],
        }
    }
}

impl Body for Message {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Endless(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Endless(body) => body.is_end_stream(),
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
    fn the_size_is_read_from_pieces_of_any_length() {
        let size = |pieces: &[&'static [u8]]| {
            let mut read = Read::default();
            for piece in pieces {
                read.add(Bytes::from_static(piece));
            }
            assert_eq!(read.bytes(), pieces.concat());
            read.size()
        };
        assert_eq!(size(&[&[0, 0, 0, 1, 2, 9, 9]]), Some(258));
        assert_eq!(size(&[&[0], &[], &[0, 0], &[1, 2]]), Some(258));
        assert_eq!(size(&[&[1, 255, 255, 255, 255]]), Some(u64::from(u32::MAX)));
        assert_eq!(size(&[&[0, 0, 0, 1]]), None);
        assert_eq!(size(&[]), None);
    }
}
