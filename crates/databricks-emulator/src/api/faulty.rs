//! Calls that go wrong: what a fault does to a call and to its answer.

use super::query::Query;
use super::run_id_in;
use crate::emulator::Shared;
use crate::endpoint::Endpoint;
use crate::faults::{Dribble, Fault, RetryAfter, RunFault, Subject, TokenClock};
use crate::refusal;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// What a fault makes of a call: what happens before it, and what becomes of its answer.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Comes in the place of the call.
    pub(super) instead: Option<Response>,
    /// Waited before the call has its effect.
    pub(super) delay: Option<Duration>,
    /// The run is forgotten first.
    pub(super) forgets_run: bool,
    pub(super) seen: Seen,
    pub(super) after: Option<After>,
}

/// How a call sees the workspace.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) token_clock: Option<TokenClock>,
    /// Steps that a run is shown too early.
    pub(super) earlier: Option<NonZeroU32>,
}

/// What becomes of the answer.
#[derive(Debug)]
pub(super) enum After {
    Drop,
    Delay(Duration),
    Slow(Dribble),
    Cut(usize),
    Kind(HeaderValue),
}

impl Course {
    pub(super) fn of(fault: RunFault) -> Self {
        let fault = match fault {
            RunFault::Deleted => return Self { forgets_run: true, ..Self::default() },
            RunFault::Earlier(steps) => {
                let seen = Seen { earlier: Some(steps), ..Seen::default() };
                return Self { seen, ..Self::default() };
            }
            RunFault::Call(fault) => fault,
        };
        let instead = |response| Self { instead: Some(response), ..Self::default() };
        let after = |after| Self { after: Some(after), ..Self::default() };
        match fault {
            Fault::Answer(answer) => instead(answer.response()),
            Fault::RateLimited(retry_after) => instead(rate_limited(retry_after)),
            Fault::Redirect(location) => {
                instead((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
            }
            Fault::DropBefore => instead(dropped()),
            Fault::DropAfter => after(After::Drop),
            Fault::DelayBefore(delay) => Self { delay: Some(delay), ..Self::default() },
            Fault::DelayAfter(delay) => after(After::Delay(delay)),
            Fault::SlowBody(dribble) => after(After::Slow(dribble)),
            Fault::CutBody(bytes) => after(After::Cut(bytes)),
            Fault::ContentType(kind) => after(After::Kind(kind)),
            Fault::TokenClock(clock) => {
                let seen = Seen { token_clock: Some(clock), ..Seen::default() };
                Self { seen, ..Self::default() }
            }
        }
    }
}

fn rate_limited(retry_after: RetryAfter) -> Response {
    let mut response = refusal::rate_limited().into_response();
    if let Some(value) = retry_after.header().and_then(|text| HeaderValue::try_from(text).ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// Does to the answer what is to become of it.
pub(super) async fn after(after: After, mut response: Response) -> Response {
    match after {
        After::Drop => dropped(),
        After::Delay(delay) => {
            tokio::time::sleep(delay).await;
            response
        }
        After::Kind(kind) => {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        After::Slow(Dribble { piece, pause }) => {
            let (parts, body) = response.into_parts();
            let whole = whole(body).await;
            Response::from_parts(parts, in_pieces(whole, piece.get(), pause))
        }
        After::Cut(bytes) => {
            let (parts, body) = response.into_parts();
            let whole = whole(body).await;
            Response::from_parts(parts, cut(whole, bytes))
        }
    }
}

/// The body of an answer of ours, which is in memory already.
async fn whole(body: Body) -> Bytes {
    axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default()
}

fn in_pieces(whole: Bytes, piece: usize, pause: Duration) -> Body {
    Body::from_stream(futures_util::stream::unfold(whole, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let piece = rest.split_to(piece.min(rest.len()));
        Some((Ok::<_, Infallible>(piece), rest))
    }))
}

fn cut(whole: Bytes, bytes: usize) -> Body {
    if whole.len() <= bytes {
        return Body::from(whole);
    }
    // The start is handed over before the end is known to be missing, or the connection would break without it.
    let parts = [Some(whole.slice(..bytes)), None];
    Body::from_stream(futures_util::stream::unfold(parts.into_iter(), |mut parts| async move {
        let part = parts.next()?;
        if part.is_none() {
            tokio::task::yield_now().await;
        }
        Some((part.ok_or(Dropped), parts))
    }))
}

/// Calls that mint tokens: outside of the workspace's own API, and with the same faults, but for those of runs.
pub(super) async fn minting(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let strike = shared.faults.strike_call(Endpoint::MintToken, Subject::default);
    let Some(strike) = strike else { return next.run(request).await };
    tracing::debug!(rule = strike.rule, "a call for a token goes wrong");
    let course = Course::of(strike.fault);
    if let Some(response) = course.instead {
        return response;
    }
    if let Some(delay) = course.delay {
        tokio::time::sleep(delay).await;
    }
    let response = next.run(request).await;
    match course.after {
        Some(what) => after(what, response).await,
        None => response,
    }
}

/// Stands for no answer at all.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a fault drops the connection")]
pub(crate) struct Dropped;

/// Needed where a service that never fails becomes one that may.
impl From<Infallible> for Dropped {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

pub(super) fn dropped() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Dropped);
    response
}

/// Whether the response stands for no answer.
pub(super) fn is_dropped(response: &Response) -> bool {
    response.extensions().get::<Dropped>().is_some()
}

/// Gives the connection an error where a response stands for no answer: of HTTP/1.1 it is closed then, of HTTP/2 the
/// stream is reset.
pub(crate) fn drop_or_answer(answer: Result<Response, Infallible>) -> Result<Response, Dropped> {
    match answer {
        Ok(response) if is_dropped(&response) => Err(Dropped),
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
}

/// The run that a call is about.
pub(super) fn subject(
    shared: &Shared,
    endpoint: Endpoint,
    parts: &Parts,
    body: Option<&[u8]>,
) -> Subject {
    let id = match endpoint {
        Endpoint::SubmitRun => {
            let body: Option<Value> = body.and_then(|body| serde_json::from_slice(body).ok());
            let name = body.as_ref().and_then(|body| body.get("run_name")?.as_str());
            return Subject { run_id: None, run_name: name.map(str::to_owned) };
        }
        Endpoint::GetRun | Endpoint::GetRunOutput => {
            Query::of(&parts.uri).and_then(|query| query.run_id()).ok()
        }
        Endpoint::CancelRun | Endpoint::DeleteRun => body.and_then(|body| run_id_in(body).ok()),
        _ => None,
    };
    match id.and_then(|id| shared.workspace.run_around(id)) {
        Some((run_id, run_name)) => Subject { run_id: Some(run_id), run_name: Some(run_name) },
        None => Subject { run_id: id, run_name: None },
    }
}
