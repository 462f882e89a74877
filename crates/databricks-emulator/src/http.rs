//! The HTTP service of both listeners: admin calls, token endpoints, and the workspace API.
//!
//! [`handle`] receives every call of the workspace API: it asks the fault rules, authenticates, dispatches to the store
//! that owns the data, and records the request.

mod admin;
pub(crate) mod certificates;
mod clusters;
pub(crate) mod fault_middleware;
mod list_runs;
mod oauth;
mod query;
pub(crate) mod tls_acceptor;
mod volumes;

use crate::api::endpoint::{ApiVersion, Endpoint};
use crate::api::error::{self, ApiError, invalid};
use crate::api::request_log::{RecordedAuthorization, RecordedRequest};
use crate::faults::TokenClock;
use crate::jobs::responses::{self, RequestContext};
use crate::jobs::run::Run;
use crate::jobs::validation::{self, RunFormat};
use crate::oauth::TokenStatus;
use crate::state::AppState;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router, middleware};
use fault_middleware::FaultEffect;
use query::Query;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The largest request body, in bytes (databricks-api.md#common-rules).
pub(crate) const MAX_BODY: usize = 10 * 1024 * 1024;

/// How much of a larger body is read and discarded, so that its sender receives the error.
const MAX_DISCARDED: usize = 64 * 1024 * 1024;

/// The state extractor of handlers.
type SharedState = State<Arc<AppState>>;

pub(crate) fn router(state: Arc<AppState>) -> Router {
    let token_faults =
        middleware::from_fn_with_state(Arc::clone(&state), fault_middleware::inject_token_faults);
    Router::new()
        .nest("/emulator/v1", admin::router())
        .merge(oauth::router().route_layer(token_faults))
        .fallback(handle)
        .with_state(state)
}

async fn handle(State(state): SharedState, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = read_body(body).await;
    let call = Endpoint::parse(&parts.method, parts.uri.path());
    let injected = call.and_then(|(_, endpoint)| {
        let run = || fault_middleware::run_of_call(&state, endpoint, &parts, body.as_deref());
        state.faults.next_call_fault(endpoint, run)
    });
    let (fault, mut effect) = match injected {
        Some(injected) => (Some(injected.rule), FaultEffect::new(injected.fault)),
        None => (None, FaultEffect::default()),
    };
    let response_fault = effect.response_fault.take();
    let delay = effect.delay;
    let received = ReceivedRequest { parts, body, call, fault, effect };
    let response = match delay {
        None => received.respond(&state),
        Some(delay) => {
            // A separate task, so that the call takes effect even if its client disconnects.
            let delayed = tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                received.respond(&state)
            });
            delayed.await.unwrap_or_else(|_| fault_middleware::dropped())
        }
    };
    match response_fault {
        Some(fault) => fault.apply(response).await,
        None => response,
    }
}

/// A completely received request, and the fault to inject.
struct ReceivedRequest {
    parts: Parts,
    /// `None` if it is too large.
    body: Option<Vec<u8>>,
    call: Option<(ApiVersion, Endpoint)>,
    /// The name of the rule that injects the fault.
    fault: Option<String>,
    effect: FaultEffect,
}

impl ReceivedRequest {
    /// Executes the call and records it.
    fn respond(mut self, state: &AppState) -> Response {
        let parts = &self.parts;
        let body = self.body.as_deref();
        let token = bearer_token(&parts.headers);
        let clock = TokenClock::now(self.effect.token_clock);
        let token_status = token.map(|token| state.token_status(token, clock));
        let authorization = recorded_authorization(&parts.headers, token_status);
        let mut recorded = RecordedRequest::new(parts, body.unwrap_or_default(), authorization);
        recorded.fault = self.fault;
        let response = self.effect.replacement.take().unwrap_or_else(|| {
            if self.effect.deletes_run
                && let Some((_, endpoint)) = self.call
                && let Some(run_id) =
                    fault_middleware::run_of_call(state, endpoint, parts, body).run_id
            {
                state.runs.remove(run_id);
            }
            let steps_back = self.effect.steps_back;
            dispatch(state, parts, body, self.call, token_status, steps_back, &mut recorded)
        });
        if !fault_middleware::is_dropped(&response) {
            recorded.status = response.status().as_u16();
        }
        tracing::debug!(
            method = %recorded.method, path = %recorded.path, status = recorded.status,
            fault = recorded.fault.as_deref(), "handled request"
        );
        state.request_log.push(recorded);
        response
    }
}

