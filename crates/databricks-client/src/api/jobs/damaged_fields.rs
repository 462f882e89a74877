//! Responses with one damaged field: the state and every other field are read as before.

use serde_json::{Value, json};

use super::{Outcome, Progress, Run, RunOutput, RunTask, RunsPage};
use crate::api::json::{Bounds, Read, read_object};

/// What replaces a field: JSON of another form, or bytes that are not quite JSON.
const DAMAGES: [&[u8]; 16] = [
    br#""\ud800""#,
    br#""a\udfff\ud83d""#,
    b"\"caf\xe9\"",
    b"\"\xff\xfe\"",
    b"\"a\x01b\"",
    b"\"\"",
    b"-7",
    b"7",
    b"1.5",
    b"1e999",
    b"99999999999999999999",
    b"true",
    b"null",
    b"[]",
    br#"[{}, 7, "x", null]"#,
    br#"{"a": [{}]}"#,
];

fn read<T: Read>(body: &[u8]) -> T {
    read_object(body.to_vec().into(), Bounds::RUN).unwrap().0
}

/// Replaces each field and element in turn by each damage, also with a byte order mark. Passes its path and the body.
fn for_each_damage(whole: &Value, check: impl Fn(&[&str], &[u8])) {
    let mut paths = Vec::new();
    collect_paths(whole, "", &mut paths);
    for path in paths {
        let mut marked = whole.clone();
        *marked.pointer_mut(&path).unwrap() = json!("DAMAGED");
        let text = marked.to_string();
        let (before, after) = text.split_once("\"DAMAGED\"").unwrap();
        let path: Vec<&str> = path.split('/').skip(1).collect();
        let with = |damage: &[u8]| [before.as_bytes(), damage, after.as_bytes()].concat();
        for damage in DAMAGES {
            check(&path, &with(damage));
        }
        check(&path, &[b"\xef\xbb\xbf".as_slice(), &with(b"null")].concat());
    }
}

