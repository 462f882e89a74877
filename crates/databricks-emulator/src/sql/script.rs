//! Scripts: the configured states and results of SQL statements.

use super::BoundParameters;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The states and the result of a statement. The default succeeds immediately with an empty result.
///
/// ```
/// use databricks_emulator::{StatementRows, StatementScript};
///
/// let script = StatementScript::rows(StatementRows::new(
///     [("instance_id", "STRING"), ("cpu", "DOUBLE")],
///     [["i-1", "12.5"], ["i-2", "80.0"]],
/// ));
/// let same: StatementScript = serde_json::from_str(
///     r#"{"outcome": {"rows": {"columns": [["instance_id", "STRING"], ["cpu", "DOUBLE"]],
///                              "rows": [["i-1", "12.5"], ["i-2", "80.0"]]}}}"#,
/// )?;
/// assert_eq!(script, same);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct StatementScript {
    /// The number of polls that return PENDING.
    pub pending_polls: u32,
    /// The number of polls that then return RUNNING.
    pub running_polls: u32,
    /// How the statement ends unless it is cancelled.
    pub outcome: StatementOutcome,
    /// The number of rows per result chunk. 0: one chunk.
    pub rows_per_chunk: usize,
    /// Headers that a request for an external link must have. The API returns them with the link.
    pub link_headers: BTreeMap<String, String>,
}

/// How a statement ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatementOutcome {
    /// SUCCEEDED with these rows.
    Rows(StatementRows),
    /// FAILED. The response status is 200 (databricks-api.md#sql-statements).
    Failed {
        /// The error code of the service, such as `BAD_REQUEST`.
        error_code: String,
        /// The error message.
        message: String,
        /// The SQLSTATE, such as `42P01`.
        sql_state: Option<String>,
    },
    /// CLOSED: the statement succeeded, and its result is no longer available.
    Closed,
}

impl Default for StatementOutcome {
    fn default() -> Self {
        Self::Rows(StatementRows::default())
    }
}

/// A result table. Values are strings or NULL, as in the API. A value `:name` is replaced by the request's parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementRows {
    /// Column names and types.
    pub columns: Vec<(String, String)>,
    /// The rows, each with one value per column.
    pub rows: Vec<Vec<Option<String>>>,
}

impl StatementRows {
    /// Creates a table without NULL values.
    pub fn new<const N: usize>(
        columns: [(&str, &str); N],
        rows: impl IntoIterator<Item = [&'static str; N]>,
    ) -> Self {
        let columns = columns.map(|(name, kind)| (name.to_owned(), kind.to_owned())).into();
        let row = |row: [&str; N]| row.map(|value| Some(value.to_owned())).into();
        Self { columns, rows: rows.into_iter().map(row).collect() }
    }

    /// Returns the rows with `:name` values replaced.
    pub(super) fn bind(&self, bound: &BoundParameters) -> Vec<Vec<Option<String>>> {
        let value = |value: &Option<String>| {
            let name = value.as_deref().and_then(|text| text.strip_prefix(':'));
            name.and_then(|name| bound.get(name)).cloned().unwrap_or_else(|| value.clone())
        };
        self.rows.iter().map(|row| row.iter().map(value).collect()).collect()
    }

    pub(super) fn bytes(&self) -> usize {
        self.rows.iter().flatten().map(|value| value.as_ref().map_or(4, String::len)).sum()
    }
}

impl StatementScript {
    /// Creates a script that succeeds immediately with these rows.
    pub fn rows(rows: StatementRows) -> Self {
        Self { outcome: StatementOutcome::Rows(rows), ..Self::default() }
    }

    /// Creates a script that fails immediately.
    pub fn failed(error_code: &str, message: &str, sql_state: Option<&str>) -> Self {
        let outcome = StatementOutcome::Failed {
            error_code: error_code.to_owned(),
            message: message.to_owned(),
            sql_state: sql_state.map(ToOwned::to_owned),
        };
        Self { outcome, ..Self::default() }
    }

    /// Creates the failure of a statement without a script.
    pub(super) fn unscripted() -> Self {
        let message = "[TABLE_OR_VIEW_NOT_FOUND] the emulator executes no SQL and has no script for this statement";
        Self::failed("BAD_REQUEST", message, Some("42P01"))
    }

    /// Creates the failure of a statement with an unbound parameter marker.
    pub(super) fn unbound_marker(marker: &str) -> Self {
        let message = format!("[UNBOUND_SQL_PARAMETER] no value is bound to the marker {marker}");
        Self::failed("BAD_REQUEST", &message, Some("42P02"))
    }
}

/// An accepted statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatementSummary {
    /// The statement id.
    pub statement_id: String,
    /// The warehouse of the request.
    pub warehouse_id: String,
    /// The SQL text.
    pub statement: String,
    /// The parameters. `None` is NULL.
    pub parameters: BTreeMap<String, Option<String>>,
    /// The state as the API returns it.
    pub state: String,
}

/// The state of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatementState {
    Pending,
    Running,
    Canceled,
    Finished,
}
