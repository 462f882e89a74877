//! Error responses in the formats of the service (databricks-api.md#error-bodies, databricks-api.md#error-codes).

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A JSON error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) error_code: &'static str,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        error_code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { status, error_code, message: message.into() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error_code": self.error_code, "message": self.message})))
            .into_response()
    }
}

/// 400 for an invalid field or parameter.
pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "INVALID_PARAMETER_VALUE", message)
}

/// An `Err` with [`invalid`] and a formatted message.
macro_rules! reject {
    ($($message:tt)*) => { Err($crate::api::error::invalid(format!($($message)*))) };
}
pub(crate) use reject;

/// 400 for a body that is not a JSON object.
pub(crate) fn malformed(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "MALFORMED_REQUEST", message)
}

/// 400 for an unknown run. Clients match this message (databricks-api.md#missing-runs).
pub(crate) fn unknown_run(run_id: i64) -> ApiError {
    invalid(format!("Run {run_id} does not exist."))
}

/// 404 for an unknown object.
pub(crate) fn missing(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "RESOURCE_DOES_NOT_EXIST", message)
}

/// 404 for an unknown path.
pub(crate) fn unknown_endpoint(method: &str, path: &str) -> ApiError {
    let message = format!("No API found for '{method} {path}'.");
    ApiError::new(StatusCode::NOT_FOUND, "ENDPOINT_NOT_FOUND", message)
}

/// 413 for a body over the limit (databricks-api.md#common-rules).
pub(crate) fn too_large(limit: usize) -> ApiError {
    let message = format!("The request body is larger than the maximum of {limit} bytes.");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "BAD_REQUEST", message)
}

/// 401 for a request without a bearer token.
pub(crate) fn no_credential() -> ApiError {
    let message = "Request to the workspace has no bearer token in its Authorization header.";
    ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", message)
}

/// 500 for a configured response that is not valid HTTP.
pub(crate) fn invalid_response(message: String) -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "EMULATOR_FAULT", message)
}

/// 401 for an expired or revoked token.
pub(crate) fn expired_token() -> ApiError {
    let message = "Credential was not sent or was of an unsupported type for this API.";
    ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", message)
}

/// 403 for an unknown token: an HTML page, not JSON (databricks-api.md#further-facts).
pub(crate) fn unknown_token() -> Response {
    let page = "<html>\n<head><title>Error 403</title></head>\n<body><h2>HTTP ERROR 403</h2>\n\
                <pre>Invalid access token.</pre></body>\n</html>\n";
    (StatusCode::FORBIDDEN, [(header::CONTENT_TYPE, "text/html;charset=utf-8")], page)
        .into_response()
}

/// 403 for a token that expires within 30 seconds (databricks-api.md#oauth).
pub(crate) fn expiring_token() -> ApiError {
    let message = "Token is expiring within 30 seconds. (token expired)";
    ApiError::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", message)
}

/// 429 for exceeding the rate limit (databricks-api.md#error-codes).
pub(crate) fn rate_limited() -> ApiError {
    let message = "The workspace has exceeded its request rate limit.";
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "REQUEST_LIMIT_EXCEEDED", message)
}

/// 404 of a gateway that does not support this API version (databricks-api.md#further-facts).
pub(crate) fn bad_target(path: &str) -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"error": format!("Bad Target: {path}")}))).into_response()
}