fn collect_paths(value: &Value, path: &str, paths: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => {
            list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    for (key, value) in children {
        let path = format!("{path}/{key}");
        collect_paths(value, &path, paths);
        paths.push(path);
    }
}

/// Lists the fields of a value by name, as text.
macro_rules! fields {
    ($value:expr, $type:ident { $($field:ident),* $(,)? }) => {{
        let $type { $($field),* } = $value;
        vec![$((stringify!($field), format!("{:?}", $field))),*]
    }};
}

fn fields_of_run(run: &Run) -> Vec<(&'static str, String)> {
    fields!(
        run,
        Run {
            run_id,
            job_id,
            run_name,
            run_page_url,
            status,
            state,
            attempt_number,
            start_time,
            end_time,
            queue_duration,
            setup_duration,
            execution_duration,
            cleanup_duration,
            run_duration,
            tasks,
            iterations,
            next_page_token,
            missing_tasks,
        }
    )
}

fn fields_of_task(task: &RunTask) -> Vec<(&'static str, String)> {
    fields!(
        task,
        RunTask {
            task_key,
            run_id,
            description,
            depends_on,
            attempt_number,
            task_type,
            iteration_errors,
            status,
            state,
            run_page_url,
            cluster_instance,
            start_time,
            end_time,
            queue_duration,
            setup_duration,
            execution_duration,
            cleanup_duration,
        }
    )
}

fn fields_of_output(output: &RunOutput) -> Vec<(&'static str, String)> {
    fields!(
        output,
        RunOutput {
            logs,
            logs_truncated,
            error,
            error_trace,
            info,
            notebook_output,
            sql_output,
            alert_output,
            run_job_output,
        }
    )
}

/// Compares all fields except those of the damaged key.
fn assert_others_equal(
    damaged: &[&str],
    before: Vec<(&str, String)>,
    after: Vec<(&str, String)>,
    body: &[u8],
) {
    for ((name, before), (_, after)) in before.into_iter().zip(after) {
        if !damaged.contains(&name) {
            assert_eq!(after, before, "{name} of {}", String::from_utf8_lossy(body));
        }
    }
}

fn failed_run() -> Value {
    let states = json!({
        "status": {
            "state": "TERMINATED",
            "termination_details": {"code": "RUN_EXECUTION_ERROR", "type": "CLIENT_ERROR", "message": "m"},
            "queue_details": {"code": "ACTIVE_RUNS_LIMIT_REACHED", "message": "q"},
        },
        "state": {"life_cycle_state": "TERMINATED", "result_state": "FAILED", "state_message": "s",
            "queue_reason": "r", "user_cancelled_or_timedout": false},
    });
    let times = json!({"start_time": 1, "end_time": 2, "queue_duration": 3, "setup_duration": 4,
        "execution_duration": 5, "cleanup_duration": 6, "attempt_number": 1});
    let merge = |parts: [&Value; 3]| -> Value {
        parts.iter().flat_map(|part| part.as_object().unwrap().clone()).collect()
    };
    let task = |key: &str, id: i64| {
        let own = json!({"task_key": key, "run_id": id, "description": "d",
            "depends_on": [{"task_key": "x"}], "run_page_url": "https://x/task",
            "cluster_instance": {"cluster_id": "c", "spark_context_id": "9"},
            "for_each_task": {"inputs": "[]", "stats": {"error_message_stats": [
                {"error_message": "e", "count": 2, "termination_category": "t"}]}}});
        merge([&own, &states, &times])
    };
    let own = json!({"run_id": 7, "job_id": 8, "run_name": "n", "run_page_url": "https://x",
        "run_duration": 9, "next_page_token": "p", "unknown": {"a": [1]},
        "tasks": [task("a", 71), task("b", 72)], "iterations": [{"task_key": "i", "run_id": 73}]});
    merge([&own, &states, &times])
}

#[test]
fn one_damaged_field_hides_neither_the_state_nor_other_fields_of_a_run() {
    let whole = failed_run();
    let before: Run = read(whole.to_string().as_bytes());
    assert_eq!(before.progress(), Progress::Ended(Outcome::UserFailure));
    assert_eq!(before.tasks[1].iteration_errors.len(), 1);
    for_each_damage(&whole, |path, body| {
        let after: Run = read(body);
        let text = String::from_utf8_lossy(body);
        assert_eq!(after.progress(), before.progress(), "{path:?} {text}");
        assert_others_equal(&path[..1], fields_of_run(&before), fields_of_run(&after), body);
        if path[0] == "tasks" && path.len() > 2 {
            let index: usize = path[1].parse().unwrap();
            assert_eq!(after.tasks.len(), 2, "{text}");
            assert_eq!(after.tasks[1 - index], before.tasks[1 - index], "{text}");
            let mut damaged = vec![path[2]];
            if path[2] == "for_each_task" {
                damaged.extend(["task_type", "iteration_errors"]);
            }
            assert_others_equal(
                &damaged,
                fields_of_task(&before.tasks[index]),
                fields_of_task(&after.tasks[index]),
                body,
            );
        }
    });
}

#[test]
fn one_damaged_field_hides_no_other_field_of_an_output() {
    let whole = json!({
        "logs": "l", "logs_truncated": true, "error": "e", "error_trace": "t", "info": "i",
        "metadata": failed_run(),
        "notebook_output": {"result": "r", "truncated": false},
        "sql_output": {
            "query_output": {"output_link": "o", "query_text": "q", "warehouse_id": "w"},
            "alert_output": {"alert_state": "OK", "warehouse_id": "w"},
            "dashboard_output": {"warehouse_id": "w", "widgets": [
                {"widget_id": "1", "widget_title": "t", "output_link": "o", "status": "SUCCESS"}]},
            "file_output": {"query_text": "q", "warehouse_id": "w", "query_result": {
                "columns": [{"name": "a"}, {"name": "b"}], "truncated": false,
                "rows": [{"values": [{"string_value": "1"}, {"string_value": "2"}]}]}},
        },
        "alert_output": {"alert_state": "OK"},
        "run_job_output": {"run_id": 7},
    });
    let before: RunOutput = read(whole.to_string().as_bytes());
    for_each_damage(&whole, |path, body| {
        let after: RunOutput = read(body);
        assert_others_equal(&path[..1], fields_of_output(&before), fields_of_output(&after), body);
        // The position of a value counts.
        if path.starts_with(&[
            "sql_output",
            "file_output",
            "query_result",
            "rows",
            "0",
            "values",
            "0",
        ]) {
            let sql = after.sql_output.unwrap().file_output.unwrap().query_result.unwrap();
            assert_eq!(sql.rows[0].values[1].string_value.as_deref(), Some("2"));
        }
    });
}

#[test]
fn one_damaged_field_hides_no_other_run_of_a_list() {
    let run = |id: i64| {
        json!({"run_id": id, "run_name": "n", "state": {"life_cycle_state": "RUNNING"},
            "tasks": [{"task_key": "a", "description": "d"}]})
    };
    let whole = json!({"runs": [run(7), run(8)], "next_page_token": "p"});
    let before: RunsPage = read(whole.to_string().as_bytes());
    for_each_damage(&whole, |path, body| {
        let after: RunsPage = read(body);
        let text = String::from_utf8_lossy(body);
        if path[0] == "next_page_token" {
            assert_eq!(after.runs, before.runs, "{text}");
        } else if path.len() > 1 {
            let other = 1 - path[1].parse::<usize>().unwrap();
            assert!(after.runs.contains(&before.runs[other]), "{text}");
            assert_eq!(after.next_page_token, before.next_page_token, "{text}");
        }
    });
}
