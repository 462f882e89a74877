//! The body of an answer. What the call took is given back when the last of it is on its way, not when it begins: a
//! client that does not read keeps our memory as long as it likes.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::{Bytes, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Status, body::Body};

use super::admission::Places;

/// A body that holds what its call took.
#[derive(Debug)]
pub(super) struct Holding {
    body: Body,
    _places: Places,
    _taken: DropGuard,
}

impl Holding {
    /// When the body is not taken within that time, `cut` is cancelled, which ends the connection: HTTP/2 knows no
    /// other way to be rid of a stream whose client does not read.
    pub(super) fn new(
        body: Body,
        places: Places,
        patience: Option<(Duration, CancellationToken)>,
    ) -> Self {
        let taken = CancellationToken::new();
        if let Some((patience, cut)) = patience {
            let taken = taken.clone();
            tokio::spawn(async move {
                if tokio::time::timeout(patience, taken.cancelled()).await.is_err() {
                    tracing::info!("a client did not read its answer: its connection is closed");
                    cut.cancel();
                }
            });
        }
        Self { body, _places: places, _taken: taken.drop_guard() }
    }
}

impl hyper::body::Body for Holding {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
