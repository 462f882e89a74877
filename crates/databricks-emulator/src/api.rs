//! The listeners' one router: admin calls, and everything else as a call of the workspace.

mod admin;
mod clusters;
pub(crate) mod faulty;
mod list;
mod query;
mod storage;

use crate::answers::{self, Asked};
use crate::authority::{self, Standing};
use crate::emulator::Shared;
use crate::endpoint::{ApiVersion, Endpoint};
use crate::faults::TokenClock;
use crate::recorded::{AuthorizationSeen, Incoming, RecordedRequest};
use crate::refusal::{self, Refusal, invalid};
use crate::validate::{self, Format};
use crate::workspace::Run;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router, middleware};
use faulty::Course;
use query::Query;
use serde_json::{Value, json};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// The largest request body (DA §1.0).
pub(crate) const MAX_BODY: usize = 10 * 1024 * 1024;

/// How much of a larger body is read and thrown away, so that its sender hears the refusal.
const MAX_DISCARDED: usize = 64 * 1024 * 1024;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let minting = middleware::from_fn_with_state(Arc::clone(&shared), faulty::minting);
    Router::new()
        .nest("/emulator/v1", admin::router())
        .merge(authority::router().route_layer(minting))
        .fallback(answer)
        .with_state(shared)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = read(body).await;
    let call = Endpoint::parse(&parts.method, parts.uri.path());
    let strike = call.and_then(|(_, endpoint)| {
        let subject = || faulty::subject(&shared, endpoint, &parts, body.as_deref());
        shared.faults.strike_call(endpoint, subject)
    });
    let (fault, mut course) = match strike {
        Some(strike) => (Some(strike.rule), Course::of(strike.fault)),
        None => (None, Course::default()),
    };
    let after = course.after.take();
    let delay = course.delay;
    let arrived = Arrived { parts, body, call, fault, course };
    let response = match delay {
        None => arrived.answer(&shared),
        Some(delay) => {
            // Apart from the connection: what was sent arrives, also when its sender has given up.
            let late = tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                arrived.answer(&shared)
            });
            late.await.unwrap_or_else(|_| faulty::dropped())
        }
    };
    match after {
        Some(after) => faulty::after(after, response).await,
        None => response,
    }
}

/// A request that is wholly here, and what is to go wrong with it.
struct Arrived {
    parts: Parts,
    /// None when it is too large.
    body: Option<Vec<u8>>,
    call: Option<(ApiVersion, Endpoint)>,
    /// The rule that struck.
    fault: Option<String>,
    course: Course,
}

impl Arrived {
    /// Has its effect, and is recorded.
    fn answer(mut self, shared: &Shared) -> Response {
        let parts = &self.parts;
        let body = self.body.as_deref();
        let authorization = authorization(&parts.headers, shared, self.course.seen.token_clock);
        let incoming = Incoming {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            body: body.unwrap_or_default(),
        };
        let mut recorded = RecordedRequest::new(&incoming, authorization);
        recorded.fault = self.fault;
        let response = self.course.instead.take().unwrap_or_else(|| {
            if self.course.forgets_run
                && let Some((_, endpoint)) = self.call
                && let Some(run_id) = faulty::subject(shared, endpoint, parts, body).run_id
            {
                shared.workspace.forget(run_id);
            }
            decide(shared, parts, body, &self.course, &mut recorded)
        });
        if !faulty::is_dropped(&response) {
            recorded.status = response.status().as_u16();
        }
        tracing::debug!(
            method = %recorded.method, path = %recorded.path, status = recorded.status,
            fault = recorded.fault.as_deref(), "answered"
        );
        shared.recorder.push(recorded);
        response
    }
}

/// The body, or `None` when it is too large.
async fn read(body: Body) -> Option<Vec<u8>> {
    match axum::body::to_bytes(body, MAX_DISCARDED).await {
        Ok(bytes) if bytes.len() <= MAX_BODY => Some(bytes.into()),
        _ => None,
    }
}

/// What the request brings as proof of who asks.
fn authorization(
    headers: &HeaderMap,
    shared: &Shared,
    clock: Option<TokenClock>,
) -> AuthorizationSeen {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return AuthorizationSeen::Missing };
    let value = String::from_utf8_lossy(value.as_bytes());
    let (scheme, credential) = value.split_once(' ').unwrap_or_default();
    let standing = authority::standing_of(shared, credential, TokenClock::now(clock));
    AuthorizationSeen::Present {
        scheme: scheme.to_owned(),
        accepted: is_bearer(scheme) && standing == Standing::Accepted,
    }
}

