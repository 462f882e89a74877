//! What a refusal means, by its words: a rejected token, or a rejected network address. Pure.
//!
//! Databricks answers the same refusal with several statuses and in several forms
//! (databricks-api.md#rejected-tokens).

use super::ErrorBody;

/// Parts of messages that reject the token itself, in lower case.
const TOKEN_TEXTS: [&str; 23] = [
    "invalid token",
    "invalid_token",
    "invalid access token",
    "invalid bearer token",
    "invalid authentication token",
    "invalid jwt",
    "malformed token",
    "token is invalid",
    "token is not valid",
    "token is expir",
    "token expired",
    "token has expired",
    "token is revoked",
    "token was revoked",
    "token has been revoked",
    "token not found",
    "jwt expired",
    "jwt has expired",
    "io.jsonwebtoken.",
    "error while parsing token",
    "expected aud claim",
    "credential was not sent",
    // The answer of a host that several workspaces share to a call whose workspace it does not know.
    "unable to load oauth config",
];

/// Parts of messages that reject an expired token under any error code of a 403, in lower case.
const EXPIRED_TOKEN_TEXTS: [&str; 3] = ["token is expir", "token expired", "jwt has expired"];

/// Error codes that do not name the mistake, so that the words decide.
const GENERAL_CODES: [&str; 8] = [
    "BAD_REQUEST",
    "CUSTOMER_UNAUTHORIZED",
    "INVALID_TOKEN",
    "INVALID_ACCESS_TOKEN",
    "MALFORMED_REQUEST",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "UNAUTHORIZED",
];

/// Parts of messages that reject the network address of the caller, in lower case.
const ADDRESS_TEXTS: [&str; 3] = ["ip acl", "ip access list", "source ip address"];

/// True if a response rejects the token itself, in any form. A response about the content of a request, such as
/// an unknown page token, has its own error code.
pub(super) fn rejects_token(status: u16, body: &ErrorBody) -> bool {
    let code = body.code.as_deref().unwrap_or_default();
    match status {
        401 => true,
        400 | 403 if matches!(code, "INVALID_TOKEN" | "INVALID_ACCESS_TOKEN") => true,
        403 if contains_any(body.message.as_deref(), &EXPIRED_TOKEN_TEXTS) => true,
        400 | 403 | 422 => {
            (code.bytes().all(|byte| byte.is_ascii_digit()) || GENERAL_CODES.contains(&code))
                && contains_any(body.message.as_deref(), &TOKEN_TEXTS)
        }
        _ => false,
    }
}

/// True if the message rejects the network address of the caller.
pub(super) fn rejects_address(body: &ErrorBody) -> bool {
    contains_any(body.message.as_deref(), &ADDRESS_TEXTS)
}

fn contains_any(message: Option<&str>, texts: &[&str]) -> bool {
    let message = message.unwrap_or_default().to_ascii_lowercase();
    texts.iter().any(|text| message.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, is_rejected: bool) {
        let parsed = ErrorBody::parse(body.as_bytes());
        assert_eq!(rejects_token(status, &parsed), is_rejected, "{status} {body}");
    }

    #[test]
    fn rejected_token_is_recognised_in_each_reported_form() {
        for (status, body) in [
            (401, ""),
            (
                401,
                r#"{"error_code": 401, "message": "Credential was not sent or was of an unsupported type for this API."}"#,
            ),
            (
                403,
                r#"{"error_code": "FORBIDDEN", "message": "Token is expiring within 30 seconds. (token expired)"}"#,
            ),
            (400, "Invalid Token"),
            (400, "invalid token\n"),
            (400, r#"{"error_code": "BAD_REQUEST", "message": "Invalid Token"}"#),
            (400, r#"{"error_code": 400, "message": "Unable to load OAuth Config"}"#),
            (400, r#"{"message": "Unable to load OAuth Config"}"#),
            (
                400,
                "<html><title>Error 400 io.jsonwebtoken.IncorrectClaimException: Expected aud claim to be: x</title></html>",
            ),
            (
                400,
                r#"{"error_code": "BAD_REQUEST", "message": "Error while parsing token: io.jsonwebtoken.ExpiredJwtException: JWT expired at 2023"}"#,
            ),
            (
                400,
                r#"{"error": "invalid_token", "error_description": "The access token expired", "error_code": "INVALID_TOKEN"}"#,
            ),
            (403, r#"{"error_code": "403", "message": "Invalid access token."}"#),
            (403, r#"{"error_code": 403, "message": "JWT has expired"}"#),
            (
                403,
                r#"{"error_code": 403, "message": "Token is expiring within 30 seconds. (token expired)"}"#,
            ),
            (403, "<html><pre>    Invalid access token.</pre></html>"),
        ] {
            check(status, body, true);
        }
    }

    #[test]
    fn other_refusals_do_not_reject_the_token() {
        for (status, body) in [
            (400, ""),
            (
                400,
                r#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "Invalid token in cron expression"}"#,
            ),
            (400, r#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "Invalid page_token"}"#),
            (400, "Invalid page token"),
            (400, r#"{"error_code": "INVALID_STATE", "message": "Invalid Git token"}"#),
            (
                403,
                r#"{"error_code": "PERMISSION_DENIED", "message": "User may not use this cluster"}"#,
            ),
            (
                403,
                r#"{"error_code": "403", "message": "Source IP address: 203.0.113.7 is blocked by Databricks IP ACL for workspace: 1"}"#,
            ),
            (404, "Invalid Token"),
            (500, "Invalid Token"),
        ] {
            check(status, body, false);
        }
    }
}
