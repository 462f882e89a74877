//! Applies injected faults to calls and their responses.

use super::query::Query;
use super::{SharedState, body_run_id};
use crate::api::endpoint::Endpoint;
use crate::api::error;
use crate::faults::{Fault, RetryAfter, RunFault, RunIdentity, SlowBody, TokenClock};
use crate::state::AppState;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use std::convert::Infallible;
use std::time::Duration;

/// How a fault changes one call.
#[derive(Debug, Default)]
pub(super) struct FaultEffect {
    /// Returned instead of executing the call.
    pub(super) replacement: Option<Response>,
    /// Delays the execution of the call.
    pub(super) delay: Option<Duration>,
    /// Deletes the run before the call is executed.
    pub(super) deletes_run: bool,
    /// Judges tokens by a wrong clock.
    pub(super) token_clock: Option<TokenClock>,
    /// Shows runs this many steps earlier than they are.
    pub(super) steps_back: u32,
    pub(super) response_fault: Option<ResponseFault>,
}

/// How a fault changes the response.
#[derive(Debug)]
pub(super) enum ResponseFault {
    Drop,
    Delay(Duration),
    Slow(SlowBody),
    Cut(usize),
    ContentType(HeaderValue),
}

impl FaultEffect {
    pub(super) fn new(fault: RunFault) -> Self {
        let fault = match fault {
            RunFault::Deleted => return Self { deletes_run: true, ..Self::default() },
            RunFault::EarlierState(steps) => {
                return Self { steps_back: steps.get(), ..Self::default() };
            }
            RunFault::Call(fault) => fault,
        };
        let replace = |response| Self { replacement: Some(response), ..Self::default() };
        let on_response = |fault| Self { response_fault: Some(fault), ..Self::default() };
        match fault {
            Fault::Answer(response) => replace(response.response()),
            Fault::RateLimited(retry_after) => replace(rate_limited(retry_after)),
            Fault::Redirect(location) => {
                replace((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
            }
            Fault::DropBefore => replace(dropped()),
            Fault::DropAfter => on_response(ResponseFault::Drop),
            Fault::DelayBefore(delay) => Self { delay: Some(delay), ..Self::default() },
            Fault::DelayAfter(delay) => on_response(ResponseFault::Delay(delay)),
            Fault::SlowBody(slow) => on_response(ResponseFault::Slow(slow)),
            Fault::CutBody(bytes) => on_response(ResponseFault::Cut(bytes)),
            Fault::ContentType(value) => on_response(ResponseFault::ContentType(value)),
            Fault::TokenClock(clock) => Self { token_clock: Some(clock), ..Self::default() },
        }
    }
}

fn rate_limited(retry_after: RetryAfter) -> Response {
    let mut response = error::rate_limited().into_response();
    if let Some(value) = retry_after.header().and_then(|text| HeaderValue::try_from(text).ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

impl ResponseFault {
    pub(super) async fn apply(self, mut response: Response) -> Response {
        match self {
            Self::Drop => dropped(),
            Self::Delay(delay) => {
                tokio::time::sleep(delay).await;
                response
            }
            Self::ContentType(value) => {
                response.headers_mut().insert(header::CONTENT_TYPE, value);
                response
            }
            Self::Slow(SlowBody { piece, pause }) => {
                let (parts, body) = response.into_parts();
                let bytes = collect(body).await;
                Response::from_parts(parts, slow_body(bytes, piece.get(), pause))
            }
            Self::Cut(limit) => {
                let (parts, body) = response.into_parts();
                let bytes = collect(body).await;
                Response::from_parts(parts, cut_body(bytes, limit))
            }
        }
    }
}

/// Collects the body of our own response, which is in memory already.
async fn collect(body: Body) -> Bytes {
    axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default()
}

fn slow_body(bytes: Bytes, piece: usize, pause: Duration) -> Body {
    Body::from_stream(futures_util::stream::unfold(bytes, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let piece = rest.split_to(piece.min(rest.len()));
        Some((Ok::<_, Infallible>(piece), rest))
    }))
}

fn cut_body(bytes: Bytes, limit: usize) -> Body {
    if bytes.len() <= limit {
        return Body::from(bytes);
    }
    // Yield between the bytes and the error: otherwise hyper resets the connection before it sends the bytes.
    let parts = [Some(bytes.slice(..limit)), None];
    Body::from_stream(futures_util::stream::unfold(parts.into_iter(), |mut parts| async move {
        let part = parts.next()?;
        if part.is_none() {
            tokio::task::yield_now().await;
        }
        Some((part.ok_or(ConnectionDropped), parts))
    }))
}

/// Injects faults into the token endpoints, which are not part of the workspace API. Faults of runs do not apply.
pub(super) async fn inject_token_faults(
    State(state): SharedState,
    request: Request,
    next: Next,
) -> Response {
    let injected = state.faults.next_call_fault(Endpoint::MintToken, RunIdentity::default);
    let Some(injected) = injected else { return next.run(request).await };
    tracing::debug!(rule = injected.rule, "injecting fault into a token request");
    let effect = FaultEffect::new(injected.fault);
    if let Some(response) = effect.replacement {
        return response;
    }
    if let Some(delay) = effect.delay {
        tokio::time::sleep(delay).await;
    }
    let response = next.run(request).await;
    match effect.response_fault {
        Some(fault) => fault.apply(response).await,
        None => response,
    }
}

/// Marks a response that must not be sent: the connection is dropped instead.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("connection dropped by an injected fault")]
pub(crate) struct ConnectionDropped;

/// Required to turn an infallible service into a fallible one.
impl From<Infallible> for ConnectionDropped {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

pub(super) fn dropped() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(ConnectionDropped);
    response
}

/// True if the connection is to be dropped instead of sending this response.
pub(super) fn is_dropped(response: &Response) -> bool {
    response.extensions().get::<ConnectionDropped>().is_some()
}

/// Turns a response marked as dropped into an error: hyper then closes an HTTP/1.1 connection, or resets the HTTP/2
/// stream.
pub(crate) fn drop_or_respond(
    response: Result<Response, Infallible>,
) -> Result<Response, ConnectionDropped> {
    match response {
        Ok(response) if is_dropped(&response) => Err(ConnectionDropped),
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
}

/// Returns the run that a call names.
pub(super) fn run_of_call(
    state: &AppState,
    endpoint: Endpoint,
    parts: &Parts,
    body: Option<&[u8]>,
) -> RunIdentity {
    let id = match endpoint {
        Endpoint::SubmitRun => {
            let body: Option<Value> = body.and_then(|body| serde_json::from_slice(body).ok());
            let name = body.as_ref().and_then(|body| body.get("run_name")?.as_str());
            return RunIdentity { run_id: None, run_name: name.map(str::to_owned) };
        }
        Endpoint::GetRun | Endpoint::GetRunOutput => {
            Query::parse(&parts.uri).and_then(|query| query.run_id()).ok()
        }
        Endpoint::CancelRun | Endpoint::DeleteRun => body.and_then(|body| body_run_id(body).ok()),
        _ => None,
    };
    match id.and_then(|id| state.runs.find(id)) {
        Some((run_id, run_name)) => RunIdentity { run_id: Some(run_id), run_name: Some(run_name) },
        None => RunIdentity { run_id: id, run_name: None },
    }
}
