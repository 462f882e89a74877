//! What a task left behind (DA §1.4).

use super::{Asked, insert, task_as_run};
use crate::workspace::{Run, Standing};
use serde_json::{Map, Value, json};

/// `logs` are the last of it, and a notebook's result the first (DA §1.4).
pub(crate) const OUTPUT_LIMIT: usize = 5 * 1024 * 1024;

/// Task types whose output has logs (DA §1.4).
const HAVE_LOGS: [&str; 3] = ["spark_jar_task", "spark_python_task", "python_wheel_task"];

/// What `runs/get-output` tells of a task. Before its end that is only the metadata: what the service shows of a task
/// that still runs is not documented (DA §9).
pub(crate) fn output(run: &Run, place: usize, asked: &Asked<'_>) -> Value {
    let mut answer = Map::new();
    insert(&mut answer, "metadata", task_as_run(run, place, asked));
    let (Standing::Ended(ending), Some(task)) =
        (run.task_standing(place), run.submission.tasks.get(place))
    else {
        return Value::Object(answer);
    };
    if let Some(error) = &ending.state.error {
        insert(&mut answer, "error", error.as_str());
    }
    if let Some(trace) = &ending.error_trace {
        insert(&mut answer, "error_trace", trace.as_str());
    }
    if HAVE_LOGS.contains(&task.kind.as_str()) {
        let (logs, truncated) = last_of(run.script.logs_of(&task.key), OUTPUT_LIMIT);
        insert(&mut answer, "logs", logs);
        insert(&mut answer, "logs_truncated", truncated || run.logs_truncated);
    }
    if task.kind == "notebook_task" {
        let notebook = match run
            .script
            .notebook_result_of(&task.key)
            .map(|result| first_of(result, OUTPUT_LIMIT))
        {
            Some((result, truncated)) => json!({"result": result, "truncated": truncated}),
            None => json!({}),
        };
        insert(&mut answer, "notebook_output", notebook);
    }
    if let Some(returned) = run.script.sql_output_of(&task.key).filter(|_| task.kind == "sql_task")
    {
        insert(&mut answer, "sql_output", returned.clone());
    }
    if task.kind == "run_job_task" {
        let triggered = run.script.triggered_run_of(&task.key).map(|id| json!({"run_id": id}));
        insert(&mut answer, "run_job_output", triggered.unwrap_or_else(|| json!({})));
    }
    Value::Object(answer)
}

/// The end of a text, at most so many bytes, and whether something is missing.
fn last_of(text: &str, limit: usize) -> (&str, bool) {
    let from = text.len().saturating_sub(limit);
    let from =
        (from..=text.len()).find(|place| text.is_char_boundary(*place)).unwrap_or(text.len());
    (text.get(from..).unwrap_or_default(), from > 0)
}

/// The start of a text, at most so many bytes, and whether something is missing.
fn first_of(text: &str, limit: usize) -> (&str, bool) {
    let to =
        (0..=text.len().min(limit)).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0);
    (text.get(..to).unwrap_or_default(), to < text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_keep_their_end_and_results_their_start_in_whole_characters() {
        assert_eq!(last_of("aäb", 2), ("b", true));
        assert_eq!(last_of("aäb", 3), ("äb", true));
        assert_eq!(last_of("aäb", 4), ("aäb", false));
        assert_eq!(first_of("aäb", 2), ("a", true));
        assert_eq!(first_of("aäb", 4), ("aäb", false));
    }
}
