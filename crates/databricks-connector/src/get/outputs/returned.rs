//! What the tasks of a run returned, each kind in its own way (DA §1.4). Pure.

use databricks_client::{
    RunId,
    jobs::{Run, RunOutput, RunTask, SqlOutput, SqlQueryResult},
};
use serde_json::{Map, Value, json};

use crate::get::phase::{Outcome, Progress, progress_of, was_skipped};

/// What a task returned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Returned {
    /// Text, from a notebook.
    Text(String),
    /// The first row of what SQL returned, or the facts about it, the most telling first.
    Row {
        /// The values by column.
        columns: Vec<Column>,
        /// All of it.
        whole: Map<String, Value>,
    },
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// As text; none for null.
    pub(crate) value: Option<String>,
}

/// Where the value of a run is to be had.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Task {
    /// Here it is.
    Returned(Returned),
    /// In the run that the task started.
    OfRun(RunId),
}

/// The task whose output is the run's: the last that succeeded and that no other depends on.
pub(crate) fn last_task(run: &Run) -> Option<&RunTask> {
    let tasks = run.latest_attempts();
    let succeeded = |task: &RunTask| {
        let (status, state) = (task.status.as_ref(), task.state.as_ref());
        progress_of(status, state) == Progress::Ended(Outcome::Succeeded)
            && !was_skipped(status, state)
    };
    let is_last = |task: &RunTask| {
        let depends = |other: &&RunTask| {
            succeeded(other) && other.depends_on.iter().any(|on| on.task_key == task.task_key)
        };
        !tasks.iter().any(depends)
    };
    tasks.iter().rev().find(|task| succeeded(task) && is_last(task)).copied()
}

/// What the output of a task says it returned.
///
/// # Errors
///
/// Why there is nothing to give.
pub(crate) fn of_output(output: RunOutput) -> Result<Task, String> {
    if let Some(notebook) = output.notebook_output
        && let Some(text) = notebook.result
    {
        return if notebook.truncated == Some(true) {
            Err("the notebook returned more than Databricks keeps (5 MB); write it to storage and return its address".to_owned())
        } else {
            Ok(Task::Returned(Returned::Text(text)))
        };
    }
    if let Some(run_id) = output.run_job_output.and_then(|started| started.run_id) {
        return Ok(Task::OfRun(run_id));
    }
    let sql = output.sql_output.and_then(of_sql);
    let alert = || {
        let state = output.alert_output.and_then(|alert| alert.alert_state)?;
        Some(facts(&[("alert_state", Some(state))]))
    };
    sql.or_else(alert).map(Task::Returned).ok_or_else(|| {
        "it returned nothing; notebooks return with `dbutils.notebook.exit`, SQL files with the rows of their query, \
         alerts with their state"
            .to_owned()
    })
}

fn of_sql(sql: SqlOutput) -> Option<Returned> {
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
    let mut whole = Map::new();
    whole.insert("widgets".to_owned(), Value::Array(widgets));
    whole.insert("warehouse_id".to_owned(), json!(dashboard.warehouse_id));
    Some(Returned::Row { columns: Vec::new(), whole })
}

/// Facts in the form of a row.
fn facts(facts: &[(&str, Option<String>)]) -> Returned {
    let column = |(name, value): &(&str, Option<String>)| Column {
        name: (*name).to_owned(),
        value: value.clone(),
    };
    let whole = facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    Returned::Row { columns: facts.iter().map(column).collect(), whole }
}

