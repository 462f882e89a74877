//! The message of a resource: why a run waits or failed, in the words of the user's code if possible. Pure.

mod cluster_termination;
mod message;

use databricks_client::{
    clusters::Cluster,
    jobs::{Outcome, QueueCode, ReportedState, Run, RunOutput, RunTask},
};

use message::{clean, truncate};

use super::hints;

/// Failed tasks whose error is read.
pub(crate) const MAX_FAILED_TASKS: usize = 5;

/// Lines of a stack trace in the message: its end, which names the error.
const TRACE_LINES: usize = 15;

/// Returns the latest attempts that failed. Tasks that never ran because another failed are not included.
pub(crate) fn failed_tasks(run: &Run) -> Vec<&RunTask> {
    run.latest_attempts()
        .into_iter()
        .filter(|task| {
            task.outcome().is_some_and(|outcome| outcome != Outcome::Succeeded)
                && !task.was_skipped()
        })
        .collect()
}

/// A failed task.
#[derive(Debug)]
pub(crate) struct FailedTask<'a> {
    pub(crate) task: &'a RunTask,
    /// Its output, if it could be read.
    pub(crate) output: Option<RunOutput>,
}

/// Returns the cluster whose termination may explain the failure: that of the first failed task that has one.
pub(crate) fn cluster_of<'a>(failed: &[FailedTask<'a>]) -> Option<&'a str> {
    let ids = failed
        .iter()
        .filter_map(|failed| failed.task.cluster_instance.as_ref()?.cluster_id.as_deref());
    ids.into_iter().find(|id| !id.is_empty())
}

