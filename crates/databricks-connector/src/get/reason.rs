//! The message of a resource: why a run waits or failed, in the words of the user's code if possible. Pure.

mod cluster_termination;
mod message;
mod trace;

use std::fmt::Write as _;

use databricks_client::{
    clusters::Cluster,
    jobs::{
        LifecycleStateV2, MissingTasks, Outcome, QueueCode, ReportedState, Run, RunOutput, RunTask,
    },
};

use message::{clean, truncate};

use super::{hints, terminal_rules::ErrorReason};

/// Failed tasks whose error is read.
pub(crate) const MAX_FAILED_TASKS: usize = 5;

/// Different errors of the iterations of a for-each task in the message.
const MAX_ITERATION_ERRORS: usize = 3;

/// The longest trace of an error file's exception, in characters.
const MAX_TRACE_CHARACTERS: usize = 2_000;

/// The reason of a run that waits without one.
const HELD_BACK: &str = "Databricks holds the run back until compute is available";

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

/// The failed tasks of a run.
#[derive(Debug, Default)]
pub(crate) struct FailedRun {
    pub(crate) tasks: Vec<FailedTask>,
    /// The number of further failed tasks.
    pub(crate) omitted: usize,
}

/// A failed task.
#[derive(Debug)]
pub(crate) struct FailedTask {
    pub(crate) task: RunTask,
    /// Its output, if it could be read.
    pub(crate) output: Option<RunOutput>,
    /// The run that it started, with the failed tasks of that run, if they could be read.
    pub(crate) started: Option<(Run, FailedRun)>,
}

impl FailedRun {
    /// Returns the cluster whose termination may explain the failure: that of the first failed task that has one.
    pub(crate) fn cluster_id(&self) -> Option<&str> {
        let ids = self
            .tasks
            .iter()
            .filter_map(|failed| failed.task.cluster_instance.as_ref()?.cluster_id.as_deref());
        ids.into_iter().find(|id| !id.is_empty())
    }
}

/// Returns why a run failed: error, termination code and end of the stack trace of each failed task, else the run's own
/// message; then an abnormal termination of its cluster, and a hint.
pub(crate) fn of_failure(run: &Run, failed: &FailedRun, cluster: Option<&Cluster>) -> String {
    let parts = of_failed_run(run, failed);
    let cluster = cluster.and_then(cluster_termination::describe);
    let cluster_hint = cluster.as_ref().and_then(|(code, text)| hints::of_cluster(code, text));
    let tasks = failed.tasks.iter().map(|failed| ReportedState::from(&failed.task));
    let run_hint = tasks.chain([ReportedState::from(run)]).find_map(|reported| {
        hints::of_termination(reported.termination_code(), &of_state(reported))
    });
    // The cluster's code is more specific: a lost driver has many causes.
    let users_hint = hints::of_users_error(&parts);
    let hint = users_hint.or(cluster_hint).or(run_hint).map(|hint| format!("hint: {hint}"));
    let end: Vec<String> = cluster.map(|(_, text)| text).into_iter().chain(hint).collect();
    truncate(&clean(&parts), &clean(&end.join("\n")))
}

/// Returns the errors of the failed tasks of a run, else the run's own message.
fn of_failed_run(run: &Run, failed: &FailedRun) -> String {
    let has_several_tasks = run.latest_attempts().len() > 1;
    let mut parts: Vec<String> =
        failed.tasks.iter().map(|failed| of_failed_task(failed, has_several_tasks)).collect();
    if failed.omitted > 0 {
        parts.push(format!("and {} more failed tasks", failed.omitted));
    }
    if parts.is_empty() {
        parts.push(of_state(run.into()));
    }
    match &run.missing_tasks {
        Some(MissingTasks::TooMany) => {
            parts.push("(the run has too many tasks to read their errors)".to_owned());
        }
        Some(MissingTasks::Unreadable { error, .. }) => {
            parts.push(format!("(not all tasks of the run could be read: {error})"));
        }
        None => {}
    }
    parts.join("\n")
}

