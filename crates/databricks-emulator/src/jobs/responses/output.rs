//! The output of a task (databricks-api.md#runs-get-output).

use super::{RequestContext, insert, task_as_run};
use crate::jobs::run::{CurrentState, Run};
use crate::jobs::script::OUTPUT_LIMIT;
use serde_json::{Map, Value, json};

/// Task types whose output has logs (databricks-api.md#runs-get-output).
const TYPES_WITH_LOGS: [&str; 3] = ["spark_jar_task", "spark_python_task", "python_wheel_task"];

/// Returns the output of a task.
///
/// Only metadata while the task runs: the output that the service returns then is not documented
/// (databricks-api.md#unverified).
pub(crate) fn output(run: &Run, index: usize, context: &RequestContext<'_>) -> Value {
    let mut response = Map::new();
    insert(&mut response, "metadata", task_as_run(run, index, context));
    let (CurrentState::Terminated(end), Some(task)) =
        (run.task_state(index), run.submission.tasks.get(index))
    else {
        return Value::Object(response);
    };
    if let Some(error) = &end.termination.error {
        insert(&mut response, "error", error.as_str());
    }
    if let Some(trace) = &end.error_trace {
        insert(&mut response, "error_trace", trace.as_str());
    }
    if TYPES_WITH_LOGS.contains(&task.kind.as_str()) {
        let (logs, truncated) = truncate_start(run.script.logs_of(&task.key), OUTPUT_LIMIT);
        insert(&mut response, "logs", logs);
        insert(&mut response, "logs_truncated", truncated || run.logs_truncated);
    }
    if task.kind == "notebook_task" {
        let notebook = match run
            .script
            .notebook_result_of(&task.key)
            .map(|result| truncate_end(result, OUTPUT_LIMIT))
        {
            Some((result, truncated)) => json!({"result": result, "truncated": truncated}),
            None => json!({}),
        };
        insert(&mut response, "notebook_output", notebook);
    }
    if let Some(sql_output) =
        run.script.sql_output_of(&task.key).filter(|_| task.kind == "sql_task")
    {
        insert(&mut response, "sql_output", sql_output.clone());
    }
    if task.kind == "run_job_task" {
        let triggered = run.script.triggered_run_of(&task.key).map(|id| json!({"run_id": id}));
        insert(&mut response, "run_job_output", triggered.unwrap_or_else(|| json!({})));
    }
    Value::Object(response)
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
