//! The answers that say no, in the service's own shapes (DA §3.4, §3.5).

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A JSON error answer: status, `error_code`, `message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) error_code: &'static str,
    pub(crate) message: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error_code": self.error_code, "message": self.message})))
            .into_response()
    }
}

/// 400 for what a field may not be.
pub(crate) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        error_code: "INVALID_PARAMETER_VALUE",
        message: message.into(),
    }
}

/// 400 for a body that is no JSON object.
pub(crate) fn malformed(message: impl Into<String>) -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        error_code: "MALFORMED_REQUEST",
        message: message.into(),
    }
}

/// 400 for a run that the workspace does not have. The wording is what clients match (DA §3.2, §3.3).
pub(crate) fn unknown_run(run_id: i64) -> Refusal {
    invalid(format!("Run {run_id} does not exist."))
}

/// 404 for what a call names by its id.
pub(crate) fn missing(message: impl Into<String>) -> Refusal {
    Refusal {
        status: StatusCode::NOT_FOUND,
        error_code: "RESOURCE_DOES_NOT_EXIST",
        message: message.into(),
    }
}

/// 404 for a path that is not served.
pub(crate) fn unknown_endpoint(method: &str, path: &str) -> Refusal {
    Refusal {
        status: StatusCode::NOT_FOUND,
        error_code: "ENDPOINT_NOT_FOUND",
        message: format!("No API found for '{method} {path}'."),
    }
}

/// 413 for a body over the limit of DA §1.0.
pub(crate) fn too_large(limit: usize) -> Refusal {
    Refusal {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        error_code: "BAD_REQUEST",
        message: format!("The request body is larger than the maximum of {limit} bytes."),
    }
}

/// 401 for a request without a bearer token.
pub(crate) fn no_credential() -> Refusal {
    Refusal {
        status: StatusCode::UNAUTHORIZED,
        error_code: "UNAUTHENTICATED",
        message: "Request to the workspace has no bearer token in its Authorization header."
            .to_owned(),
    }
}

/// 500 for what the emulator was told to say and cannot.
pub(crate) fn unsayable(message: String) -> Refusal {
    Refusal { status: StatusCode::INTERNAL_SERVER_ERROR, error_code: "EMULATOR_FAULT", message }
}

/// 401 for a token that has ended or was revoked.
pub(crate) fn ended_token() -> Refusal {
    Refusal {
        status: StatusCode::UNAUTHORIZED,
        error_code: "UNAUTHENTICATED",
        message: "Credential was not sent or was of an unsupported type for this API.".to_owned(),
    }
}

/// 403 for a token that the workspace does not know: a page, not JSON (DA §10.3).
pub(crate) fn unknown_token() -> Response {
    let page = "<html>\n<head><title>Error 403</title></head>\n<body><h2>HTTP ERROR 403</h2>\n\
                <pre>Invalid access token.</pre></body>\n</html>\n";
    (StatusCode::FORBIDDEN, [(header::CONTENT_TYPE, "text/html;charset=utf-8")], page)
        .into_response()
}

/// 403 for a token that has expired, or will so soon that the workspace does not take it any more (DA §4.5).
pub(crate) fn expired_token() -> Refusal {
    Refusal {
        status: StatusCode::FORBIDDEN,
        error_code: "PERMISSION_DENIED",
        message: "Token is expiring within 30 seconds. (token expired)".to_owned(),
    }
}

/// 429 of the limit on calls (DA §3.5).
pub(crate) fn rate_limited() -> Refusal {
    Refusal {
        status: StatusCode::TOO_MANY_REQUESTS,
        error_code: "REQUEST_LIMIT_EXCEEDED",
        message: "The workspace gets more calls than it takes.".to_owned(),
    }
}

/// 404 of a gateway that does not know this version of the API (DA §1.0, §10.3).
pub(crate) fn bad_target(path: &str) -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"error": format!("Bad Target: {path}")}))).into_response()
}