/// Returns the reason from an error file, and the trace of its error in the log of the task: the file has only the
/// exception and its text (flyte-contract.md#entrypoint-v2).
pub(crate) fn of_error_file(reason: &ErrorReason, log: Option<&str>) -> String {
    let text = clean(&reason.text);
    let code = non_blank(Some(&reason.code)).filter(|_| !text.contains("Traceback"));
    let trace = code.zip(log).and_then(|(code, log)| trace::of_log(log, code));
    let trace = trace.map(|trace| bounded_trace(&clean(&trace)));
    let hint = hints::of_users_error(&text).map(|hint| format!("hint: {hint}"));
    let end: Vec<String> = trace.into_iter().chain(hint).collect();
    truncate(&text, &end.join("\n"))
}

/// Returns at most the last characters of a trace, because the message has other parts too.
fn bounded_trace(trace: &str) -> String {
    let skipped = trace.chars().count().saturating_sub(MAX_TRACE_CHARACTERS);
    trace.chars().skip(skipped).collect()
}

fn of_failed_task(failed: &FailedTask, has_several_tasks: bool) -> String {
    let FailedTask { task, output, started } = failed;
    let error = output.as_ref().and_then(|output| non_blank(output.error.as_deref()));
    let reported = ReportedState::from(task);
    let mut text = match (error, reported.code()) {
        (Some(error), Some(code)) => format!("{error} [{code}]"),
        (Some(error), None) => error.to_owned(),
        (None, _) => of_state(reported),
    };
    if let Some(trace) = output.as_ref().and_then(|output| non_blank(output.error_trace.as_deref()))
    {
        text.push('\n');
        text.push_str(&trace::excerpt(trace));
    }
    for iteration in task.iteration_errors.iter().take(MAX_ITERATION_ERRORS) {
        let Some(error) = non_blank(iteration.error_message.as_deref()) else { continue };
        let count = iteration.count.unwrap_or(1);
        let iterations = if count == 1 { "iteration" } else { "iterations" };
        let _infallible = write!(text, "\n{count} {iterations} failed with: {error}");
    }
    if let Some((run, failed)) = started {
        let id = run.run_id.map(|id| format!(" {id}")).unwrap_or_default();
        let failure = of_failed_run(run, failed);
        let _infallible = write!(text, "\nthe run{id} that it started: {failure}");
    }
    if has_several_tasks { format!("task {}: {text}", task.task_key) } else { text }
}

/// Returns why a run that has not ended waits. May be empty. A running run whose tasks have not started has the reason of
/// one of them.
pub(crate) fn of_waiting_run(run: &Run) -> String {
    let progress = run.progress();
    if progress == ReportedState::from(run).progress() {
        return of_waiting(run.into());
    }
    let waiting = run.latest_attempts().into_iter().filter(|task| task.progress() == progress);
    let mut reasons = waiting.map(|task| of_waiting(task.into()));
    reasons.find(|reason| !reason.is_empty()).unwrap_or_default()
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
        .or_else(|| is_held_back(reported).then_some(HELD_BACK))
        .unwrap_or_default();
    truncate(&clean(text), "")
}

