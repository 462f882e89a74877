//! Layer that holds a call's permits until its response body is sent, and closes connections of stalled readers.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use hyper::body::{Body as _, Bytes, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Status, body::Body};

use super::{
    middleware::{Middleware, Next, Rejection},
    permits::Permits,
    route::{CallInfo, Route},
};

/// Request extension: closes the connection when cancelled. HTTP/2 has no other way to end a stream whose client does not
/// read.
#[derive(Debug, Clone)]
pub(super) struct CloseConnection(pub(super) CancellationToken);

/// Moves the response's [`Permits`] into its body.
#[derive(Debug, Clone)]
pub(super) struct HoldPermits {
    /// Time that a client has to read the response of a call.
    pub(super) read_timeout: Duration,
}

impl<B: Send + 'static> Middleware<B> for HoldPermits {
    type NextBody = B;
    type Error = Rejection;

    async fn handle(
        self,
        request: Request<B>,
        next: impl Next<B>,
    ) -> Result<Response<Body>, Rejection> {
        let close = match CallInfo::of(&request).route {
            Route::Call { .. } => request.extensions().get::<CloseConnection>().cloned(),
            Route::Health | Route::Reflection => None,
        };
        let mut response = next.run(request).await?;
        let permits = Permits::take(&mut response);
        if response.body().is_end_stream() {
            return Ok(response);
        }
        let sent = CancellationToken::new();
        if let Some(CloseConnection(close)) = close {
            tokio::spawn(close_if_stalled(sent.clone(), self.read_timeout, close));
        }
        Ok(response.map(|body| {
            Body::new(HoldingBody { body, _permits: permits, _sent: sent.drop_guard() })
        }))
    }
}

async fn close_if_stalled(sent: CancellationToken, timeout: Duration, close: CancellationToken) {
    if tokio::time::timeout(timeout, sent.cancelled()).await.is_err() {
        tracing::info!("connection closed: the client did not read its response");
        close.cancel();
    }
}

/// A body that releases permits when it is dropped.
#[derive(Debug)]
struct HoldingBody {
    body: Body,
    _permits: Permits,
    _sent: DropGuard,
}

impl hyper::body::Body for HoldingBody {
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
