//! Token endpoints. They need no bearer token.

use super::{SharedState, host};
use crate::clock;
use crate::oauth::TokenStatus;
use crate::state::AppState;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;

type Fields = HashMap<String, String>;

/// Routes of the workspace's own endpoints and, below `/emulator/cloud`, of those of Azure and Google.
pub(crate) fn router() -> Router<Arc<AppState>> {
    let cloud = Router::new()
        .route("/{tenant}/oauth2/token", post(azure_token))
        .route("/metadata/identity/oauth2/token", get(azure_managed_identity))
        .route(
            "/computeMetadata/v1/instance/service-accounts/default/token",
            get(google_access_token),
        )
        .route(
            "/computeMetadata/v1/instance/service-accounts/default/identity",
            get(google_id_token),
        )
        .route("/v1/projects/-/serviceAccounts/{account}", post(google_impersonated_id_token));
    Router::new()
        .route("/.well-known/databricks-config", get(host_metadata))
        .route("/oidc/.well-known/oauth-authorization-server", get(discovery))
        .route("/oidc/v1/token", post(token))
        .nest("/emulator/cloud", cloud)
}

fn error_response(error: &str, description: &str) -> Response {
    let body = json!({"error": error, "error_description": description});
    (StatusCode::UNAUTHORIZED, Json(body)).into_response()
}

fn token_response((token, seconds): (String, u64)) -> Response {
    Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": seconds}))
        .into_response()
}

/// Returns the base URL of the OAuth endpoints.
fn base(headers: &HeaderMap, uri: &Uri, state: &AppState) -> String {
    let host = host(headers, uri);
    // Clients reach the HTTPS listener as `localhost` and the HTTP listener as `127.0.0.1`.
    let scheme = if host.starts_with("localhost") { "https" } else { "http" };
    state.settings.oidc_base.clone().unwrap_or_else(|| format!("{scheme}://{host}"))
}

/// Returns the OAuth endpoint and the workspace id. Newer SDKs ask for it first (`HostMetadata` in the Python SDK).
async fn host_metadata(headers: HeaderMap, uri: Uri, State(state): SharedState) -> Response {
    let base = base(&headers, &uri, &state);
    Json(json!({"oidc_endpoint": format!("{base}/oidc"), "workspace_id": "1234567890"}))
        .into_response()
}

async fn discovery(headers: HeaderMap, uri: Uri, State(state): SharedState) -> Response {
    let base = base(&headers, &uri, &state);
    Json(json!({
        "issuer": format!("{base}/oidc"),
        "authorization_endpoint": format!("{base}/oidc/v1/authorize"),
        "token_endpoint": format!("{base}/oidc/v1/token"),
    }))
    .into_response()
}

async fn token(
    State(state): SharedState,
    headers: HeaderMap,
    Form(form): Form<Fields>,
) -> Response {
    let field = |name: &str| form.get(name).map(String::as_str);
    match field("grant_type") {
        Some("client_credentials") => {
            let (id, secret) = basic(&headers).unwrap_or_else(|| {
                let own = |name| field(name).unwrap_or_default().to_owned();
                (own("client_id"), own("client_secret"))
            });
            if state.token_issuer.is_client_secret(&id, &secret) {
                token_response(state.token_issuer.mint("oauth"))
            } else {
                error_response("invalid_client", "Client authentication failed")
            }
        }
        Some("urn:ietf:params:oauth:grant-type:token-exchange")
            if field("subject_token_type") == Some("urn:ietf:params:oauth:token-type:jwt") =>
        {
            match state
                .token_issuer
                .verify_subject_token(field("subject_token").unwrap_or_default())
            {
                Ok(()) => token_response(state.token_issuer.mint("federated")),
                Err(reason) => error_response("invalid_grant", &reason),
            }
        }
        _ => error_response("unsupported_grant_type", "the grant type is not supported"),
    }
}

/// Returns the client id and secret of an HTTP Basic header.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    text.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()))
}

async fn azure_token(
    State(state): SharedState,
    Path(_tenant): Path<String>,
    Form(form): Form<Fields>,
) -> Response {
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let authenticated = if field("client_assertion").is_empty() {
        state.token_issuer.is_client_secret(field("client_id"), field("client_secret"))
    } else {
        state.token_issuer.verify_subject_token(field("client_assertion")).is_ok()
    };
    if authenticated && !field("resource").is_empty() {
        token_response(state.token_issuer.mint("entra"))
    } else {
        error_response("invalid_client", "AADSTS7000215: Invalid client secret provided.")
    }
}

/// As the instance metadata service: `expires_in` is a string, and the `Metadata` header is required.
async fn azure_managed_identity(
    State(state): SharedState,
    headers: HeaderMap,
    Query(query): Query<Fields>,
) -> Response {
    if headers.get("metadata").is_none_or(|value| value != "true")
        || !query.contains_key("resource")
    {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let (token, seconds) = state.token_issuer.mint("machine");
    Json(json!({"access_token": token, "expires_in": seconds.to_string(), "token_type": "Bearer"}))
        .into_response()
}

fn has_google_header(headers: &HeaderMap) -> bool {
    headers.get("metadata-flavor").is_some_and(|value| value == "Google")
}

async fn google_access_token(State(state): SharedState, headers: HeaderMap) -> Response {
    if !has_google_header(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    token_response(state.token_issuer.mint("google-access"))
}

/// Returns the ID token as plain text.
async fn google_id_token(
    State(state): SharedState,
    headers: HeaderMap,
    Query(query): Query<Fields>,
) -> Response {
    if !has_google_header(&headers) || !query.contains_key("audience") {
        return StatusCode::FORBIDDEN.into_response();
    }
    state.token_issuer.mint("google-id").0.into_response()
}

async fn google_impersonated_id_token(
    State(state): SharedState,
    Path(account): Path<String>,
    headers: HeaderMap,
    Form(form): Form<Fields>,
) -> Response {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .unwrap_or_default();
    let accepted = state.token_issuer.status(bearer, clock::now()) == TokenStatus::Valid;
    if !accepted || !account.ends_with(":generateIdToken") || !form.contains_key("audience") {
        return StatusCode::FORBIDDEN.into_response();
    }
    Json(json!({"token": state.token_issuer.mint("google-id").0})).into_response()
}
