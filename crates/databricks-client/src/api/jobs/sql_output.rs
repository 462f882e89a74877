//! `sql_output` of `runs/get-output` (databricks-api.md#runs-get-output).

use serde::Deserialize;

use crate::api::json;

/// The result of an SQL task. One field is set, by the kind of the task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
pub struct SqlOutput {
    /// The result of a saved query.
    pub query_output: Option<SqlQueryOutput>,
    /// The result of an alert.
    pub alert_output: Option<SqlQueryOutput>,
    /// The result of a dashboard.
    pub dashboard_output: Option<SqlDashboardOutput>,
    /// The result of a file.
    pub file_output: Option<SqlFileOutput>,
}

/// The result of a saved query or an alert. Contains a link instead of the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlQueryOutput {
    /// `OK`, `TRIGGERED` or `UNKNOWN`, for an alert.
    pub alert_state: Option<String>,
    /// The URL of the page with the rows.
    pub output_link: Option<String>,
    /// The text of the query, if the caller may see it.
    pub query_text: Option<String>,
    /// The id of the warehouse.
    pub warehouse_id: Option<String>,
}

/// The result of a dashboard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlDashboardOutput {
    /// The id of the warehouse.
    pub warehouse_id: Option<String>,
    /// The widgets that have a query.
    #[serde(deserialize_with = "json::null_as_default")]
    pub widgets: Vec<SqlWidgetOutput>,
}

/// One widget of a dashboard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlWidgetOutput {
    /// The id of the widget.
    pub widget_id: Option<String>,
    /// The title of the widget.
    pub widget_title: Option<String>,
    /// The URL of the page with the rows.
    pub output_link: Option<String>,
    /// The status, such as `SUCCESS` or `FAILED`.
    pub status: Option<String>,
}

/// The result of the statements of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlFileOutput {
    /// The rows, if the service returns them. Documented only in the models of Databricks' SDK for JavaScript.
    pub query_result: Option<SqlQueryResult>,
    /// The text of the file.
    pub query_text: Option<String>,
    /// The id of the warehouse.
    pub warehouse_id: Option<String>,
}

/// The rows of a query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlQueryResult {
    /// The columns.
    #[serde(deserialize_with = "json::null_as_default")]
    pub columns: Vec<SqlColumn>,
    /// The rows.
    #[serde(deserialize_with = "json::null_as_default")]
    pub rows: Vec<SqlRow>,
    /// Whether the rows are truncated.
    pub truncated: Option<bool>,
}

/// One column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlColumn {
    /// The name of the column.
    pub name: Option<String>,
}

/// One row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlRow {
    /// The values, in the order of the columns.
    #[serde(deserialize_with = "json::null_as_default")]
    pub values: Vec<SqlValue>,
}

/// One value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SqlValue {
    /// The value as a string. None for NULL.
    pub string_value: Option<String>,
}