/// Returns why a run failed: error, termination code and end of the stack trace of each failed task, else the run's own
/// message; then an abnormal termination of its cluster, and a hint. `omitted` is the number of further failed tasks.
pub(crate) fn of_failure(
    run: &Run,
    failed: &[FailedTask<'_>],
    omitted: usize,
    cluster: Option<&Cluster>,
) -> String {
    let has_several_tasks = run.latest_attempts().len() > 1;
    let mut parts: Vec<String> =
        failed.iter().map(|failed| of_failed_task(failed, has_several_tasks)).collect();
    if omitted > 0 {
        parts.push(format!("and {omitted} more failed tasks"));
    }
    if parts.is_empty() {
        parts.push(of_state(run.into()));
    }
    let cluster = cluster.and_then(cluster_termination::describe);
    let cluster_hint = cluster.as_ref().and_then(|(code, text)| hints::of_cluster(code, text));
    let tasks = failed.iter().map(|failed| ReportedState::from(failed.task));
    let run_hint = tasks.chain([ReportedState::from(run)]).find_map(|reported| {
        hints::of_termination(reported.termination_code(), &of_state(reported))
    });
    // The cluster's code is more specific: a lost driver has many causes.
    let users_hint = parts.iter().find_map(|part| hints::of_users_error(part));
    let hint = users_hint.or(cluster_hint).or(run_hint).map(|hint| format!("hint: {hint}"));
    let end: Vec<String> = cluster.map(|(_, text)| text).into_iter().chain(hint).collect();
    truncate(&clean(&parts.join("\n")), &clean(&end.join("\n")))
}

/// Returns the reason from an error file.
pub(crate) fn of_error_file(text: &str) -> String {
    let hint = hints::of_users_error(text).map(|hint| format!("hint: {hint}"));
    truncate(&clean(text), &hint.unwrap_or_default())
}

fn of_failed_task(failed: &FailedTask<'_>, has_several_tasks: bool) -> String {
    let FailedTask { task, output } = failed;
    let error = output.as_ref().and_then(|output| non_blank(output.error.as_deref()));
    let reported = ReportedState::from(*task);
    let mut text = match (error, reported.code()) {
        (Some(error), Some(code)) => format!("{error} [{code}]"),
        (Some(error), None) => error.to_owned(),
        (None, _) => of_state(reported),
    };
    if let Some(trace) = output.as_ref().and_then(|output| non_blank(output.error_trace.as_deref()))
    {
        let lines: Vec<&str> = trace.lines().collect();
        let skipped = lines.len().saturating_sub(TRACE_LINES);
        for line in lines.iter().skip(skipped) {
            text.push('\n');
            text.push_str(line);
        }
    }
    if has_several_tasks { format!("task {}: {text}", task.task_key) } else { text }
}

/// Returns why a run or task that has not ended waits: the queue's reason, else its state message. May be empty.
pub(crate) fn of_waiting(reported: ReportedState<'_>) -> String {
    let legacy = reported.legacy();
    let queue = reported.status().and_then(|status| status.queue_details.as_ref());
    let queue_message = queue.and_then(|details| non_blank(details.message.as_deref()));
    let queue_code = queue.and_then(|details| details.code.as_ref()).map(QueueCode::as_str);
    let text = queue_message
        .or_else(|| legacy.and_then(|state| non_blank(state.queue_reason.as_deref())))
        .or(queue_code)
        .or_else(|| legacy.and_then(|state| non_blank(state.state_message.as_deref())))
        .unwrap_or_default();
    truncate(&clean(text), "")
}

/// Returns message and code of a run or task that has ended.
pub(crate) fn of_state(reported: ReportedState<'_>) -> String {
    let details = reported.status().and_then(|status| status.termination_details.as_ref());
    let message = details
        .and_then(|details| non_blank(details.message.as_deref()))
        .or_else(|| reported.legacy().and_then(|state| non_blank(state.state_message.as_deref())));
    match (message, reported.code()) {
        (Some(message), Some(code)) => format!("{message} [{code}]"),
        (Some(message), None) => message.to_owned(),
        (None, Some(code)) => format!("the run ended with {code} and no message"),
        (None, None) => "the run ended without a code or message".to_owned(),
    }
}

fn non_blank(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(value: &serde_json::Value) -> Run {
        serde_json::from_value(value.clone()).unwrap()
    }

    fn output(error: &str, trace: &str) -> RunOutput {
        serde_json::from_value(json!({ "error": error, "error_trace": trace })).unwrap()
    }

    #[test]
    fn failed_task_has_its_error_code_and_the_end_of_its_trace() {
        let run = run(&json!({"run_id": 1, "tasks": [{
            "task_key": "flyte_task", "run_id": 2,
            "status": {"state": "TERMINATED", "termination_details": {"code": "RUN_EXECUTION_ERROR", "message": "m"}},
        }]}));
        let failed = failed_tasks(&run);
        let trace: Vec<String> = (0..30).map(|n| format!("line {n}")).collect();
        let task = FailedTask {
            task: failed[0],
            output: Some(output("\u{1b}[31mValueError: no\u{1b}[0m", &trace.join("\r\n"))),
        };
        let text = of_failure(&run, &[task], 0, None);
        assert!(text.starts_with("ValueError: no [RUN_EXECUTION_ERROR]\nline 15\n"), "{text}");
        assert!(text.ends_with("line 29"), "{text}");
    }

    #[test]
    fn task_without_error_output_has_its_state_message() {
        let run = run(&json!({"run_id": 1, "tasks": [{
            "task_key": "a", "run_id": 2,
            "state": {"life_cycle_state": "TERMINATED", "result_state": "FAILED", "state_message": "bad library"},
        }, {"task_key": "b", "run_id": 3, "state": {"life_cycle_state": "SKIPPED", "result_state": "UPSTREAM_FAILED"}}]}));
        let failed = failed_tasks(&run);
        assert_eq!(failed.len(), 1);
        let task = FailedTask { task: failed[0], output: Some(output(" ", "")) };
        assert_eq!(
            of_failure(&run, &[task], 2, None),
            "task a: bad library [FAILED]\nand 2 more failed tasks"
        );
    }

    #[test]
    fn missing_package_of_flyte_adds_a_hint() {
        let error = "ModuleNotFoundError: No module named 'flyteplugins'";
        assert!(of_error_file(error).contains("hint: the compute lacks packages of Flyte"));
        assert!(!of_error_file("No module named 'flyte_of_mine'").contains("hint"));
    }

    #[test]
    fn known_code_adds_a_hint() {
        let run = run(&json!({"run_id": 1, "tasks": [{
            "task_key": "a", "run_id": 2,
            "status": {"state": "TERMINATED", "termination_details": {"code": "CLOUD_FAILURE", "message": "spot loss"}},
        }]}));
        let task = FailedTask { task: failed_tasks(&run)[0], output: None };
        let text = of_failure(&run, &[task], 0, None);
        assert!(
            text.starts_with("spot loss [CLOUD_FAILURE]\nhint: the cloud provider lost"),
            "{text}"
        );
    }

    #[test]
    fn only_latest_attempts_count() {
        let run = run(&json!({"run_id": 1, "tasks": [
            {"task_key": "a", "run_id": 2, "attempt_number": 0, "state": {"life_cycle_state": "TERMINATED", "result_state": "FAILED"}},
            {"task_key": "a", "run_id": 3, "attempt_number": 1, "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}},
        ]}));
        assert!(failed_tasks(&run).is_empty());
    }

    #[test]
    fn run_without_tasks_has_its_own_message() {
        for (state, expected) in [
            (
                json!({"life_cycle_state": "SKIPPED", "state_message": "another run is active"}),
                "another run is active [SKIPPED]",
            ),
            (
                json!({"life_cycle_state": "INTERNAL_ERROR"}),
                "the run ended with INTERNAL_ERROR and no message",
            ),
            (json!({}), "the run ended without a code or message"),
        ] {
            assert_eq!(
                of_failure(&run(&json!({"run_id": 1, "state": state})), &[], 0, None),
                expected
            );
        }
    }

    #[test]
    fn queue_reason_takes_precedence_over_the_state_message() {
        let run = run(&json!({"run_id": 1,
            "status": {"state": "QUEUED", "queue_details": {"code": "ACTIVE_RUNS_LIMIT_REACHED", "message": "too many"}},
            "state": {"life_cycle_state": "QUEUED", "state_message": "waiting"}}));
        assert_eq!(of_waiting((&run).into()), "too many");
    }

    fn cluster(state: &str, code: &str, parameters: &serde_json::Value) -> Cluster {
        serde_json::from_value(json!({"cluster_id": "c", "state": state,
            "termination_reason": {"code": code, "parameters": parameters}}))
        .unwrap()
    }

    #[test]
    fn cluster_termination_is_added_and_its_hint_takes_precedence() {
        let run = run(&json!({"run_id": 1, "tasks": [{
            "task_key": "a", "run_id": 2, "cluster_instance": {"cluster_id": "c"},
            "status": {"state": "TERMINATED", "termination_details": {"code": "DRIVER_ERROR", "message": "driver lost"}},
        }]}));
        let failure = |cluster: &Cluster| {
            let failed = [FailedTask { task: failed_tasks(&run)[0], output: None }];
            assert_eq!(cluster_of(&failed), Some("c"));
            of_failure(&run, &failed, 0, Some(cluster))
        };
        let parameters = json!({"databricks_error_message": "\u{1b}[1mno memory", "empty": " "});
        let text = failure(&cluster("TERMINATED", "DRIVER_OUT_OF_MEMORY", &parameters));
        assert!(
            text.starts_with(
                "driver lost [DRIVER_ERROR]\nits cluster terminated with DRIVER_OUT_OF_MEMORY \
                 (databricks_error_message: no memory)\nhint: the driver ran out of memory"
            ),
            "{text}"
        );
        // A normal termination, an active cluster, no termination reason.
        for normal in [
            cluster("TERMINATED", "JOB_FINISHED", &json!({})),
            cluster("RUNNING", "DRIVER_OUT_OF_MEMORY", &json!({})),
            Cluster::default(),
        ] {
            let text = failure(&normal);
            assert!(
                text.starts_with("driver lost [DRIVER_ERROR]\nhint: the driver was lost"),
                "{text}"
            );
        }
    }
}
