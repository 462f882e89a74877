//! The admin API under `/emulator/v1/`, for tests in other languages. It needs no token.

use super::{MAX_BODY, SharedState};
use crate::api::error::{ApiError, invalid, malformed, missing, unknown_endpoint};
use crate::api::request_log::RecordedRequest;
use crate::faults::{FaultCount, FaultPlan, FaultPlanError, FaultRule};
use crate::jobs::run::RunSummary;
use crate::jobs::script::Script;
use crate::sql::{StatementScript, StatementSummary};
use crate::state::AppState;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use std::str::FromStr;
use std::sync::Arc;

pub(super) fn router() -> Router<Arc<AppState>> {
    Router::new()
        .route("/scripts/{*run_name}", put(put_script))
        .route("/statements", get(statements).post(post_statement_script))
        .route("/warehouses/{id}", put(put_warehouse))
        .route("/faults", get(faults).put(put_faults).post(post_fault))
        .route("/faults/{*name}", delete(delete_fault))
        .route("/requests", get(requests))
        .route("/runs", get(runs))
        .route("/runs/{run_id}", delete(delete_run))
        .route("/runs/{run_id}/advance", post(advance))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

async fn put_script(
    State(state): SharedState,
    Path(run_name): Path<String>,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let script: Script = serde_json::from_slice(&body)
        .map_err(|error| malformed(format!("The body is not a script: {error}.")))?;
    state.runs.set_script(&run_name, script);
    Ok(StatusCode::NO_CONTENT)
}

/// A script for the statements that contain a text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatementScriptRequest {
    containing: String,
    script: StatementScript,
}

async fn post_statement_script(
    State(state): SharedState,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let StatementScriptRequest { containing, script } = serde_json::from_slice(&body)
        .map_err(|error| malformed(format!("The body is not a statement script: {error}.")))?;
    state.statements.set_script(containing, script);
    Ok(StatusCode::NO_CONTENT)
}

async fn statements(State(state): SharedState) -> Json<Vec<StatementSummary>> {
    Json(state.statements.summaries())
}

async fn put_warehouse(State(state): SharedState, Path(id): Path<String>) -> StatusCode {
    state.statements.add_warehouse(id);
    StatusCode::NO_CONTENT
}

async fn faults(State(state): SharedState) -> Json<Vec<FaultCount>> {
    Json(state.faults.counts())
}

async fn put_faults(State(state): SharedState, body: Bytes) -> Result<StatusCode, ApiError> {
    state.faults.set_plan(parse_faults::<FaultPlan>(&body)?);
    Ok(StatusCode::NO_CONTENT)
}

async fn post_fault(State(state): SharedState, body: Bytes) -> Result<StatusCode, ApiError> {
    state.faults.add(parse_faults::<FaultRule>(&body)?);
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_fault(
    State(state): SharedState,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    if state.faults.remove(&name) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(missing(format!("There is no fault rule named {name}.")))
    }
}

fn parse_faults<T: FromStr<Err = FaultPlanError>>(body: &[u8]) -> Result<T, ApiError> {
    let text = std::str::from_utf8(body)
        .map_err(|error| malformed(format!("The body is not UTF-8: {error}.")))?;
    text.parse()
        .map_err(|error| malformed(format!("The body is not a valid fault plan or rule: {error}.")))
}

async fn requests(State(state): SharedState) -> Json<Vec<RecordedRequest>> {
    Json(state.request_log.all())
}

async fn runs(State(state): SharedState) -> Json<Vec<RunSummary>> {
    Json(state.runs.summaries())
}

async fn advance(
    State(state): SharedState,
    Path(run_id): Path<String>,
) -> Result<Json<RunSummary>, ApiError> {
    state.runs.advance(parse_run_id(&run_id)?).map(Json).ok_or_else(|| not_found(&run_id))
}

async fn delete_run(
    State(state): SharedState,
    Path(run_id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if state.runs.remove(parse_run_id(&run_id)?) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(not_found(&run_id))
    }
}

async fn unknown(method: Method, uri: Uri) -> ApiError {
    unknown_endpoint(method.as_str(), &format!("/emulator/v1{}", uri.path()))
}

fn parse_run_id(run_id: &str) -> Result<i64, ApiError> {
    run_id
        .parse()
        .map_err(|error| invalid(format!("The run id must be a 64-bit integer: {error}.")))
}

fn not_found(run_id: &str) -> ApiError {
    missing(format!("The emulator has no run {run_id}."))
}
