//! Why a run is where it is, in the user's words where there are any. Pure.

mod plain_text;

use databricks_client::{
    clusters::{Cluster, ClusterState},
    jobs::{
        LifeCycleState, QueueCode, ResultState, Run, RunOutput, RunState, RunStatus, RunTask,
        TerminationCode,
    },
};

use plain_text::{bounded, clean};

use crate::get::{
    hints,
    phase::{Outcome, Progress, progress_of, was_skipped},
};

/// How many failed tasks are read for their error.
pub(crate) const MAX_FAILED_TASKS: usize = 5;

/// How many lines of a stack trace are told: its end, where the error is.
const TRACE_LINES: usize = 15;

/// Ends of clusters that say nothing about the run.
const ORDINARY_ENDS: [&str; 3] = ["JOB_FINISHED", "INACTIVITY", "UNKNOWN"];

/// How many facts about the end of a cluster are told, and how much of each.
const MAX_FACTS: usize = 5;
const MAX_FACT_CHARACTERS: usize = 200;

/// The tasks that failed, by their latest attempts. Tasks that never ran because another failed are not among them.
pub(crate) fn failed_tasks(run: &Run) -> Vec<&RunTask> {
    run.latest_attempts()
        .into_iter()
        .filter(|task| !was_skipped(task.status.as_ref(), task.state.as_ref()))
        .filter(|task| match progress_of(task.status.as_ref(), task.state.as_ref()) {
            Progress::Ended(outcome) => outcome != Outcome::Succeeded,
            Progress::Waiting | Progress::Preparing | Progress::Running => false,
        })
        .collect()
}

/// What is known of one failed task.
#[derive(Debug)]
pub(crate) struct FailedTask<'a> {
    pub(crate) task: &'a RunTask,
    /// Its output, if it could be read.
    pub(crate) output: Option<RunOutput>,
}

/// The cluster that may tell more of the failure: that of the first failed task which has one.
pub(crate) fn cluster_of<'a>(failed: &[FailedTask<'a>]) -> Option<&'a str> {
    let ids = failed
        .iter()
        .filter_map(|failed| failed.task.cluster_instance.as_ref()?.cluster_id.as_deref());
    ids.into_iter().find(|id| !id.is_empty())
}

/// Why a run failed: for each failed task its error, the end of its trace and its termination code; else what the run
/// says of itself. Then how its cluster ended, if that was no ordinary end.
pub(crate) fn of_failure(
    run: &Run,
    failed: &[FailedTask<'_>],
    left_out: usize,
    cluster: Option<&Cluster>,
) -> String {
    let several = run.latest_attempts().len() > 1;
    let mut parts: Vec<String> =
        failed.iter().map(|failed| of_failed_task(failed, several)).collect();
    if left_out > 0 {
        parts.push(format!("and {left_out} more failed tasks"));
    }
    if parts.is_empty() {
        parts.push(of_state(run.status.as_ref(), run.state.as_ref()));
    }
    let cluster = cluster.and_then(of_cluster);
    let of_cluster = cluster.as_ref().and_then(|(code, _)| hints::of_cluster(code));
    let codes =
        failed.iter().map(|failed| failed.task.status.as_ref()).chain([run.status.as_ref()]);
    let of_code = codes
        .flatten()
        .find_map(|status| hints::of_code(status.termination_details.as_ref()?.code.as_ref()?));
    // The cluster knows more than the run: a lost driver has many causes.
    let hint = of_cluster.or(of_code).map(|hint| format!("hint: {hint}"));
    let end: Vec<String> = cluster.map(|(_, told)| told).into_iter().chain(hint).collect();
    bounded(&clean(&parts.join("\n")), &clean(&end.join("\n")))
}

/// The code and the story of a cluster's end, unless it is an ordinary one or the cluster lives on.
fn of_cluster(cluster: &Cluster) -> Option<(&str, String)> {
    let ended = [ClusterState::Terminated, ClusterState::Terminating, ClusterState::Error];
    let reason = cluster.termination_reason.as_ref()?;
    let code = given(reason.code.as_deref())?;
    if !cluster.state.as_ref().is_some_and(|state| ended.contains(state))
        || ORDINARY_ENDS.contains(&code)
    {
        return None;
    }
    let facts: Vec<String> = reason
        .parameters
        .iter()
        .filter(|(_, value)| !value.trim().is_empty())
        .take(MAX_FACTS)
        .map(|(name, value)| {
            format!(
                "{name}: {}",
                value.trim().chars().take(MAX_FACT_CHARACTERS).collect::<String>()
            )
        })
        .collect();
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join("; ")) };
    Some((code, format!("its cluster ended with {code}{facts}")))
}

