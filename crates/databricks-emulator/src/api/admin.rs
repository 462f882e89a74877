//! The calls under `/emulator/v1/`, for tests and demos in other languages. They need no token.

use super::MAX_BODY;
use crate::emulator::Shared;
use crate::faults::{FaultCount, FaultPlan, FaultPlanError, FaultRule};
use crate::recorded::RecordedRequest;
use crate::refusal::{Refusal, invalid, malformed, missing, unknown_endpoint};
use crate::script::Script;
use crate::statements::{StatementScript, StatementSummary};
use crate::workspace::RunSummary;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use std::str::FromStr;
use std::sync::Arc;

pub(super) fn router() -> Router<Arc<Shared>> {
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
    State(shared): State<Arc<Shared>>,
    Path(run_name): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let script: Script = serde_json::from_slice(&body)
        .map_err(|error| malformed(format!("The body is no script: {error}.")))?;
    shared.workspace.script(&run_name, script);
    Ok(StatusCode::NO_CONTENT)
}

/// A script for the statements that contain some words.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptedStatements {
    containing: String,
    script: StatementScript,
}

async fn post_statement_script(
    State(shared): State<Arc<Shared>>,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let ScriptedStatements { containing, script } = serde_json::from_slice(&body)
        .map_err(|error| malformed(format!("The body is no script of statements: {error}.")))?;
    shared.statements.script(containing, script);
    Ok(StatusCode::NO_CONTENT)
}

async fn statements(State(shared): State<Arc<Shared>>) -> Json<Vec<StatementSummary>> {
    Json(shared.statements.summaries())
}

async fn put_warehouse(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> StatusCode {
    shared.statements.add_warehouse(id);
    StatusCode::NO_CONTENT
}

async fn faults(State(shared): State<Arc<Shared>>) -> Json<Vec<FaultCount>> {
    Json(shared.faults.counts())
}

async fn put_faults(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<StatusCode, Refusal> {
    shared.faults.replace(parsed::<FaultPlan>(&body)?);
    Ok(StatusCode::NO_CONTENT)
}

async fn post_fault(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<StatusCode, Refusal> {
    shared.faults.add(parsed::<FaultRule>(&body)?);
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_fault(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    if shared.faults.remove(&name) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(missing(format!("No fault named {name} is in force.")))
    }
}

fn parsed<T: FromStr<Err = FaultPlanError>>(body: &[u8]) -> Result<T, Refusal> {
    let text = std::str::from_utf8(body)
        .map_err(|error| malformed(format!("The body is no text: {error}.")))?;
    text.parse().map_err(|error| malformed(format!("The body is no fault: {error}.")))
}

async fn requests(State(shared): State<Arc<Shared>>) -> Json<Vec<RecordedRequest>> {
    Json(shared.recorder.all())
}

async fn runs(State(shared): State<Arc<Shared>>) -> Json<Vec<RunSummary>> {
    Json(shared.workspace.summaries())
}

async fn advance(
    State(shared): State<Arc<Shared>>,
    Path(run_id): Path<String>,
) -> Result<Json<RunSummary>, Refusal> {
    shared.workspace.advance(parse(&run_id)?).map(Json).ok_or_else(|| not_found(&run_id))
}

async fn delete_run(
    State(shared): State<Arc<Shared>>,
    Path(run_id): Path<String>,
) -> Result<StatusCode, Refusal> {
    if shared.workspace.forget(parse(&run_id)?) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(not_found(&run_id))
    }
}

async fn unknown(method: Method, uri: Uri) -> Refusal {
    unknown_endpoint(method.as_str(), &format!("/emulator/v1{}", uri.path()))
}

fn parse(run_id: &str) -> Result<i64, Refusal> {
    run_id
        .parse()
        .map_err(|error| invalid(format!("The run id must be a 64-bit integer: {error}.")))
}

fn not_found(run_id: &str) -> Refusal {
    missing(format!("The emulator has no run {run_id}."))
}
