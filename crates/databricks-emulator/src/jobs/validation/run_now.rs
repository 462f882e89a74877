//! The body of `run-now` (databricks-api.md#run-now).

use super::{id, object, present, text};
use crate::api::error::{ApiError, invalid, reject};
use serde_json::{Map, Value, json};

/// The largest parameter list or map, in bytes of JSON (databricks-api.md#task-types).
const MAX_PARAMETER_BYTES: usize = 10_000;

/// A valid `run-now` request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunNow {
    pub(crate) job_id: i64,
    body: Map<String, Value>,
}

/// Request keys that replace a field of every task of a type.
const REPLACING: [(&str, &str, &str); 6] = [
    ("python_params", "spark_python_task", "parameters"),
    ("python_params", "python_wheel_task", "parameters"),
    ("python_named_params", "python_wheel_task", "named_parameters"),
    ("jar_params", "spark_jar_task", "parameters"),
    ("spark_submit_params", "spark_submit_task", "parameters"),
    ("dbt_commands", "dbt_task", "commands"),
];

/// Request keys whose entries are merged into a field of every task of a type.
const MERGED: [(&str, &str, &str); 4] = [
    ("notebook_params", "notebook_task", "base_parameters"),
    ("job_parameters", "notebook_task", "base_parameters"),
    ("job_parameters", "python_wheel_task", "named_parameters"),
    ("sql_params", "sql_task", "parameters"),
];

impl RunNow {
    /// Returns the `runs/submit` body for a job with these settings.
    pub(crate) fn submission(&self, mut settings: Map<String, Value>) -> Map<String, Value> {
        if let Some(token) = text(&self.body, "idempotency_token").filter(|token| !token.is_empty())
        {
            settings.insert("idempotency_token".to_owned(), Value::String(token.to_owned()));
        }
        for key in ["queue", "performance_target", "duration_target"] {
            if let Some(value) = present(&self.body, key) {
                settings.insert(key.to_owned(), value.clone());
            }
        }
        let tasks = settings.get_mut("tasks").and_then(Value::as_array_mut);
        for task in tasks.into_iter().flatten().filter_map(Value::as_object_mut) {
            self.apply_parameters(task);
        }
        settings
    }

    fn apply_parameters(&self, task: &mut Map<String, Value>) {
        for (key, kind, field) in REPLACING {
            if let Some(value) = present(&self.body, key)
                && let Some(work) = task.get_mut(kind).and_then(Value::as_object_mut)
            {
                work.insert(field.to_owned(), value.clone());
            }
        }
        for (key, kind, field) in MERGED {
            if let Some(Value::Object(entries)) = present(&self.body, key)
                && let Some(work) = task.get_mut(kind).and_then(Value::as_object_mut)
                // A wheel task takes a list or a map, not both.
                && present(work, "parameters").is_none_or(|_| kind != "python_wheel_task")
                && let Some(own) = work.entry(field).or_insert_with(|| json!({})).as_object_mut()
            {
                own.extend(entries.clone());
            }
        }
        if let Some(Value::Object(entries)) = present(&self.body, "pipeline_params")
            && let Some(work) = task.get_mut("pipeline_task").and_then(Value::as_object_mut)
        {
            work.extend(entries.clone());
        }
    }
}

/// Validates the body of `run-now`.
pub(crate) fn run_now(bytes: &[u8]) -> Result<RunNow, ApiError> {
    let body: Map<String, Value> = object(bytes)?;
    let job_id = id(&body, "job_id")?;
    let is_parameters = |key: &str| key.ends_with("_params") || key == "job_parameters";
    for (key, value) in body.iter().filter(|(key, _)| is_parameters(key)) {
        let size = value.to_string().len();
        if size > MAX_PARAMETER_BYTES {
            return reject!(
                "The parameters in {key} have {size} bytes; at most {MAX_PARAMETER_BYTES} are allowed."
            );
        }
    }
    for key in ["python_params", "spark_submit_params"] {
        if present(&body, key).is_some_and(|value| !value.to_string().is_ascii()) {
            return reject!("The parameters in {key} must be ASCII.");
        }
    }
    if present(&body, "jar_params").is_some() && present(&body, "notebook_params").is_some() {
        return Err(invalid("jar_params and notebook_params are mutually exclusive."));
    }
    Ok(RunNow { job_id, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_id_is_required_and_parameters_are_bounded() {
        let read = |body: &str| run_now(body.as_bytes());
        assert_eq!(read(r#"{"job_id": "7"}"#).unwrap().job_id, 7);
        for body in [r"{}", r#"{"job_id": 1.5}"#, r#"{"job_id": "x"}"#] {
            assert!(read(body).is_err(), "{body}");
        }
        let long = "x".repeat(MAX_PARAMETER_BYTES);
        for parameters in [
            format!(r#""python_params": ["{long}"]"#),
            format!(r#""job_parameters": {{"k": "{long}"}}"#),
        ] {
            let error = read(&format!(r#"{{"job_id": 7, {parameters}}}"#)).unwrap_err();
            assert!(error.message.contains("at most 10000"), "{}", error.message);
        }
    }

    #[test]
    fn parameters_are_applied_to_the_tasks() {
        let run = |parameters: Value, task: Value| {
            let mut request = parameters;
            request["job_id"] = json!(7);
            request["idempotency_token"] = json!("t");
            let request = run_now(request.to_string().as_bytes()).unwrap();
            let settings = json!({"idempotency_token": "of the job", "tasks": [task]});
            let mut body = request.submission(settings.as_object().unwrap().clone());
            assert_eq!(body["idempotency_token"], "t");
            body["tasks"][0].take()
        };
        assert_eq!(
            run(
                json!({"notebook_params": {"a": "2"}, "job_parameters": {"b": "3"}}),
                json!({"notebook_task": {"notebook_path": "/n", "base_parameters": {"a": "1", "c": "4"}}}),
            ),
            json!({"notebook_task": {"notebook_path": "/n", "base_parameters": {"a": "2", "b": "3", "c": "4"}}})
        );
        assert_eq!(
            run(
                json!({"python_params": ["x"], "python_named_params": null}),
                json!({"spark_python_task": {"python_file": "/a.py", "parameters": ["y", "z"]}}),
            ),
            json!({"spark_python_task": {"python_file": "/a.py", "parameters": ["x"]}})
        );
        assert_eq!(
            run(
                json!({"pipeline_params": {"full_refresh": true}}),
                json!({"pipeline_task": {"pipeline_id": "p"}})
            ),
            json!({"pipeline_task": {"pipeline_id": "p", "full_refresh": true}})
        );
        let list = json!({"python_wheel_task": {"package_name": "p", "entry_point": "m", "parameters": ["x"]}});
        assert_eq!(run(json!({"job_parameters": {"b": "3"}}), list.clone()), list);
    }

    #[test]
    fn mutually_exclusive_and_non_ascii_parameters_are_rejected() {
        for body in [
            r#"{"job_id": 7, "jar_params": ["x"], "notebook_params": {"a": "b"}}"#,
            r#"{"job_id": 7, "python_params": ["ä"]}"#,
            r#"{"job_id": 7, "spark_submit_params": ["ä"]}"#,
        ] {
            assert!(run_now(body.as_bytes()).is_err(), "{body}");
        }
        assert!(run_now("{\"job_id\": 7, \"jar_params\": [\"ä\"]}".as_bytes()).is_ok());
    }
}