fn of_rows(result: SqlQueryResult) -> Returned {
    let names: Vec<String> =
        result.columns.into_iter().map(|column| column.name.unwrap_or_default()).collect();
    let rows: Vec<Vec<Option<String>>> = result
        .rows
        .into_iter()
        .map(|row| row.values.into_iter().map(|value| value.string_value).collect())
        .collect();
    let first = rows.first().cloned().unwrap_or_default();
    let mut whole = Map::new();
    whole.insert("columns".to_owned(), json!(names));
    whole.insert("rows".to_owned(), json!(rows));
    whole.insert("truncated".to_owned(), json!(result.truncated == Some(true)));
    let columns = names.into_iter().zip(first).map(|(name, value)| Column { name, value });
    Returned::Row { columns: columns.collect(), whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(output: Value) -> Result<Task, String> {
        of_output(serde_json::from_value(output).unwrap())
    }

    fn row(output: Value) -> (Vec<(String, Option<String>)>, Value) {
        match task(output) {
            Ok(Task::Returned(Returned::Row { columns, whole })) => (
                columns.into_iter().map(|column| (column.name, column.value)).collect(),
                Value::Object(whole),
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
    fn a_notebook_returns_text_and_never_a_part_of_it() {
        assert_eq!(
            task(json!({"notebook_output": {"result": "7", "truncated": false}})),
            Ok(Task::Returned(Returned::Text("7".to_owned())))
        );
        let cut = task(json!({"notebook_output": {"result": "7", "truncated": true}}));
        assert!(cut.unwrap_err().contains("5 MB"));
    }

    #[test]
    fn a_file_returns_its_rows() {
        let (columns, whole) = row(json!({"sql_output": {"file_output": {"query_result": {
            "columns": [{"name": "a"}, {"name": "b"}], "truncated": true,
            "rows": [{"values": [{"string_value": "1"}, {}]}, {"values": [{"string_value": "2"}]}]}}}}));
        assert_eq!(columns, pairs(&[("a", Some("1")), ("b", None)]));
        assert_eq!(
            whole,
            json!({"columns": ["a", "b"], "rows": [["1", null], ["2"]], "truncated": true})
        );
    }

    #[test]
    fn alerts_queries_and_dashboards_return_what_is_known_of_them() {
        let alert =
            json!({"sql_output": {"alert_output": {"alert_state": "OK", "warehouse_id": "w"}}});
        let (columns, whole) = row(alert);
        assert_eq!(columns.first(), pairs(&[("alert_state", Some("OK"))]).first());
        assert_eq!(whole["warehouse_id"], "w");
        let query = json!({"sql_output": {"query_output": {"output_link": "https://x"}}});
        assert_eq!(row(query).0.first(), pairs(&[("output_link", Some("https://x"))]).first());
        let dashboard =
            json!({"sql_output": {"dashboard_output": {"widgets": [{"widget_title": "t"}]}}});
        let (columns, whole) = row(dashboard);
        assert!(columns.is_empty());
        assert_eq!(whole["widgets"][0]["widget_title"], "t");
        let alert_task = json!({"alert_output": {"alert_state": "TRIGGERED"}});
        assert_eq!(row(alert_task).0, pairs(&[("alert_state", Some("TRIGGERED"))]));
    }

    #[test]
    fn a_started_job_is_asked_itself_and_nothing_is_told_as_nothing() {
        let started = task(json!({"run_job_output": {"run_id": 7}}));
        assert_eq!(started, Ok(Task::OfRun("7".parse().unwrap())));
        for nothing in [
            json!({}),
            json!({"logs": "x", "notebook_output": {}, "run_job_output": {}}),
            json!({"sql_output": {"file_output": {"query_text": "create table"}}}),
            json!({"sql_output": "a form of tomorrow"}),
        ] {
            assert!(task(nothing).unwrap_err().contains("returned nothing"));
        }
    }

    #[test]
    fn the_last_task_that_ran_speaks_for_the_run() {
        let ended = |key: &str, result: &str, on: Value| {
            json!({"task_key": key, "depends_on": on,
                "state": {"life_cycle_state": "TERMINATED", "result_state": result}})
        };
        let on = |key: &str| json!([{"task_key": key}]);
        let last = |tasks: Value| -> Option<String> {
            let run: Run = serde_json::from_value(json!({"tasks": tasks})).unwrap();
            last_task(&run).map(|task| task.task_key.clone())
        };
        // The service does not promise an order.
        assert_eq!(
            last(json!([ended("b", "SUCCESS", on("a")), ended("a", "SUCCESS", json!([]))])),
            Some("b".to_owned())
        );
        // The branch that was not taken returned nothing.
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