/// The reason that Flyte's runtime wrote down.
pub(crate) fn of_error_file(text: &str) -> String {
    bounded(&clean(text), "")
}

fn of_failed_task(failed: &FailedTask<'_>, several: bool) -> String {
    let FailedTask { task, output } = failed;
    let own_words = output.as_ref().and_then(|output| given(output.error.as_deref()));
    let state = of_state(task.status.as_ref(), task.state.as_ref());
    let mut text = match (own_words, code(task.status.as_ref(), task.state.as_ref())) {
        (Some(error), Some(code)) => format!("{error} [{code}]"),
        (Some(error), None) => error.to_owned(),
        (None, _) => state,
    };
    if let Some(trace) = output.as_ref().and_then(|output| given(output.error_trace.as_deref())) {
        let lines: Vec<&str> = trace.lines().collect();
        let skipped = lines.len().saturating_sub(TRACE_LINES);
        for line in lines.iter().skip(skipped) {
            text.push('\n');
            text.push_str(line);
        }
    }
    if several { format!("task {}: {text}", task.task_key) } else { text }
}

/// What a waiting, preparing or running run says of itself: the queue's reason, else its state message.
pub(crate) fn of_progress(run: &Run) -> String {
    of_waiting(run.status.as_ref(), run.state.as_ref())
}

/// The same of a run or of a task; empty when it says nothing.
pub(crate) fn of_waiting(status: Option<&RunStatus>, state: Option<&RunState>) -> String {
    let queue = status.and_then(|status| status.queue_details.as_ref());
    let queue_message = queue.and_then(|details| given(details.message.as_deref()));
    let queue_code = queue.and_then(|details| details.code.as_ref()).map(QueueCode::as_str);
    let text = queue_message
        .or_else(|| state.and_then(|state| given(state.queue_reason.as_deref())))
        .or(queue_code)
        .or_else(|| state.and_then(|state| given(state.state_message.as_deref())))
        .unwrap_or_default();
    bounded(&clean(text), "")
}

/// The message and code of an ended run or task, as far as they are there.
pub(crate) fn of_state(status: Option<&RunStatus>, state: Option<&RunState>) -> String {
    let details = status.and_then(|status| status.termination_details.as_ref());
    let message = details
        .and_then(|details| given(details.message.as_deref()))
        .or_else(|| state.and_then(|state| given(state.state_message.as_deref())));
    match (message, code(status, state)) {
        (Some(message), Some(code)) => format!("{message} [{code}]"),
        (Some(message), None) => message.to_owned(),
        (None, Some(code)) => format!("the run ended with {code} and no message"),
        (None, None) => "the run ended, and Databricks does not say how".to_owned(),
    }
}

/// The termination code, else the legacy result, else the legacy life cycle.
pub(crate) fn code<'a>(
    status: Option<&'a RunStatus>,
    state: Option<&'a RunState>,
) -> Option<&'a str> {
    status
        .and_then(|status| status.termination_details.as_ref())
        .and_then(|details| details.code.as_ref())
        .map(TerminationCode::as_str)
        .or_else(|| state.and_then(|state| state.result_state.as_ref()).map(ResultState::as_str))
        .or_else(|| {
            state.and_then(|state| state.life_cycle_state.as_ref()).map(LifeCycleState::as_str)
        })
}

