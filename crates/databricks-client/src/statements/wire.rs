//! The answers about a statement (DA §1.13).

use std::{collections::BTreeMap, fmt};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};

use crate::{Error, ErrorKind, int64};

/// The longest words about a failure that are kept, in characters.
const MAX_WORDS: usize = 500;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Response {
    statement_id: Option<String>,
    status: Option<Status>,
    pub(super) manifest: Option<Manifest>,
    pub(super) result: Option<Data>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    state: Option<String>,
    error: Option<ServiceError>,
    sql_state: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServiceError {
    error_code: Option<String>,
    message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Manifest {
    pub(super) schema: Option<Schema>,
    pub(super) truncated: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Schema {
    #[serde(deserialize_with = "crate::jobs::null_as_default")]
    pub(super) columns: Vec<Column>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Column {
    pub(super) name: Option<String>,
}

/// One part of a result, or where it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Data {
    #[serde(rename = "data_array")]
    pub(super) rows: Option<Vec<Vec<Option<String>>>>,
    #[serde(deserialize_with = "crate::jobs::null_as_default")]
    pub(super) external_links: Vec<ExternalLink>,
    #[serde(deserialize_with = "int64::optional")]
    pub(super) next_chunk_index: Option<i64>,
}

/// Where a part of a result is. The address is a proof of who asks: it is a secret.
#[derive(Deserialize)]
pub(super) struct ExternalLink {
    #[serde(rename = "external_link")]
    pub(super) address: Hidden,
    /// What whoever follows it has to say, perhaps a key.
    #[serde(default, deserialize_with = "crate::jobs::null_as_default")]
    pub(super) http_headers: BTreeMap<String, Hidden>,
    #[serde(default, deserialize_with = "int64::optional")]
    pub(super) next_chunk_index: Option<i64>,
}

/// A text of an answer that is a secret.
pub(super) struct Hidden(SecretString);

impl Hidden {
    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<&str> for Hidden {
    fn from(text: &str) -> Self {
        Self(SecretString::from(text))
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(SecretString::from(text)))
    }
}

impl fmt::Debug for ExternalLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalLink").finish_non_exhaustive()
    }
}

impl Data {
    /// The part that follows this one.
    pub(super) fn next(&self) -> Option<i64> {
        let last = self.external_links.last();
        self.next_chunk_index.or_else(|| last.and_then(|link| link.next_chunk_index))
    }
}

impl Response {
    /// The id, which becomes a part of further addresses.
    pub(super) fn checked_id(&self) -> Result<String, Error> {
        let is_id = |id: &&str| {
            (1..=100).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let id = self.statement_id.as_deref().filter(is_id);
        id.map(ToOwned::to_owned).ok_or_else(|| {
            Error::new(ErrorKind::Decode, "the answer about a statement has no id that can be one")
        })
    }

    /// How far it is, in the service's word.
    pub(super) fn state(&self) -> &str {
        self.status.as_ref().and_then(|status| status.state.as_deref()).unwrap_or_default()
    }

    /// Why a statement that has ended has no result.
    pub(super) fn failure(&self) -> Error {
        let status = self.status.as_ref();
        let error = status.and_then(|status| status.error.as_ref());
        let code = error.and_then(|error| error.error_code.as_deref()).unwrap_or_default();
        let kind = match (self.state(), code) {
            ("CANCELED" | "CLOSED", _) | (_, "ALREADY_EXISTS") => ErrorKind::Conflict,
            (_, "UNAUTHENTICATED") => ErrorKind::Unauthenticated,
            (_, "NOT_FOUND") => ErrorKind::NotFound,
            (_, "RESOURCE_EXHAUSTED") => ErrorKind::RateLimited,
            (_, "DEADLINE_EXCEEDED") => ErrorKind::Timeout,
            (_, "BAD_REQUEST") => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        };
        let words = error.and_then(|error| error.message.as_deref()).unwrap_or_default();
        let words: String =
            words.chars().filter(|character| !character.is_control()).take(MAX_WORDS).collect();
        let sql_state = status.and_then(|status| status.sql_state.as_deref()).unwrap_or_default();
        let facts = [code, sql_state, words.as_str()];
        let facts: Vec<&str> = facts.into_iter().filter(|fact| !fact.is_empty()).collect();
        let facts =
            if facts.is_empty() { String::new() } else { format!(": {}", facts.join(", ")) };
        Error::new(kind, format!("the statement is {}{facts}", self.state()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Response {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_kind_of_a_failure_is_what_the_service_says() {
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
            let failure = read(&format!(r#"{{"status": {status}}}"#)).failure();
            assert_eq!(failure.kind(), kind, "{status}");
            assert!(!failure.to_string().contains('\n'));
        }
        let failed = r#"{"status": {"state": "FAILED", "error": {"error_code": "BAD_REQUEST", "message": "no"}, "sql_state": "42P01"}}"#;
        assert_eq!(
            read(failed).failure().to_string(),
            "the statement is FAILED: BAD_REQUEST, 42P01, no"
        );
    }

    #[test]
    fn what_cannot_be_an_id_is_not_made_part_of_an_address() {
        for id in ["", "../jobs", "a/b", "a?b", "ü"] {
            assert!(read(&format!(r#"{{"statement_id": "{id}"}}"#)).checked_id().is_err(), "{id}");
        }
        assert!(read("{}").checked_id().is_err());
        assert!(read(r#"{"statement_id": "01f0-9a"}"#).checked_id().is_ok());
    }

    #[test]
    fn a_link_shows_nothing_of_itself() {
        let data: Data = serde_json::from_str(
            r#"{"external_links": [{"external_link": "https://s3/?canary", "http_headers": {"x-amz-key": "canary"}, "next_chunk_index": "1"}]}"#,
        )
        .unwrap();
        assert!(!format!("{data:?}").contains("canary"));
        assert_eq!(data.next(), Some(1));
    }
}
