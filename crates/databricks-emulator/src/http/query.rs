//! Query parameters by name.

use crate::api::error::{ApiError, invalid, reject};
use axum::extract::Query as Pairs;
use axum::http::Uri;

/// Decoded query parameters. If a name is repeated, the last value wins.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(uri: &Uri) -> Result<Self, ApiError> {
        match Pairs::try_from_uri(uri) {
            Ok(Pairs(pairs)) => Ok(Self(pairs)),
            Err(error) => reject!("Invalid query: {error}."),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let error = |_| invalid(format!("Parameter {name} must be a 64-bit integer."));
        text.parse().map(Some).map_err(error)
    }

    /// Only `true` and `false` are valid (databricks-api.md#common-rules). Absent is false.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => reject!("Parameter {name} must be true or false."),
        }
    }

    pub(super) fn path(&self) -> Result<&str, ApiError> {
        self.text("path").ok_or_else(|| invalid("Missing required parameter: path."))
    }

    pub(super) fn run_id(&self) -> Result<i64, ApiError> {
        self.integer("run_id")?.ok_or_else(|| invalid("Missing required parameter: run_id."))
    }
}
