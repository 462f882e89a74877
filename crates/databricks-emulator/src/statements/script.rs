//! What comes of statements, chosen before they are sent.

use super::Bound;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The life of a statement. The default ends at once, with no rows and no columns.
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
pub struct StatementScript {
    /// How many times the state is asked for while it is PENDING.
    pub pending_polls: u32,
    /// How many times while it is RUNNING.
    pub running_polls: u32,
    /// How it ends, when nobody cancels it.
    pub outcome: StatementOutcome,
    /// How many rows a chunk of the result has; 0: all of them.
    pub rows_per_chunk: usize,
    /// What the storage wants to see in the headers of whoever follows an external link. The link says so.
    pub link_headers: BTreeMap<String, String>,
}

/// How a statement ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatementOutcome {
    /// SUCCEEDED, with rows.
    Rows(StatementRows),
    /// FAILED, which is an answer of 200 (DA §1.13).
    Failed {
        /// One of the service's words, such as `BAD_REQUEST`.
        error_code: String,
        /// In words.
        message: String,
        /// The standard code, such as `42P01`.
        sql_state: Option<String>,
    },
    /// CLOSED: it succeeded, and its result is not there any more.
    Closed,
}

impl Default for StatementOutcome {
    fn default() -> Self {
        Self::Rows(StatementRows::default())
    }
}

/// A table. Every value is text or NULL, as in the answers. A cell such as `:name` shows what the request bound to that
/// name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementRows {
    /// Names and types.
    pub columns: Vec<(String, String)>,
    /// Values, as many as there are columns.
    pub rows: Vec<Vec<Option<String>>>,
}

impl StatementRows {
    /// A table without NULL.
    pub fn new<const N: usize>(
        columns: [(&str, &str); N],
        rows: impl IntoIterator<Item = [&'static str; N]>,
    ) -> Self {
        let columns = columns.map(|(name, kind)| (name.to_owned(), kind.to_owned())).into();
        let row = |row: [&str; N]| row.map(|value| Some(value.to_owned())).into();
        Self { columns, rows: rows.into_iter().map(row).collect() }
    }

    /// The rows with what is bound to their markers.
    pub(super) fn bound(&self, bound: &Bound) -> Vec<Vec<Option<String>>> {
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
    /// Success at once with these rows.
    #[must_use]
    pub fn rows(rows: StatementRows) -> Self {
        Self { outcome: StatementOutcome::Rows(rows), ..Self::default() }
    }

    /// Failure at once.
    #[must_use]
    pub fn failed(error_code: &str, message: &str, sql_state: Option<&str>) -> Self {
        let outcome = StatementOutcome::Failed {
            error_code: error_code.to_owned(),
            message: message.to_owned(),
            sql_state: sql_state.map(ToOwned::to_owned),
        };
        Self { outcome, ..Self::default() }
    }

    /// What nobody has a script for.
    pub(super) fn unknown() -> Self {
        let message = "[TABLE_OR_VIEW_NOT_FOUND] the emulator executes nothing, and has no script for this statement";
        Self::failed("BAD_REQUEST", message, Some("42P01"))
    }

    /// A marker without a value.
    pub(super) fn unbound(marker: &str) -> Self {
        let message = format!("[UNBOUND_SQL_PARAMETER] no value is bound to the marker {marker}");
        Self::failed("BAD_REQUEST", &message, Some("42P02"))
    }
}

/// A statement that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatementSummary {
    /// Its id.
    pub statement_id: String,
    /// Where it went.
    pub warehouse_id: String,
    /// Its text.
    pub statement: String,
    /// What was bound to its names; none for NULL.
    pub parameters: BTreeMap<String, Option<String>>,
    /// Its state, in the service's word.
    pub state: String,
}

/// How far a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Pending,
    Running,
    Canceled,
    Ended,
}
