//! The responses of the Statement Execution API (databricks-api.md#sql-statements).

use std::{collections::BTreeMap, fmt};

use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    Error, ErrorKind,
    api::json::{Json, Read, read_fields, read_objects, readable},
};

/// The maximum length of an error message, in characters.
const MAX_MESSAGE: usize = 500;

#[derive(Debug, Default)]
pub(super) struct StatementResponse {
    statement_id: Option<String>,
    status: Option<Status>,
    pub(super) manifest: Option<Manifest>,
    pub(super) result: Option<Chunk>,
}

#[derive(Debug, Default)]
struct Status {
    state: Option<String>,
    error: Option<ServiceError>,
    sql_state: Option<String>,
}

#[derive(Debug, Default)]
struct ServiceError {
    error_code: Option<String>,
    message: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Manifest {
    pub(super) schema: Option<Schema>,
    pub(super) truncated: Option<bool>,
}

#[derive(Debug, Default)]
pub(super) struct Schema {
    pub(super) columns: Vec<Column>,
}

#[derive(Debug, Default)]
pub(super) struct Column {
    pub(super) name: Option<String>,
}

/// One chunk of a result, or the links to it.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) rows: Option<Vec<Vec<Option<String>>>>,
    pub(super) external_links: Vec<ExternalLink>,
    pub(super) next_chunk_index: Option<i64>,
}

/// A link to a part of a result. The URL grants access, so it is a secret.
#[derive(Default)]
pub(super) struct ExternalLink {
    pub(super) url: SecretText,
    /// The headers to send. They may contain a key.
    pub(super) http_headers: BTreeMap<String, SecretText>,
    pub(super) next_chunk_index: Option<i64>,
}

/// A secret in a response.
#[derive(Default)]
pub(super) struct SecretText(SecretString);

impl SecretText {
    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self(SecretString::from(text))
    }
}

impl Read for SecretText {
    fn read(json: Json<'_>) -> Option<Self> {
        json.read::<String>().map(|text| Self(SecretString::from(text)))
    }
}

read_objects! {
    StatementResponse { statement_id, status, manifest, result }
    Status { state, error, sql_state }
    ServiceError { error_code, message }
    Manifest { schema, truncated }
    Schema { columns }
    Column { name }
    Chunk { rows = "data_array", external_links, next_chunk_index }
    ExternalLink { url = "external_link", http_headers, next_chunk_index }
}
readable!(StatementResponse, Status, ServiceError, Manifest, Schema, Chunk, ExternalLink);

/// The position of a column counts, so one of another form has no name.
impl Read for Column {
    fn read(json: Json<'_>) -> Option<Self> {
        Some(read_fields(json).unwrap_or_default())
    }
}

impl fmt::Debug for ExternalLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalLink").finish_non_exhaustive()
    }
}

impl Chunk {
    /// Returns the index of the next chunk.
    pub(super) fn next_index(&self) -> Option<i64> {
        let last = self.external_links.last();
        self.next_chunk_index.or_else(|| last.and_then(|link| link.next_chunk_index))
    }
}

impl StatementResponse {
    /// Returns the id, which is used in further paths.
    pub(super) fn checked_id(&self) -> Result<String, Error> {
        let is_id = |id: &&str| {
            (1..=100).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let id = self.statement_id.as_deref().filter(is_id);
        id.map(ToOwned::to_owned).ok_or_else(|| {
            Error::new(ErrorKind::Decode, "the response contains no valid statement id")
        })
    }

    /// Returns the state.
    pub(super) fn state(&self) -> &str {
        self.status.as_ref().and_then(|status| status.state.as_deref()).unwrap_or_default()
    }

    /// Returns the error of a statement that ended without a result.
    pub(super) fn error(&self) -> Error {
        let status = self.status.as_ref();
        let details = status.and_then(|status| status.error.as_ref());
        let code = details.and_then(|error| error.error_code.as_deref()).unwrap_or_default();
        let kind = match (self.state(), code) {
            ("CANCELED" | "CLOSED", _) | (_, "ALREADY_EXISTS") => ErrorKind::Conflict,
            (_, "UNAUTHENTICATED") => ErrorKind::Unauthenticated,
            (_, "NOT_FOUND") => ErrorKind::NotFound,
            (_, "RESOURCE_EXHAUSTED") => ErrorKind::RateLimited,
            (_, "DEADLINE_EXCEEDED") => ErrorKind::Timeout,
            (_, "BAD_REQUEST") => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        };
        let message = details.and_then(|error| error.message.as_deref()).unwrap_or_default();
        let message: String =
            message.chars().filter(|character| !character.is_control()).take(MAX_MESSAGE).collect();
        let sql_state = status.and_then(|status| status.sql_state.as_deref()).unwrap_or_default();
        let parts = [code, sql_state, message.as_str()];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let separator = if parts.is_empty() { "" } else { ": " };
        let text = format!("the statement is {}{separator}{}", self.state(), parts.join(", "));
        Error::new(kind, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::json::{Bounds, read_object};

    fn read(json: &str) -> StatementResponse {
        read_object(json.to_owned().into(), Bounds::RESPONSE).unwrap().0
    }

    #[test]
    fn error_code_determines_the_kind() {
        for (status, kind) in [
            (
                r#"{"state": "FAILED", "error": {"error_code": "BAD_REQUEST", "message": "[TABLE_OR_VIEW_NOT_FOUND] no\n such"}, "sql_state": "42P01"}"#,
                ErrorKind::Invalid,
            ),
            (
                r#"{"state": "FAILED", "error": {"error_code": "TEMPORARILY_UNAVAILABLE"}}"#,
                ErrorKind::Unavailable,
            ),
            (r#"{"state": "FAILED", "error": {"error_code": "NOVEL"}}"#, ErrorKind::Unavailable),
            (r#"{"state": "CANCELED"}"#, ErrorKind::Conflict),
            (r#"{"state": "CLOSED"}"#, ErrorKind::Conflict),
        ] {
            let error = read(&format!(r#"{{"status": {status}}}"#)).error();
            assert_eq!(error.kind(), kind, "{status}");
            assert!(!error.to_string().contains('\n'));
        }
        let failed = r#"{"status": {"state": "FAILED", "error": {"error_code": "BAD_REQUEST", "message": "no"}, "sql_state": "42P01"}}"#;
        assert_eq!(
            read(failed).error().to_string(),
            "the statement is FAILED: BAD_REQUEST, 42P01, no"
        );
    }

    #[test]
    fn invalid_id_is_rejected() {
        for id in ["", "../jobs", "a/b", "a?b", "ü"] {
            assert!(read(&format!(r#"{{"statement_id": "{id}"}}"#)).checked_id().is_err(), "{id}");
        }
        assert!(read("{}").checked_id().is_err());
        assert!(read(r#"{"statement_id": "01f0-9a"}"#).checked_id().is_ok());
    }

    #[test]
    fn debug_of_a_link_shows_no_secret() {
        let (chunk, _) = read_object::<Chunk>(
            r#"{"external_links": [{"external_link": "https://s3/?canary", "http_headers": {"x-amz-key": "canary"}, "next_chunk_index": "1"}]}"#.into(),
            Bounds::RESPONSE,
        )
        .unwrap();
        assert!(!format!("{chunk:?}").contains("canary"));
        assert_eq!(chunk.next_index(), Some(1));
    }
}
