//! What mints tokens over HTTP. None of it asks for a bearer token.

use crate::emulator::Shared;
use axum::extract::{Path, Query, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

type Fields = HashMap<String, String>;

/// Everything that mints tokens. The clouds' authorities lie below `/emulator/cloud`, in place of their own hosts.
pub(crate) fn router() -> Router<Arc<Shared>> {
    let cloud = Router::new()
        .route("/{tenant}/oauth2/token", post(azure_login))
        .route("/metadata/identity/oauth2/token", get(azure_machine))
        .route("/computeMetadata/v1/instance/service-accounts/default/token", get(google_access))
        .route("/computeMetadata/v1/instance/service-accounts/default/identity", get(google_id))
        .route("/v1/projects/-/serviceAccounts/{account}", post(google_impersonated));
    Router::new()
        .route("/.well-known/databricks-config", get(host_metadata))
        .route("/oidc/.well-known/oauth-authorization-server", get(discovery))
        .route("/oidc/v1/token", post(token))
        .nest("/emulator/cloud", cloud)
}

fn denied(error: &str, description: &str) -> Response {
    let body = json!({"error": error, "error_description": description});
    (StatusCode::UNAUTHORIZED, Json(body)).into_response()
}

fn granted((token, seconds): (String, u64)) -> Response {
    Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": seconds}))
        .into_response()
}

/// The address that was asked, as OAuth names it.
fn base(headers: &HeaderMap, uri: &Uri, shared: &Shared) -> String {
    // HTTP/2 has the host in the address.
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = named.or(uri.authority().map(Authority::as_str)).unwrap_or("localhost");
    // The certificate is made out for this name; HTTP is spoken to the address.
    let scheme = if host.starts_with("localhost") { "https" } else { "http" };
    shared.settings.oidc_base.clone().unwrap_or_else(|| format!("{scheme}://{host}"))
}

/// What newer clients ask first: where OAuth is, and which workspace this is (Databricks' Python SDK, `HostMetadata`).
async fn host_metadata(
    headers: HeaderMap,
    uri: Uri,
    State(shared): State<Arc<Shared>>,
) -> Response {
    let base = base(&headers, &uri, &shared);
    Json(json!({"oidc_endpoint": format!("{base}/oidc"), "workspace_id": "1234567890"}))
        .into_response()
}

async fn discovery(headers: HeaderMap, uri: Uri, State(shared): State<Arc<Shared>>) -> Response {
    let base = base(&headers, &uri, &shared);
    Json(json!({
        "issuer": format!("{base}/oidc"),
        "authorization_endpoint": format!("{base}/oidc/v1/authorize"),
        "token_endpoint": format!("{base}/oidc/v1/token"),
    }))
    .into_response()
}

async fn token(
    State(shared): State<Arc<Shared>>,
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
            if shared.authority.knows(&id, &secret) {
                granted(shared.authority.mint("oauth"))
            } else {
                denied("invalid_client", "Client authentication failed")
            }
        }
        Some("urn:ietf:params:oauth:grant-type:token-exchange")
            if field("subject_token_type") == Some("urn:ietf:params:oauth:token-type:jwt") =>
        {
            match shared.authority.verify(field("subject_token").unwrap_or_default()) {
                Ok(()) => granted(shared.authority.mint("federated")),
                Err(why) => denied("invalid_grant", &why),
            }
        }
        _ => denied("unsupported_grant_type", "the grant type is not supported"),
    }
}

/// Client id and secret as HTTP Basic has them.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    text.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()))
}

async fn azure_login(
    State(shared): State<Arc<Shared>>,
    Path(_tenant): Path<String>,
    Form(form): Form<Fields>,
) -> Response {
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let proven = if field("client_assertion").is_empty() {
        shared.authority.knows(field("client_id"), field("client_secret"))
    } else {
        shared.authority.verify(field("client_assertion")).is_ok()
    };
    if proven && !field("resource").is_empty() {
        granted(shared.authority.mint("entra"))
    } else {
        denied("invalid_client", "AADSTS7000215: Invalid client secret provided.")
    }
}

/// As the machine's own service: the lifetime is text, and the header keeps forged requests out.
async fn azure_machine(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Query(query): Query<Fields>,
) -> Response {
    if headers.get("metadata").is_none_or(|value| value != "true")
        || !query.contains_key("resource")
    {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let (token, seconds) = shared.authority.mint("machine");
    Json(json!({"access_token": token, "expires_in": seconds.to_string(), "token_type": "Bearer"}))
        .into_response()
}

fn is_googles(headers: &HeaderMap) -> bool {
    headers.get("metadata-flavor").is_some_and(|value| value == "Google")
}

async fn google_access(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if !is_googles(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    granted(shared.authority.mint("google-access"))
}

/// The ID token comes as plain text.
async fn google_id(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Query(query): Query<Fields>,
) -> Response {
    if !is_googles(&headers) || !query.contains_key("audience") {
        return StatusCode::FORBIDDEN.into_response();
    }
    shared.authority.mint("google-id").0.into_response()
}

async fn google_impersonated(
    State(shared): State<Arc<Shared>>,
    Path(account): Path<String>,
    headers: HeaderMap,
    Form(form): Form<Fields>,
) -> Response {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .unwrap_or_default();
    let accepted =
        shared.authority.standing(bearer, crate::clock::now()) == super::Standing::Accepted;
    if !accepted || !account.ends_with(":generateIdToken") || !form.contains_key("audience") {
        return StatusCode::FORBIDDEN.into_response();
    }
    Json(json!({"token": shared.authority.mint("google-id").0})).into_response()
}

/// How a bearer token stands with the workspace: those that it was started with, and those that were minted.
pub(crate) fn standing_of(shared: &Shared, token: &str, now: Duration) -> super::Standing {
    if shared.settings.tokens.iter().any(|known| known.expose_secret() == token) {
        return super::Standing::Accepted;
    }
    shared.authority.standing(token, now)
}