fn given(text: Option<&str>) -> Option<&str> {
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
    fn a_failed_task_is_told_with_its_error_code_and_the_end_of_its_trace() {
        let run = run(&json!({"run_id": 1, "tasks": [{
            "task_key": "flyte_task", "run_id": 2,
            "status": {"state": "TERMINATED", "termination_details": {"code": "RUN_EXECUTION_ERROR", "message": "m"}},
        }]}));
        let failed = failed_tasks(&run);
        let trace: Vec<String> = (0..30).map(|n| format!("line {n}")).collect();
        let told = FailedTask {
            task: failed[0],
            output: Some(output("\u{1b}[31mValueError: no\u{1b}[0m", &trace.join("\r\n"))),
        };
        let text = of_failure(&run, &[told], 0, None);
        assert!(text.starts_with("ValueError: no [RUN_EXECUTION_ERROR]\nline 15\n"), "{text}");
        assert!(text.ends_with("line 29"), "{text}");
    }

    #[test]
    fn a_task_whose_output_says_nothing_is_told_by_its_state() {
        let run = run(&json!({"run_id": 1, "tasks": [{
            "task_key": "a", "run_id": 2,
            "state": {"life_cycle_state": "TERMINATED", "result_state": "FAILED", "state_message": "bad library"},
        }, {"task_key": "b", "run_id": 3, "state": {"life_cycle_state": "SKIPPED", "result_state": "UPSTREAM_FAILED"}}]}));
        let failed = failed_tasks(&run);
        assert_eq!(failed.len(), 1);
        let told = FailedTask { task: failed[0], output: Some(output(" ", "")) };
        assert_eq!(
            of_failure(&run, &[told], 2, None),
            "task a: bad library [FAILED]\nand 2 more failed tasks"
        );
    }

    #[test]
    fn a_code_that_is_known_brings_a_hint() {
        let run = run(&json!({"run_id": 1, "tasks": [{
            "task_key": "a", "run_id": 2,
            "status": {"state": "TERMINATED", "termination_details": {"code": "CLOUD_FAILURE", "message": "spot loss"}},
        }]}));
        let told = FailedTask { task: failed_tasks(&run)[0], output: None };
        let text = of_failure(&run, &[told], 0, None);
        assert!(text.starts_with("spot loss [CLOUD_FAILURE]\nhint: the cloud lost"), "{text}");
    }

    #[test]
    fn only_the_latest_attempt_of_a_task_counts() {
        let run = run(&json!({"run_id": 1, "tasks": [
            {"task_key": "a", "run_id": 2, "attempt_number": 0, "state": {"life_cycle_state": "TERMINATED", "result_state": "FAILED"}},
            {"task_key": "a", "run_id": 3, "attempt_number": 1, "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}},
        ]}));
        assert!(failed_tasks(&run).is_empty());
    }

    #[test]
    fn a_run_without_tasks_speaks_for_itself() {
        for (state, told) in [
            (
                json!({"life_cycle_state": "SKIPPED", "state_message": "another run is active"}),
                "another run is active [SKIPPED]",
            ),
            (
                json!({"life_cycle_state": "INTERNAL_ERROR"}),
                "the run ended with INTERNAL_ERROR and no message",
            ),
            (json!({}), "the run ended, and Databricks does not say how"),
        ] {
            assert_eq!(of_failure(&run(&json!({"run_id": 1, "state": state})), &[], 0, None), told);
        }
    }

    #[test]
    fn the_queue_reason_comes_before_the_state_message() {
        let run = run(&json!({"run_id": 1,
            "status": {"state": "QUEUED", "queue_details": {"code": "ACTIVE_RUNS_LIMIT_REACHED", "message": "too many"}},
            "state": {"life_cycle_state": "QUEUED", "state_message": "waiting"}}));
        assert_eq!(of_progress(&run), "too many");
    }

    fn cluster(state: &str, code: &str, parameters: &serde_json::Value) -> Cluster {
        serde_json::from_value(json!({"cluster_id": "c", "state": state,
            "termination_reason": {"code": code, "parameters": parameters}}))
        .unwrap()
    }

    #[test]
    fn the_end_of_a_cluster_is_told_and_its_hint_comes_before_that_of_the_run() {
        let run = run(&json!({"run_id": 1, "tasks": [{
            "task_key": "a", "run_id": 2, "cluster_instance": {"cluster_id": "c"},
            "status": {"state": "TERMINATED", "termination_details": {"code": "DRIVER_ERROR", "message": "driver lost"}},
        }]}));
        let told = |cluster: &Cluster| {
            let failed = [FailedTask { task: failed_tasks(&run)[0], output: None }];
            assert_eq!(cluster_of(&failed), Some("c"));
            of_failure(&run, &failed, 0, Some(cluster))
        };
        let parameters = json!({"databricks_error_message": "\u{1b}[1mno memory", "empty": " "});
        let text = told(&cluster("TERMINATED", "DRIVER_OUT_OF_MEMORY", &parameters));
        assert!(
            text.starts_with(
                "driver lost [DRIVER_ERROR]\nits cluster ended with DRIVER_OUT_OF_MEMORY \
                 (databricks_error_message: no memory)\nhint: the driver ran out of memory"
            ),
            "{text}"
        );
        // Ordinary, still alive, or not told.
        for quiet in [
            cluster("TERMINATED", "JOB_FINISHED", &json!({})),
            cluster("RUNNING", "DRIVER_OUT_OF_MEMORY", &json!({})),
            Cluster::default(),
        ] {
            let text = told(&quiet);
            assert!(
                text.starts_with("driver lost [DRIVER_ERROR]\nhint: the driver was lost"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_long_story_of_a_cluster_is_bounded() {
        let facts: serde_json::Map<String, serde_json::Value> =
            (0..50).map(|n| (format!("fact {n:02}"), json!("x".repeat(10_000)))).collect();
        let (_, told) = of_cluster(&cluster("ERROR", "NOVEL", &json!(facts)))
            .map(|(c, t)| (c.to_owned(), t))
            .unwrap();
        assert!(told.len() < 1_200 && told.contains("fact 04") && !told.contains("fact 05"));
    }
}
