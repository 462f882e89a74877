//! The result of a task, by its type (databricks-api.md#runs-get-output). Pure.

use std::collections::{HashMap, VecDeque};

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

/// Returns key and run id of the tasks that can have the run's result, the most likely first: the named task, else the
/// succeeded tasks of types that return something. Those on which no succeeded task depends come first, the last of them
/// before the others; then those on which these depend, and so on.
pub(super) fn candidates<'a>(run: &'a Run, named: Option<&str>) -> Vec<(&'a str, RunId)> {
    let succeeded =
        |task: &&RunTask| task.outcome() == Some(Outcome::Succeeded) && !task.was_skipped();
    let tasks: Vec<&RunTask> = run.latest_attempts().into_iter().filter(succeeded).collect();
    let candidate = |task: &'a RunTask| Some((task.task_key.as_str(), task.run_id?));
    if let Some(named) = named
        && let Some(task) = tasks.iter().find(|task| task.task_key == named)
    {
        return candidate(task).into_iter().collect();
    }
    // In a run that a task of the named key started, or of a single task, the name says nothing.
    if named.is_some() && tasks.len() > 1 {
        return Vec::new();
    }
    let mut dependents: HashMap<&str, usize> = HashMap::new();
    for on in tasks.iter().flat_map(|task| &task.depends_on) {
        *dependents.entry(on.task_key.as_str()).or_default() += 1;
    }
    let by_key: HashMap<&str, &RunTask> =
        tasks.iter().map(|task| (task.task_key.as_str(), *task)).collect();
    let is_last = |task: &&&RunTask| !dependents.contains_key(task.task_key.as_str());
    let mut queue: VecDeque<&RunTask> = tasks.iter().rev().filter(is_last).copied().collect();
    let mut candidates = Vec::new();
    while let Some(task) = queue.pop_front() {
        if !super::returns_nothing(task.task_type.as_deref().unwrap_or_default()) {
            candidates.extend(candidate(task));
        }
        for on in &task.depends_on {
            // A task follows when the last task that depends on it has been visited.
            let Some(left) = dependents.get_mut(on.task_key.as_str()) else { continue };
            *left = left.saturating_sub(1);
            if *left == 0
                && let Some(task) = by_key.get(on.task_key.as_str())
            {
                queue.push_back(task);
            }
        }
    }
    candidates
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
    fn the_last_succeeded_task_that_returns_something_has_the_result() {
        let ended = |key: &str, result: &str, on: Value| {
            json!({"task_key": key, "depends_on": on,
                "state": {"life_cycle_state": "TERMINATED", "result_state": result}})
        };
        let on = |key: &str| json!([{"task_key": key}]);
        let candidates_of = |tasks: Value, named: Option<&str>| -> Vec<String> {
            let mut tasks = tasks;
            for (n, task) in tasks.as_array_mut().unwrap().iter_mut().enumerate() {
                task["run_id"] = json!(n + 1);
            }
            let run: Run = serde_json::from_value(json!({ "tasks": tasks })).unwrap();
            candidates(&run, named).into_iter().map(|(key, _)| key.to_owned()).collect()
        };
        let last = |tasks: Value| candidates_of(tasks, None);
        // The API does not guarantee an order.
        assert_eq!(
            last(json!([ended("b", "SUCCESS", on("a")), ended("a", "SUCCESS", json!([]))])),
            ["b", "a"]
        );
        // The branch that was not taken has no result.
        assert_eq!(
            last(json!([
                ended("if", "SUCCESS", json!([])),
                ended("yes", "SUCCESS", on("if")),
                ended("no", "EXCLUDED", on("if")),
            ])),
            ["yes", "if"]
        );
        // A condition and a wheel at the end return nothing.
        let mut graph = json!([
            ended("report", "SUCCESS", json!([])),
            ended("if", "SUCCESS", on("report")),
            ended("clean", "SUCCESS", on("if")),
        ]);
        graph[1]["condition_task"] = json!({});
        graph[2]["python_wheel_task"] = json!({});
        assert_eq!(last(graph.clone()), ["report"]);
        assert_eq!(candidates_of(graph.clone(), Some("clean")), ["clean"]);
        assert_eq!(candidates_of(graph, Some("other")), [""; 0]);
        assert_eq!(
            candidates_of(json!([ended("only", "SUCCESS", json!([]))]), Some("other")),
            ["only"]
        );
        // A cycle, which Databricks rejects, ends.
        assert_eq!(
            last(json!([ended("a", "SUCCESS", on("b")), ended("b", "SUCCESS", on("a"))])),
            [""; 0]
        );
        assert_eq!(last(json!([])), [""; 0]);
    }
}
