//! The output of a task (databricks-api.md#runs-get-output).

use super::{RequestContext, task_as_run, without_nulls};
use crate::jobs::run::{CurrentState, Run};
use crate::jobs::script::OUTPUT_LIMIT;
use serde_json::{Value, json};

/// Task types whose output has logs (databricks-api.md#runs-get-output).
const TYPES_WITH_LOGS: [&str; 3] = ["spark_jar_task", "spark_python_task", "python_wheel_task"];

/// Returns the output of a task.
///
/// Only metadata while the task runs: the output that the service returns then is not documented
/// (databricks-api.md#unverified).
pub(crate) fn output(run: &Run, index: usize, context: &RequestContext<'_>) -> Value {
    let metadata = task_as_run(run, index, context);
    let (CurrentState::Terminated(end), Some(task)) =
        (run.task_state(index), run.submission.tasks.get(index))
    else {
        return json!({"metadata": metadata});
    };
    let (script, key, kind) = (&run.script, task.key.as_str(), task.kind.as_str());
    let has_logs = TYPES_WITH_LOGS.contains(&kind);
    let logs = has_logs.then(|| truncate_start(script.logs_of(key), OUTPUT_LIMIT));
    let notebook = (kind == "notebook_task").then(|| match script.notebook_result_of(key) {
        Some(result) => {
            let (result, truncated) = truncate_end(result, OUTPUT_LIMIT);
            json!({"result": result, "truncated": truncated})
        }
        None => json!({}),
    });
    let triggered = || without_nulls(json!({"run_id": script.triggered_run_of(key)}));
    Value::Object(without_nulls(json!({
        "metadata": metadata,
        "error": end.termination.error,
        "error_trace": end.error_trace,
        "logs": logs.map(|(text, _)| text),
        "logs_truncated": logs.map(|(_, truncated)| truncated || run.logs_truncated),
        "notebook_output": notebook,
        "sql_output": script.sql_output_of(key).filter(|_| kind == "sql_task"),
        "run_job_output": (kind == "run_job_task").then(triggered),
    })))
}

/// Returns the last bytes of a text, at most `limit`, and whether it is truncated.
fn truncate_start(text: &str, limit: usize) -> (&str, bool) {
    let from = text.ceil_char_boundary(text.len().saturating_sub(limit));
    (text.get(from..).unwrap_or_default(), from > 0)
}

/// Returns the first bytes of a text, at most `limit`, and whether it is truncated.
fn truncate_end(text: &str, limit: usize) -> (&str, bool) {
    let to = text.floor_char_boundary(limit);
    (text.get(..to).unwrap_or_default(), to < text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_truncated_at_character_boundaries() {
        assert_eq!(truncate_start("aäb", 2), ("b", true));
        assert_eq!(truncate_start("aäb", 3), ("äb", true));
        assert_eq!(truncate_start("aäb", 4), ("aäb", false));
        assert_eq!(truncate_end("aäb", 2), ("a", true));
        assert_eq!(truncate_end("aäb", 4), ("aäb", false));
    }
}