/// Returns the body, or `None` if it is too large.
async fn read_body(body: Body) -> Option<Vec<u8>> {
    match axum::body::to_bytes(body, MAX_DISCARDED).await {
        Ok(bytes) if bytes.len() <= MAX_BODY => Some(bytes.into()),
        _ => None,
    }
}

/// Returns the bearer token of the `Authorization` header.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token)
}

fn recorded_authorization(
    headers: &HeaderMap,
    token_status: Option<TokenStatus>,
) -> RecordedAuthorization {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return RecordedAuthorization::Missing;
    };
    let value = String::from_utf8_lossy(value.as_bytes());
    let (scheme, _) = value.split_once(' ').unwrap_or_default();
    let accepted = token_status == Some(TokenStatus::Valid);
    RecordedAuthorization::Present { scheme: scheme.to_owned(), accepted }
}

/// Rejects the call, or executes it.
fn dispatch(
    state: &AppState,
    parts: &Parts,
    body: Option<&[u8]>,
    call: Option<(ApiVersion, Endpoint)>,
    token_status: Option<TokenStatus>,
    steps_back: u32,
    recorded: &mut RecordedRequest,
) -> Response {
    if call.is_some_and(|(version, _)| state.settings.unsupported_versions.contains(&version)) {
        return error::bad_target(parts.uri.path());
    }
    if let Some((_, Endpoint::FollowExternalLink)) = call {
        let query = parts.uri.query().unwrap_or_default();
        return state.statements.follow_link(parts.uri.path(), query, &parts.headers);
    }
    match token_status {
        Some(TokenStatus::Valid) => {}
        Some(TokenStatus::Expired) => return error::expired_token().into_response(),
        Some(TokenStatus::ExpiresSoon) => return error::expiring_token().into_response(),
        Some(TokenStatus::Unknown) => return error::unknown_token(),
        None => return error::no_credential().into_response(),
    }
    let Some((version, endpoint)) = call else {
        return error::unknown_endpoint(parts.method.as_str(), parts.uri.path()).into_response();
    };
    let Some(body) = body else { return error::too_large(MAX_BODY).into_response() };
    let host = host(&parts.headers, &parts.uri);
    let call = ApiCall { state, version, host, steps_back };
    let query = Query::parse(&parts.uri);
    if endpoint == Endpoint::ReadVolumeFile {
        return volumes::read_file(state, parts);
    }
    let (files, data) = (&state.workspace_files, &state.data_files);
    let response = query.and_then(|query| match endpoint {
        Endpoint::SubmitRun => call.submit_run(body, recorded),
        Endpoint::RunNow => call.run_now(body),
        Endpoint::GetRun => call.get_run(&query),
        Endpoint::GetRunOutput => call.get_run_output(&query),
        Endpoint::CancelRun => state.runs.cancel(body_run_id(body)?).map(|()| json!({})),
        Endpoint::DeleteRun => state.runs.delete(body_run_id(body)?).map(|()| json!({})),
        Endpoint::ListRuns => call.list_runs(&query),
        Endpoint::WorkspaceGetStatus => files.get_status(query.path()?),
        Endpoint::WorkspaceExport => files.export(query.path()?),
        Endpoint::WorkspaceMkdirs => files.mkdirs(&validation::object(body)?),
        Endpoint::WorkspaceImport => files.import(&validation::object(body)?),
        Endpoint::WorkspaceDelete => files.delete(&validation::object(body)?),
        Endpoint::GetCluster => call.get_cluster(&query),
        Endpoint::ListClusterEvents => call.list_cluster_events(&validation::object(body)?),
        Endpoint::DbfsList => data.dbfs_list(query.path()?),
        Endpoint::DbfsGetStatus => data.dbfs_status(query.path()?),
        Endpoint::DbfsRead => {
            data.dbfs_read(query.path()?, query.integer("offset")?, query.integer("length")?)
        }
        Endpoint::ListVolume => volumes::list(state, parts, &query),
        Endpoint::ExecuteStatement => state.statements.execute(&validation::object(body)?),
        Endpoint::GetStatement => state.statements.get(segment(parts, 0)),
        Endpoint::CancelStatement => state.statements.cancel(segment(parts, 0)),
        Endpoint::GetStatementChunk => state.statements.chunk(segment(parts, 0), segment(parts, 3)),
        // Handled above, or by a separate route.
        Endpoint::ReadVolumeFile | Endpoint::MintToken | Endpoint::FollowExternalLink => {
            Ok(Value::Null)
        }
        Endpoint::Me => Ok(json!({"userName": state.settings.user_name, "active": true})),
    });
    match response {
        Ok(body) if endpoint == Endpoint::Me => {
            ([("x-databricks-org-id", responses::WORKSPACE_ID.to_string())], Json(body))
                .into_response()
        }
        Ok(body) => Json(body).into_response(),
        Err(error) => error.into_response(),
    }
}

