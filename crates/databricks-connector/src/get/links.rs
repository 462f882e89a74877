//! The links of a resource, and its custom info. Pure.

use std::collections::BTreeSet;

use connector_core::{LogLink, Resource};
use databricks_client::{Host, RunId, jobs::Run};
use serde_json::{Map, Value, json};

/// The name of the link to the run page, as in the Python plugin. Flyte merges links by name
/// (flyte-contract.md#python-requests).
const RUN_PAGE: &str = "Databricks Console";

/// Returns the address of a page of the workspace.
fn page(host: &Host, fragment: &str) -> String {
    let workspace = host.workspace_id().map(|id| format!("?o={id}")).unwrap_or_default();
    format!("{}/{workspace}#{fragment}", host.base_url())
}

/// Returns the link to the run page: Databricks' URL, else one built from the job id and the run
/// id. Returns `None` while the URL and the job id are unknown.
fn run_page(host: &Host, run_id: RunId, run: &Run) -> Option<LogLink> {
    let uri = match (&run.run_page_url, run.job_id) {
        (Some(url), _) if url.starts_with("https://") || url.starts_with("http://") => url.clone(),
        (_, Some(job_id)) => page(host, &format!("job/{job_id}/run/{run_id}")),
        (_, None) => return None,
    };
    Some(LogLink { name: RUN_PAGE.to_owned(), uri })
}

/// Returns the cluster ids of the run's tasks.
fn clusters(run: &Run) -> BTreeSet<&str> {
    run.tasks
        .iter()
        .filter_map(|task| task.cluster_instance.as_ref()?.cluster_id.as_deref())
        .filter(|id| !id.is_empty())
        .collect()
}

/// Returns the links to the pages of the run's cluster, if it has exactly one: link names must be unique.
fn cluster_pages(host: &Host, run: &Run) -> Vec<LogLink> {
    let clusters = clusters(run);
    match (clusters.first(), clusters.len()) {
        (Some(id), 1) => [("Spark UI", "sparkUi"), ("Driver Logs", "driverLogs")]
            .into_iter()
            .map(|(name, name_in_url)| LogLink {
                name: name.to_owned(),
                uri: page(host, &format!("setting/clusters/{id}/{name_in_url}")),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Returns ids and durations of the run. Ids are strings, because a Struct cannot represent integers over 2^53.
fn custom_info(run_id: RunId, run: &Run) -> Map<String, Value> {
    let details = run.status.as_ref().and_then(|status| status.termination_details.as_ref());
    let code = details.and_then(|details| details.code.as_ref()).map(|code| json!(code.as_str()));
    let only_task = match run.latest_attempts().as_slice() {
        [task] => Some(*task),
        _ => None,
    };
    // The run's own durations are 0 for runs with several tasks (databricks-api.md#runs-get).
    let seconds = |of_run: Option<i64>, of_task: Option<i64>| {
        of_run
            .filter(|&milliseconds| milliseconds > 0)
            .or(of_task)
            .and_then(|milliseconds| u32::try_from(milliseconds).ok())
            .map(|milliseconds| json!(f64::from(milliseconds) / 1000.0))
    };
    let clusters = clusters(run);
    [
        ("run_id", Some(json!(run_id.to_string()))),
        ("job_id", run.job_id.map(|id| json!(id.to_string()))),
        ("cluster_ids", (!clusters.is_empty()).then(|| json!(clusters))),
        (
            "attempt",
            only_task
                .and_then(|task| task.attempt_number)
                .or(run.attempt_number)
                // Databricks counts from 0.
                .map(|attempt| json!(attempt.saturating_add(1))),
        ),
        ("queue_seconds", seconds(run.queue_duration, None)),
        (
            "setup_seconds",
            seconds(run.setup_duration, only_task.and_then(|task| task.setup_duration)),
        ),
        (
            "execution_seconds",
            seconds(run.execution_duration, only_task.and_then(|task| task.execution_duration)),
        ),
        ("termination_code", code),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value?)))
    .collect()
}

/// Adds the links of a run, the run page first, and its custom info.
pub(crate) fn add(mut resource: Resource, host: &Host, run_id: RunId, run: &Run) -> Resource {
    resource.links.extend(run_page(host, run_id, run));
    resource.links.extend(cluster_pages(host, run));
    resource.custom_info.extend(custom_info(run_id, run));
    resource
}

#[cfg(test)]
mod tests {
    use connector_core::Phase;

    use super::*;

    fn links_and_info(run: &Value) -> (Vec<String>, Value) {
        let run: Run = serde_json::from_value(run.clone()).unwrap();
        let host: Host = "dbc-1.cloud.databricks.com".parse().unwrap();
        let resource = add(Resource::new(Phase::Running), &host, "7".parse().unwrap(), &run);
        let links =
            resource.links.iter().map(|link| format!("{} {}", link.name, link.uri)).collect();
        (links, Value::Object(resource.custom_info))
    }

    #[test]
    fn run_page_comes_first_and_a_single_cluster_has_links() {
        let (links, _) = links_and_info(&json!({
            "job_id": 11, "tasks": [{"task_key": "a", "cluster_instance": {"cluster_id": "c-1"}}],
        }));
        assert_eq!(
            links,
            [
                "Databricks Console https://dbc-1.cloud.databricks.com/#job/11/run/7",
                "Spark UI https://dbc-1.cloud.databricks.com/#setting/clusters/c-1/sparkUi",
                "Driver Logs https://dbc-1.cloud.databricks.com/#setting/clusters/c-1/driverLogs",
            ]
        );
    }

    #[test]
    fn run_page_url_is_used_only_if_it_is_an_http_url() {
        let (links, _) = links_and_info(
            &json!({"job_id": 11, "run_page_url": "https://x.example/?o=1#job/11/run/7"}),
        );
        assert_eq!(links, ["Databricks Console https://x.example/?o=1#job/11/run/7"]);
        let (links, _) =
            links_and_info(&json!({"job_id": 11, "run_page_url": "javascript:alert(1)"}));
        assert_eq!(links, ["Databricks Console https://dbc-1.cloud.databricks.com/#job/11/run/7"]);
        assert!(links_and_info(&json!({})).0.is_empty());
    }

    #[test]
    fn durations_of_the_only_task_are_those_of_the_run() {
        let (_, info) = links_and_info(&json!({
            "job_id": 218_406_790_113_205_i64, "queue_duration": 1500, "setup_duration": 0,
            "status": {"state": "TERMINATED", "termination_details": {"code": "SUCCESS"}},
            "tasks": [{"task_key": "a", "attempt_number": 1, "setup_duration": 250, "cluster_instance": {"cluster_id": "c"}}],
        }));
        assert_eq!(
            info,
            json!({"run_id": "7", "job_id": "218406790113205", "cluster_ids": ["c"], "attempt": 2,
                "queue_seconds": 1.5, "setup_seconds": 0.25, "termination_code": "SUCCESS"})
        );
    }
}
