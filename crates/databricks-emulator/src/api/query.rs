//! The query of a call, by name.

use crate::refusal::{Refusal, invalid};
use axum::extract::Query as Pairs;
use axum::http::Uri;

/// The pairs of a query, decoded. Of a name that comes twice the last counts.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(uri: &Uri) -> Result<Self, Refusal> {
        match Pairs::try_from_uri(uri) {
            Ok(Pairs(pairs)) => Ok(Self(pairs)),
            Err(error) => Err(invalid(format!("Invalid query: {error}."))),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let wrong = |_| invalid(format!("Parameter {name} must be a 64-bit integer."));
        text.parse().map(Some).map_err(wrong)
    }

    /// Only the words `true` and `false` (DA §1.0); absent is false.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(invalid(format!("Parameter {name} must be true or false."))),
        }
    }

    pub(super) fn path(&self) -> Result<&str, Refusal> {
        self.text("path").ok_or_else(|| invalid("Missing required parameter: path."))
    }

    pub(super) fn run_id(&self) -> Result<i64, Refusal> {
        self.integer("run_id")?.ok_or_else(|| invalid("Missing required parameter: run_id."))
    }
}
