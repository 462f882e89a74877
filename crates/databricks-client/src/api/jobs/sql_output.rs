//! `sql_output` of `runs/get-output` (databricks-api.md#runs-get-output).

use crate::api::json::{Json, Read, read_fields, read_objects, readable};

/// The result of an SQL task. One field is set, by the kind of the task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SqlDashboardOutput {
    /// The id of the warehouse.
    pub warehouse_id: Option<String>,
    /// The widgets that have a query.
    pub widgets: Vec<SqlWidgetOutput>,
}

/// One widget of a dashboard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SqlFileOutput {
    /// The rows, if the service returns them. Documented only in the models of Databricks' SDK for JavaScript.
    pub query_result: Option<SqlQueryResult>,
    /// The text of the file.
    pub query_text: Option<String>,
    /// The id of the warehouse.
    pub warehouse_id: Option<String>,
}

/// The rows of a query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SqlQueryResult {
    /// The columns.
    pub columns: Vec<SqlColumn>,
    /// The rows.
    pub rows: Vec<SqlRow>,
    /// Whether the rows are truncated.
    pub truncated: Option<bool>,
}

/// One column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SqlColumn {
    /// The name of the column.
    pub name: Option<String>,
}

/// One row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SqlRow {
    /// The values, in the order of the columns.
    pub values: Vec<SqlValue>,
}

/// One value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SqlValue {
    /// The value as a string. None for NULL.
    pub string_value: Option<String>,
}

read_objects! {
    SqlOutput { query_output, alert_output, dashboard_output, file_output }
    SqlQueryOutput { alert_state, output_link, query_text, warehouse_id }
    SqlDashboardOutput { warehouse_id, widgets }
    SqlWidgetOutput { widget_id, widget_title, output_link, status }
    SqlFileOutput { query_result, query_text, warehouse_id }
    SqlQueryResult { columns, rows, truncated }
    SqlColumn { name }
    SqlRow { values }
    SqlValue { string_value }
}
readable!(SqlOutput, SqlQueryOutput, SqlDashboardOutput, SqlWidgetOutput, SqlFileOutput);

impl Read for SqlQueryResult {
    fn read(json: Json<'_>) -> Option<Self> {
        let mut result: Self = read_fields(json)?;
        if json.is_exceeded() {
            json.accept_exceeded();
            result.truncated = Some(true);
        }
        Some(result)
    }
}

/// Reads types whose position in an array counts: an element of another form has the default.
macro_rules! read_positions {
    ($($name:ident),*) => {
        $(
            impl Read for $name {
                fn read(json: Json<'_>) -> Option<Self> {
                    Some(read_fields(json).unwrap_or_default())
                }
            }
        )*
    };
}

read_positions!(SqlColumn, SqlRow, SqlValue);
