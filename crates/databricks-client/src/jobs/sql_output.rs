//! What SQL returned: the part `sql_output` of `runs/get-output` (DA §1.4).

use serde::Deserialize;

use super::null_as_default;

/// What an SQL task returned: one of these, by the kind of its work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
pub struct SqlOutput {
    /// Of a saved query.
    pub query_output: Option<SqlQueryOutput>,
    /// Of an alert.
    pub alert_output: Option<SqlAlertOutput>,
    /// Of a dashboard.
    pub dashboard_output: Option<SqlDashboardOutput>,
    /// Of a file.
    pub file_output: Option<SqlFileOutput>,
}

/// What a saved query returned: not its rows, but where they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlQueryOutput {
    /// The page with the rows.
    pub output_link: Option<String>,
    /// Its text, for those who may see it.
    pub query_text: Option<String>,
    /// The warehouse it ran on.
    pub warehouse_id: Option<String>,
}

/// What an alert found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlAlertOutput {
    /// `OK`, `TRIGGERED` or `UNKNOWN`.
    pub alert_state: Option<String>,
    /// The page with the rows of its query.
    pub output_link: Option<String>,
    /// The text of its query, for those who may see it.
    pub query_text: Option<String>,
    /// The warehouse it ran on.
    pub warehouse_id: Option<String>,
}

/// What a dashboard showed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlDashboardOutput {
    /// The warehouse it ran on.
    pub warehouse_id: Option<String>,
    /// Its widgets, those of queries alone.
    #[serde(deserialize_with = "null_as_default")]
    pub widgets: Vec<SqlWidgetOutput>,
}

/// One widget of a dashboard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlWidgetOutput {
    /// Its id.
    pub widget_id: Option<String>,
    /// Its title.
    pub widget_title: Option<String>,
    /// The page with its rows.
    pub output_link: Option<String>,
    /// `SUCCESS`, `FAILED` and the like.
    pub status: Option<String>,
}

/// What the statements of a file returned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlFileOutput {
    /// The rows, where the service has them. Known from the models of Databricks' SDK for JavaScript.
    pub query_result: Option<SqlQueryResult>,
    /// The text of the file.
    pub query_text: Option<String>,
    /// The warehouse it ran on.
    pub warehouse_id: Option<String>,
}

/// Rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlQueryResult {
    /// The columns.
    #[serde(deserialize_with = "null_as_default")]
    pub columns: Vec<SqlColumn>,
    /// The rows.
    #[serde(deserialize_with = "null_as_default")]
    pub rows: Vec<SqlRow>,
    /// Whether there were more.
    pub truncated: Option<bool>,
}

/// One column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlColumn {
    /// Its name.
    pub name: Option<String>,
}

/// One row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlRow {
    /// Its values, in the order of the columns.
    #[serde(deserialize_with = "null_as_default")]
    pub values: Vec<SqlValue>,
}

/// One value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlValue {
    /// The value as text; none for null.
    pub string_value: Option<String>,
}