/// True if the run or task waits in the state WAITING (databricks-api.md#status).
fn is_held_back(reported: ReportedState<'_>) -> bool {
    let state = reported.status().and_then(|status| status.state.as_ref());
    state == Some(&LifecycleStateV2::Waiting)
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

    /// Returns the failed tasks of a run, the first with this output.
    fn failed(run: &Run, mut output: Option<RunOutput>, omitted: usize) -> FailedRun {
        let tasks = failed_tasks(run).into_iter().map(|task| FailedTask {
            task: task.clone(),
            output: output.take(),
            started: None,
        });
        FailedRun { tasks: tasks.collect(), omitted }
    }

    #[test]
    fn failed_task_has_its_error_code_and_the_end_of_its_trace() {
        let run = run(&json!({"run_id": 1, "tasks": [{
            "task_key": "flyte_task", "run_id": 2,
            "status": {"state": "TERMINATED", "termination_details": {"code": "RUN_EXECUTION_ERROR", "message": "m"}},
        }]}));
        let trace: Vec<String> = (0..30).map(|n| format!("line {n}")).collect();
        let output = output("\u{1b}[31mValueError: no\u{1b}[0m", &trace.join("\r\n"));
        let text = of_failure(&run, &failed(&run, Some(output), 0), None);
        assert!(
            text.starts_with(
                "ValueError: no [RUN_EXECUTION_ERROR]\n… 10 lines omitted …\nline 10\n"
            ),
            "{text}"
        );
        assert!(text.ends_with("line 29"), "{text}");
    }

    #[test]
    fn task_without_error_output_has_its_state_message() {
        let run = run(&json!({"run_id": 1, "tasks": [{
            "task_key": "a", "run_id": 2,
            "state": {"life_cycle_state": "TERMINATED", "result_state": "FAILED", "state_message": "bad library"},
        }, {"task_key": "b", "run_id": 3, "state": {"life_cycle_state": "SKIPPED", "result_state": "UPSTREAM_FAILED"}}]}));
        assert_eq!(failed_tasks(&run).len(), 1);
        assert_eq!(
            of_failure(&run, &failed(&run, Some(output(" ", "")), 2), None),
            "task a: bad library [FAILED]\nand 2 more failed tasks"
        );
    }

    #[test]
    fn missing_package_of_flyte_adds_a_hint() {
        let of_file = |text: &str| of_error_file(&ErrorReason::from(text.to_owned()), None);
        let error = "ModuleNotFoundError: No module named 'flyteplugins'";
        assert!(of_file(error).contains("hint: the compute lacks packages of Flyte"));
        assert!(!of_file("No module named 'flyte_of_mine'").contains("hint"));
    }

    #[test]
    fn errors_of_iterations_and_of_a_started_run_are_added() {
        let each = run(&json!({"run_id": 1, "tasks": [{
            "task_key": "each", "run_id": 2,
            "state": {"life_cycle_state": "TERMINATED", "result_state": "FAILED", "state_message": "m"},
            "for_each_task": {"stats": {"error_message_stats": [
                {"error_message": "KeyError: 'x'", "count": 3}, {"error_message": "OSError", "count": 1}]}},
        }]}));
        assert_eq!(
            of_failure(&each, &failed(&each, None, 0), None),
            "m [FAILED]\n3 iterations failed with: KeyError: 'x'\n1 iteration failed with: OSError"
        );
        let mut outer = failed(&each, None, 0);
        outer.tasks[0].task.iteration_errors.clear();
        let inner = failed(&each, Some(output("ValueError: no", "")), 0);
        outer.tasks[0].started = Some((each.clone(), inner));
        let text = of_failure(&each, &outer, None);
        assert!(
            text.starts_with("m [FAILED]\nthe run 1 that it started: ValueError: no [FAILED]\n"),
            "{text}"
        );
    }

    #[test]
    fn tasks_that_were_not_read_are_mentioned() {
        let mut run = run(&json!({"state": {"life_cycle_state": "INTERNAL_ERROR"}}));
        run.missing_tasks = Some(MissingTasks::TooMany);
        let text = of_failure(&run, &FailedRun::default(), None);
        assert!(text.ends_with("(the run has too many tasks to read their errors)"), "{text}");
        run.missing_tasks =
            Some(MissingTasks::Unreadable { error: "503".to_owned(), is_transient: true });
        let text = of_failure(&run, &FailedRun::default(), None);
        assert!(text.ends_with("(not all tasks of the run could be read: 503)"), "{text}");
    }

    #[test]
    fn waiting_run_has_a_reason() {
        for (value, reason) in [
            (json!({"status": {"state": "WAITING"}}), HELD_BACK),
            (
                json!({"status": {"state": "WAITING"}, "state": {"state_message": "cheap hours"}}),
                "cheap hours",
            ),
            (
                json!({"status": {"state": "RUNNING"}, "state": {"state_message": "In run"},
                    "tasks": [{"task_key": "a", "status": {"state": "PENDING"},
                        "state": {"state_message": "Waiting for cluster"}}]}),
                "Waiting for cluster",
            ),
        ] {
            assert_eq!(of_waiting_run(&run(&value)), reason, "{value}");
        }
    }

    #[test]
    fn known_code_adds_a_hint() {
        let run = run(&json!({"run_id": 1, "tasks": [{
            "task_key": "a", "run_id": 2,
            "status": {"state": "TERMINATED", "termination_details": {"code": "CLOUD_FAILURE", "message": "spot loss"}},
        }]}));
        let text = of_failure(&run, &failed(&run, None, 0), None);
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
                of_failure(
                    &run(&json!({"run_id": 1, "state": state})),
                    &FailedRun::default(),
                    None
                ),
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
            let failed = failed(&run, None, 0);
            assert_eq!(failed.cluster_id(), Some("c"));
            of_failure(&run, &failed, Some(cluster))
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