/// Returns the host of a request. An HTTP/2 request has it in its URI.
fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> &'a str {
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    named.or(uri.authority().map(Authority::as_str)).unwrap_or("localhost")
}

/// Returns the path segment at this index after `/api/2.0/sql/statements/`.
fn segment(parts: &Parts, index: usize) -> &str {
    parts.uri.path().split('/').nth(5 + index).unwrap_or_default()
}

/// An authenticated call.
struct ApiCall<'a> {
    state: &'a AppState,
    version: ApiVersion,
    host: &'a str,
    /// Shows runs this many steps earlier than they are.
    steps_back: u32,
}

impl ApiCall<'_> {
    fn context(&self, now: Duration) -> RequestContext<'_> {
        RequestContext {
            version: self.version,
            host: self.host,
            user_name: &self.state.settings.user_name,
            now,
        }
    }

    /// Reads a run, or its earlier state if a fault asks for that.
    fn read<T>(
        &self,
        id: i64,
        counts_as_poll: bool,
        reader: impl FnOnce(&Run, Option<usize>, Duration) -> T,
    ) -> Result<T, ApiError> {
        // An earlier state is not a poll.
        let counts_as_poll = counts_as_poll && self.steps_back == 0;
        self.state.runs.read(id, counts_as_poll, self.steps_back, reader)
    }

    fn submit_run(&self, body: &[u8], recorded: &mut RecordedRequest) -> Result<Value, ApiError> {
        let mut submission = validation::submission(body, self.version)?;
        recorded.ignored_keys = std::mem::take(&mut submission.ignored_keys);
        Ok(json!({"run_id": self.state.runs.submit(submission)?}))
    }

    /// Submits the settings of a saved job with the parameters of this call (databricks-api.md#run-now).
    fn run_now(&self, body: &[u8]) -> Result<Value, ApiError> {
        let request = validation::run_now(body)?;
        let settings = self
            .state
            .runs
            .job(request.job_id)
            .ok_or_else(|| invalid(format!("Job {} does not exist.", request.job_id)))?;
        let body = Value::Object(request.submission(settings));
        let submission = validation::submission(body.to_string().as_bytes(), self.version)?;
        let run_id = self.state.runs.submit(submission)?;
        Ok(json!({"run_id": run_id, "number_in_job": run_id}))
    }

    /// Only the first page counts as a poll.
    fn get_run(&self, query: &Query) -> Result<Value, ApiError> {
        let run_id = query.run_id()?;
        let page_token = query.text("page_token").filter(|token| !token.is_empty());
        let first_task = match page_token {
            Some(token) => {
                responses::parse_page_token(token).ok_or_else(|| invalid("Invalid page_token."))?
            }
            None => 0,
        };
        let response = self.read(run_id, page_token.is_none(), |run, task, now| match task {
            Some(index) => responses::task_as_run(run, index, &self.context(now)),
            None => responses::run(run, first_task, &self.context(now)),
        })?;
        if page_token.is_none() {
            let (folders, changes) = self.state.runs.deliver_logs(run_id);
            self.state.data_files.apply(&folders, &changes);
        }
        Ok(response)
    }

    fn get_run_output(&self, query: &Query) -> Result<Value, ApiError> {
        self.read(query.run_id()?, false, |run, task, now| match (task, run.submission.format) {
            (Some(index), _) => Ok(responses::output(run, index, &self.context(now))),
            (None, RunFormat::SingleTask) => Ok(responses::output(run, 0, &self.context(now))),
            (None, RunFormat::MultiTask) => Err(invalid(
                "Retrieving the output of runs with multiple tasks is not supported. Ask for the output of each task \
                 run instead.",
            )),
        })?
    }
}

fn body_run_id(body: &[u8]) -> Result<i64, ApiError> {
    validation::id(&validation::object(body)?, "run_id")
}
