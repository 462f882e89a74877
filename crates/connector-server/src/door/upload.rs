//! The body of a request: one message that must come within a time and be no longer than it said.

use std::{
    collections::VecDeque,
    future::{Future as _, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use connector_core::{Error, ErrorKind};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::Sleep;
use tonic::Status;

use crate::status;

/// What stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// More pieces than this hold no five bytes only if somebody plays.
const MOST_PIECES: usize = 16;

/// What is known of a message before it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    size: u64,
}

impl Head {
    /// The message's size in bytes.
    pub(super) fn size(self) -> u64 {
        self.size
    }

    fn of(pieces: &VecDeque<Bytes>) -> Option<Self> {
        let mut bytes = pieces.iter().flatten().skip(1).map(|byte| u64::from(*byte));
        let mut size = 0;
        for _ in 1..PREFIX {
            size = size << 8 | bytes.next()?;
        }
        Some(Self { size })
    }
}

/// The rest of a request's body, with what was read of it put back.
#[derive(Debug)]
pub(super) struct Upload {
    pieces: VecDeque<Bytes>,
    rest: Incoming,
    bounds: Option<Bounds>,
}

#[derive(Debug)]
struct Bounds {
    /// How many bytes may still come.
    left: u64,
    until: Pin<Box<Sleep>>,
}

impl Upload {
    /// A body that is as long as it likes and takes all its time.
    pub(super) fn endless(body: Incoming) -> Self {
        Self { pieces: VecDeque::new(), rest: body, bounds: None }
    }

    /// Reads until the size of the message is known, if there is one. All of it must be there at `until`.
    ///
    /// # Errors
    ///
    /// `DeadlineExceeded` when it is not known by then, `InvalidRequest` when the client broke off.
    pub(super) async fn begin(
        mut body: Incoming,
        until: Instant,
    ) -> Result<(Option<Head>, Self), Error> {
        let sleep = Box::pin(tokio::time::sleep_until(until.into()));
        let mut pieces = VecDeque::new();
        let read = async {
            while Head::of(&pieces).is_none() && pieces.len() < MOST_PIECES {
                let next = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
                match next.transpose() {
                    Ok(None) => break,
                    Ok(Some(frame)) => pieces.extend(frame.into_data().ok()),
                    Err(error) => {
                        return Err(
                            Error::invalid_request("the request broke off").with_source(error)
                        );
                    }
                }
            }
            Ok(())
        };
        tokio::time::timeout_at(until.into(), read)
            .await
            .unwrap_or_else(|_elapsed| Err(too_slow()))?;
        let head = Head::of(&pieces);
        let left = head.map_or(0, Head::size).saturating_add(PREFIX as u64);
        let bounds = Some(Bounds { left, until: sleep });
        Ok((head, Self { pieces, rest: body, bounds }))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let frame = match this.pieces.pop_front() {
            Some(piece) => Frame::data(piece),
            None => match Pin::new(&mut this.rest).poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(Status::from_error(error.into()))));
                }
                Poll::Pending => {
                    let Some(bounds) = &mut this.bounds else { return Poll::Pending };
                    ready!(bounds.until.as_mut().poll(cx));
                    return Poll::Ready(Some(Err(status::from_error(&too_slow()))));
                }
            },
        };
        if let (Some(bounds), Some(piece)) = (&mut this.bounds, frame.data_ref()) {
            let Some(left) = bounds.left.checked_sub(piece.len() as u64) else {
                let error = Error::invalid_request("the request is longer than its one message");
                return Poll::Ready(Some(Err(status::from_error(&error))));
            };
            bounds.left = left;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn too_slow() -> Error {
    Error::new(ErrorKind::DeadlineExceeded, "the request did not come in time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_read_from_pieces_of_any_length() {
        let head = |pieces: &[&'static [u8]]| {
            Head::of(&pieces.iter().copied().map(Bytes::from_static).collect()).map(Head::size)
        };
        assert_eq!(head(&[&[0, 0, 0, 1, 2, 9, 9]]), Some(258));
        assert_eq!(head(&[&[0], &[], &[0, 0], &[1, 2]]), Some(258));
        assert_eq!(head(&[&[1, 255, 255, 255, 255]]), Some(u64::from(u32::MAX)));
        assert_eq!(head(&[&[0, 0, 0, 1]]), None);
        assert_eq!(head(&[]), None);
    }
}