/// The refusal of a bearer token: one that never was, one that has ended, or one that is about to.
fn refused_token(shared: &Shared, headers: &HeaderMap, course: &Course) -> Response {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.split_once(' '))
        .map_or("", |(_, token)| token);
    let now = TokenClock::now(course.seen.token_clock);
    match authority::standing_of(shared, token, now) {
        Standing::Ended => refusal::ended_token().into_response(),
        Standing::EndsSoon => refusal::expired_token().into_response(),
        Standing::Unknown | Standing::Accepted => refusal::unknown_token(),
    }
}

fn is_bearer(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("Bearer")
}

/// The answer: what stands in the way, else the call itself.
fn decide(
    shared: &Shared,
    parts: &Parts,
    body: Option<&[u8]>,
    course: &Course,
    recorded: &mut RecordedRequest,
) -> Response {
    let call = Endpoint::parse(&parts.method, parts.uri.path());
    if call.is_some_and(|(version, _)| shared.settings.bad_targets.contains(&version)) {
        return refusal::bad_target(parts.uri.path());
    }
    if let Some((_, Endpoint::FollowExternalLink)) = call {
        let query = parts.uri.query().unwrap_or_default();
        return shared.statements.stored(parts.uri.path(), query, &parts.headers);
    }
    match &recorded.authorization {
        AuthorizationSeen::Present { accepted: true, .. } => {}
        AuthorizationSeen::Present { scheme, .. } if is_bearer(scheme) => {
            return refused_token(shared, &parts.headers, course);
        }
        _ => return refusal::no_credential().into_response(),
    }
    let Some((version, endpoint)) = call else {
        return refusal::unknown_endpoint(parts.method.as_str(), parts.uri.path()).into_response();
    };
    let Some(body) = body else { return refusal::too_large(MAX_BODY).into_response() };
    let authority = parts.uri.authority().map(axum::http::uri::Authority::as_str);
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(authority);
    let earlier = course.seen.earlier;
    let call = Call { shared, version, host: host.unwrap_or("localhost"), earlier };
    let query = Query::of(&parts.uri);
    if endpoint == Endpoint::ReadVolumeFile {
        return storage::read_volume_file(shared, parts);
    }
    let answer = query.and_then(|query| match endpoint {
        Endpoint::SubmitRun => call.submit_run(body, recorded),
        Endpoint::RunNow => call.run_now(body),
        Endpoint::GetRun => call.get_run(&query),
        Endpoint::GetRunOutput => call.get_run_output(&query),
        Endpoint::CancelRun => shared.workspace.cancel(run_id_in(body)?).map(|()| json!({})),
        Endpoint::DeleteRun => shared.workspace.delete(run_id_in(body)?).map(|()| json!({})),
        Endpoint::ListRuns => call.list_runs(&query),
        Endpoint::WorkspaceGetStatus => shared.files.get_status(query.path()?),
        Endpoint::WorkspaceExport => shared.files.export(query.path()?),
        Endpoint::WorkspaceMkdirs => shared.files.mkdirs(&validate::object(body)?),
        Endpoint::WorkspaceImport => shared.files.import(&validate::object(body)?),
        Endpoint::WorkspaceDelete => shared.files.delete(&validate::object(body)?),
        Endpoint::GetCluster => call.get_cluster(&query),
        Endpoint::ListClusterEvents => call.list_cluster_events(&validate::object(body)?),
        Endpoint::DbfsList => shared.storage.dbfs_list(query.path()?),
        Endpoint::DbfsGetStatus => shared.storage.dbfs_status(query.path()?),
        Endpoint::DbfsRead => shared.storage.dbfs_read(
            query.path()?,
            query.integer("offset")?,
            query.integer("length")?,
        ),
        Endpoint::ListVolume => storage::list_volume(shared, parts, &query),
        Endpoint::ExecuteStatement => shared.statements.execute(&validate::object(body)?),
        Endpoint::GetStatement => shared.statements.get(segment(parts, 0)),
        Endpoint::CancelStatement => shared.statements.cancel(segment(parts, 0)),
        Endpoint::GetStatementChunk => {
            shared.statements.chunk(segment(parts, 0), segment(parts, 3))
        }
        // Answered elsewhere: the one is no JSON, and the others need no bearer token.
        Endpoint::ReadVolumeFile | Endpoint::MintToken | Endpoint::FollowExternalLink => {
            Ok(Value::Null)
        }
        Endpoint::Me => Ok(json!({"userName": shared.settings.user_name, "active": true})),
    });
    match answer {
        Ok(answer) if endpoint == Endpoint::Me => {
            ([("x-databricks-org-id", answers::WORKSPACE_ID.to_string())], Json(answer))
                .into_response()
        }
        Ok(answer) => Json(answer).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// A segment of the path behind `/api/2.0/sql/statements/`.
fn segment(parts: &Parts, place: usize) -> &str {
    parts.uri.path().split('/').nth(5 + place).unwrap_or_default()
}

/// One accepted call.
struct Call<'a> {
    shared: &'a Shared,
    version: ApiVersion,
    host: &'a str,
    /// Steps that a run is shown too early.
    earlier: Option<NonZeroU32>,
}

impl Call<'_> {
    fn asked(&self, now: Duration) -> Asked<'_> {
        Asked {
            version: self.version,
            host: self.host,
            user_name: &self.shared.settings.user_name,
            now,
        }
    }

    /// Reads a run as the workspace is seen.
    fn read<T>(
        &self,
        id: i64,
        counts_as_poll: bool,
        reader: impl FnOnce(&Run, Option<usize>, Duration) -> T,
    ) -> Result<T, Refusal> {
        match self.earlier {
            Some(steps) => self.shared.workspace.read_earlier(id, steps.get(), reader),
            None => self.shared.workspace.read(id, counts_as_poll, reader),
        }
    }

    fn submit_run(&self, body: &[u8], recorded: &mut RecordedRequest) -> Result<Value, Refusal> {
        let mut submission = validate::submission(body, self.version)?;
        recorded.ignored_keys = std::mem::take(&mut submission.ignored_keys);
        Ok(json!({"run_id": self.shared.workspace.submit(submission)?}))
    }

    /// A run of a saved job: its settings, submitted anew with what this call gives (DA §1.7).
    fn run_now(&self, body: &[u8]) -> Result<Value, Refusal> {
        let asked = validate::run_now(body)?;
        let settings = self
            .shared
            .workspace
            .job(asked.job_id)
            .ok_or_else(|| invalid(format!("Job {} does not exist.", asked.job_id)))?;
        let body = Value::Object(asked.submission(settings));
        let submission = validate::submission(body.to_string().as_bytes(), self.version)?;
        let run_id = self.shared.workspace.submit(submission)?;
        Ok(json!({"run_id": run_id, "number_in_job": run_id}))
    }

    /// The first page of a read is a poll; further pages are part of it.
    fn get_run(&self, query: &Query) -> Result<Value, Refusal> {
        let run_id = query.run_id()?;
        let page_token = query.text("page_token").filter(|token| !token.is_empty());
        let first_task = match page_token {
            Some(token) => {
                answers::parse_page_token(token).ok_or_else(|| invalid("Invalid page_token."))?
            }
            None => 0,
        };
        let answer = self.read(run_id, page_token.is_none(), |run, task, now| match task {
            Some(place) => answers::task_as_run(run, place, &self.asked(now)),
            None => answers::run(run, first_task, &self.asked(now)),
        })?;
        if page_token.is_none() {
            let (folders, changes) = self.shared.workspace.deliver(run_id);
            self.shared.storage.deliver(&folders, &changes);
        }
        Ok(answer)
    }

    fn get_run_output(&self, query: &Query) -> Result<Value, Refusal> {
        self.read(query.run_id()?, false, |run, task, now| match (task, run.submission.format) {
            (Some(place), _) => Ok(answers::output(run, place, &self.asked(now))),
            (None, Format::SingleTask) => Ok(answers::output(run, 0, &self.asked(now))),
            (None, Format::MultiTask) => Err(invalid(
                "Retrieving the output of runs with multiple tasks is not supported. Ask for the output of each task \
                 run instead.",
            )),
        })?
    }
}

/// The `run_id` of a cancel or delete, as a number or a decimal string (DA §1.0).
fn run_id_in(body: &[u8]) -> Result<i64, Refusal> {
    let body = validate::object(body)?;
    let run_id = match body.get("run_id") {
        None | Some(Value::Null) => return Err(invalid("Missing required field: run_id.")),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_i64(),
    };
    run_id.ok_or_else(|| invalid("Field run_id must be a 64-bit integer."))
}
