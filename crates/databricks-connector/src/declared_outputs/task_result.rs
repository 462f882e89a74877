//! The result of a task, by its type (databricks-api.md#runs-get-output). Pure.

use databricks_client::{
    RunId,
    jobs::{Outcome, Run, RunOutput, RunTask, SqlOutput, SqlQueryResult},
};
use serde_json::{Map, Value, json};

/// The result of a task.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TaskResult {
    /// The text that a notebook returned.
    Text(String),
    /// The first row of a SQL result, or facts about an alert, query or dashboard.
    Row {
        /// The values by column, the most relevant first.
        columns: Vec<Column>,
        /// The object result.
        object: Map<String, Value>,
    },
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// The value as text; `None` for null.
    pub(super) value: Option<String>,
}

/// Where the result of a task is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ResultSource {
    /// In the output of the task.
    Output(TaskResult),
    /// In the run that the task started.
    TriggeredRun(RunId),
}

/// Returns the task whose result is the run's: the last one that succeeded and that no succeeded task depends on.
pub(super) fn last_task(run: &Run) -> Option<&RunTask> {
    let tasks = run.latest_attempts();
    let succeeded =
        |task: &RunTask| task.outcome() == Some(Outcome::Succeeded) && !task.was_skipped();
    let is_last = |task: &RunTask| {
        let depends = |other: &&RunTask| {
            succeeded(other) && other.depends_on.iter().any(|on| on.task_key == task.task_key)
        };
        !tasks.iter().any(depends)
    };
    tasks.iter().rev().find(|task| succeeded(task) && is_last(task)).copied()
}

/// Returns the result in the output of a task.
///
/// # Errors
///
/// The reason why there is no result.
pub(super) fn of_output(output: RunOutput) -> Result<ResultSource, String> {
    if let Some(notebook) = output.notebook_output
        && let Some(text) = notebook.result
    {
        return if notebook.truncated == Some(true) {
            Err("the notebook's result exceeds the 5 MB that Databricks keeps; write it to storage and return its URL".to_owned())
        } else {
            Ok(ResultSource::Output(TaskResult::Text(text)))
        };
    }
    if let Some(run_id) = output.run_job_output.and_then(|triggered| triggered.run_id) {
        return Ok(ResultSource::TriggeredRun(run_id));
    }
    let sql = output.sql_output.and_then(of_sql);
    let alert = || {
        let state = output.alert_output.and_then(|alert| alert.alert_state)?;
        Some(facts(&[("alert_state", Some(state))]))
    };
    sql.or_else(alert).map(ResultSource::Output).ok_or_else(|| {
        "it has no result; a notebook returns one with `dbutils.notebook.exit`, a SQL file with the rows of its query, \
         an alert with its state"
            .to_owned()
    })
}

fn of_sql(sql: SqlOutput) -> Option<TaskResult> {
    if let Some(file) = sql.file_output {
        return file.query_result.map(of_rows);
    }
    if let Some(alert) = sql.alert_output {
        return Some(facts(&[
            ("alert_state", alert.alert_state),
            ("output_link", alert.output_link),
            ("query_text", alert.query_text),
            ("warehouse_id", alert.warehouse_id),
        ]));
    }
    if let Some(query) = sql.query_output {
        return Some(facts(&[
            ("output_link", query.output_link),
            ("query_text", query.query_text),
            ("warehouse_id", query.warehouse_id),
        ]));
    }
    let dashboard = sql.dashboard_output?;
    let widgets: Vec<Value> = dashboard
        .widgets
        .iter()
        .map(|widget| {
            json!({
                "widget_id": widget.widget_id, "widget_title": widget.widget_title,
                "output_link": widget.output_link, "status": widget.status,
            })
        })
        .collect();
    let mut object = Map::new();
    object.insert("widgets".to_owned(), Value::Array(widgets));
    object.insert("warehouse_id".to_owned(), json!(dashboard.warehouse_id));
    Some(TaskResult::Row { columns: Vec::new(), object })
}

/// Converts facts to a row.
fn facts(facts: &[(&str, Option<String>)]) -> TaskResult {
    let column = |(name, value): &(&str, Option<String>)| Column {
        name: (*name).to_owned(),
        value: value.clone(),
    };
    let object = facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    TaskResult::Row { columns: facts.iter().map(column).collect(), object }
}

fn of_rows(result: SqlQueryResult) -> TaskResult {
    let names: Vec<String> =
        result.columns.into_iter().map(|column| column.name.unwrap_or_default()).collect();
    let rows: Vec<Vec<Option<String>>> = result
        .rows
        .into_iter()
        .map(|row| row.values.into_iter().map(|value| value.string_value).collect())
        .collect();
    let first = rows.first().cloned().unwrap_or_default();
    let mut object = Map::new();
    object.insert("columns".to_owned(), json!(names));
    object.insert("rows".to_owned(), json!(rows));
    object.insert("truncated".to_owned(), json!(result.truncated == Some(true)));
    let columns = names.into_iter().zip(first).map(|(name, value)| Column { name, value });
    TaskResult::Row { columns: columns.collect(), object }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(output: Value) -> Result<ResultSource, String> {
        of_output(serde_json::from_value(output).unwrap())
    }

    fn row(output: Value) -> (Vec<(String, Option<String>)>, Value) {
        match task(output) {
            Ok(ResultSource::Output(TaskResult::Row { columns, object })) => (
                columns.into_iter().map(|column| (column.name, column.value)).collect(),
                Value::Object(object),
            ),
            other => panic!("{other:?}"),
        }
    }

    fn pairs(pairs: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.map(ToOwned::to_owned)))
            .collect()
    }

    #[test]
    fn notebook_returns_text_unless_it_is_truncated() {
        assert_eq!(
            task(json!({"notebook_output": {"result": "7", "truncated": false}})),
            Ok(ResultSource::Output(TaskResult::Text("7".to_owned())))
        );
        let cut = task(json!({"notebook_output": {"result": "7", "truncated": true}}));
        assert!(cut.unwrap_err().contains("5 MB"));
    }

    #[test]
    fn sql_file_returns_its_rows() {
        let (columns, object) = row(json!({"sql_output": {"file_output": {"query_result": {
            "columns": [{"name": "a"}, {"name": "b"}], "truncated": true,
            "rows": [{"values": [{"string_value": "1"}, {}]}, {"values": [{"string_value": "2"}]}]}}}}));
        assert_eq!(columns, pairs(&[("a", Some("1")), ("b", None)]));
        assert_eq!(
            object,
            json!({"columns": ["a", "b"], "rows": [["1", null], ["2"]], "truncated": true})
        );
    }

    #[test]
    fn alerts_queries_and_dashboards_return_facts() {
        let alert =
            json!({"sql_output": {"alert_output": {"alert_state": "OK", "warehouse_id": "w"}}});
        let (columns, object) = row(alert);
        assert_eq!(columns.first(), pairs(&[("alert_state", Some("OK"))]).first());
        assert_eq!(object["warehouse_id"], "w");
        let query = json!({"sql_output": {"query_output": {"output_link": "https://x"}}});
        assert_eq!(row(query).0.first(), pairs(&[("output_link", Some("https://x"))]).first());
        let dashboard =
            json!({"sql_output": {"dashboard_output": {"widgets": [{"widget_title": "t"}]}}});
        let (columns, object) = row(dashboard);
        assert!(columns.is_empty());
        assert_eq!(object["widgets"][0]["widget_title"], "t");
        let alert_task = json!({"alert_output": {"alert_state": "TRIGGERED"}});
        assert_eq!(row(alert_task).0, pairs(&[("alert_state", Some("TRIGGERED"))]));
    }

    #[test]
    fn triggered_run_is_followed_and_a_missing_result_is_an_error() {
        let triggered = task(json!({"run_job_output": {"run_id": 7}}));
        assert_eq!(triggered, Ok(ResultSource::TriggeredRun("7".parse().unwrap())));
        for output in [
            json!({}),
            json!({"logs": "x", "notebook_output": {}, "run_job_output": {}}),
            json!({"sql_output": {"file_output": {"query_text": "create table"}}}),
            json!({"sql_output": "a form of tomorrow"}),
        ] {
            assert!(task(output).unwrap_err().contains("it has no result"));
        }
    }

    #[test]
    fn the_last_succeeded_task_has_the_result() {
        let ended = |key: &str, result: &str, on: Value| {
            json!({"task_key": key, "depends_on": on,
                "state": {"life_cycle_state": "TERMINATED", "result_state": result}})
        };
        let on = |key: &str| json!([{"task_key": key}]);
        let last = |tasks: Value| -> Option<String> {
            let run: Run = serde_json::from_value(json!({"tasks": tasks})).unwrap();
            last_task(&run).map(|task| task.task_key.clone())
        };
        // The API does not guarantee an order.
        assert_eq!(
            last(json!([ended("b", "SUCCESS", on("a")), ended("a", "SUCCESS", json!([]))])),
            Some("b".to_owned())
        );
        // The branch that was not taken has no result.
        assert_eq!(
            last(json!([
                ended("if", "SUCCESS", json!([])),
                ended("yes", "SUCCESS", on("if")),
                ended("no", "EXCLUDED", on("if")),
            ])),
            Some("yes".to_owned())
        );
        assert_eq!(last(json!([])), None);
    }
}
