//! The number of workers of a run's clusters over time, from cluster events (databricks-api.md#clusters).

use databricks_client::{
    Client, Error,
    clusters::{Cluster, ClusterEvent, ListClusterEvents},
};

use super::series::{Curve, UnsampledSeries};

/// Clusters that one query reads, so that a run of 1,000 tasks does not cost 2,000 calls.
const MAX_CLUSTERS: usize = 16;

/// Events that one query reads of each cluster.
const MAX_EVENTS: u32 = 500;

/// The event types that affect the number of workers.
const EVENT_TYPES: [&str; 8] = [
    "CREATING",
    "NODES_LOST",
    "RESIZING",
    "RESTARTING",
    "RUNNING",
    "STARTING",
    "TERMINATING",
    "UPSIZE_COMPLETED",
];

/// Reads the number of workers of each cluster, from its given start to `until`.
///
/// # Errors
///
/// Failures to read a cluster or its events.
pub(super) async fn read(
    client: &Client,
    clusters: &[(&str, u64)],
    until: u64,
) -> Result<Vec<UnsampledSeries>, Error> {
    let mut series = Vec::new();
    for (id, since) in clusters.iter().take(MAX_CLUSTERS) {
        let list = ListClusterEvents {
            cluster_id: (*id).to_owned(),
            start_time: i64::try_from(*since).ok(),
            end_time: i64::try_from(until).ok(),
            event_types: EVENT_TYPES.map(ToOwned::to_owned).into(),
            page_size: MAX_EVENTS,
        };
        let mut steps = steps(&client.list_cluster_events(&list).await?, *since);
        if steps.is_empty() {
            let workers = current_workers(&client.get_cluster(id).await?);
            steps.extend(workers.map(|workers| (*since, workers)));
        }
        if !steps.is_empty() {
            series.push(UnsampledSeries::new(&[("cluster_id", id)], Curve::Steps(steps)));
        }
    }
    Ok(series)
}

/// Returns the number of workers after each event. Before the first event of an older cluster, it is the number that the
/// event reports as current.
fn steps(events: &[ClusterEvent], since: u64) -> Vec<(u64, f64)> {
    let mut steps: Vec<(u64, f64)> = Vec::new();
    for event in events {
        let Some(at) = event.timestamp.and_then(|at| u64::try_from(at).ok()) else { continue };
        let current = event.details.current_num_workers.and_then(count);
        let (before, workers) = match event.kind.as_deref() {
            Some("CREATING" | "STARTING" | "RESTARTING") => (None, Some(0.0)),
            Some("TERMINATING") => (current, Some(0.0)),
            Some("RESIZING") => (current, current),
            _ => (None, current),
        };
        if let (true, Some(before)) = (steps.is_empty() && at > since, before) {
            steps.push((since, before));
        }
        steps.extend(workers.map(|workers| (at, workers)));
    }
    steps
}

/// Returns the current number of workers: the listed executors, else the configured number.
fn current_workers(cluster: &Cluster) -> Option<f64> {
    let executors = cluster.executors.as_ref().filter(|executors| !executors.is_empty());
    match executors {
        Some(executors) => u32::try_from(executors.len()).ok().map(f64::from),
        None => cluster.num_workers.and_then(count),
    }
}

fn count(workers: i64) -> Option<f64> {
    u32::try_from(workers).ok().map(f64::from)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn steps_of(events: &Value) -> Vec<(u64, f64)> {
        let events: Vec<ClusterEvent> = serde_json::from_value(events.clone()).unwrap();
        steps(&events, 100)
    }

    #[test]
    fn job_cluster_has_no_workers_before_it_runs_and_after_it_terminates() {
        let events = json!([
            {"timestamp": 100, "type": "CREATING", "details": {"cluster_size": {"num_workers": 3}}},
            {"timestamp": 160, "type": "RUNNING", "details": {"current_num_workers": 3, "target_num_workers": 3}},
            {"timestamp": 200, "type": "NODES_LOST", "details": {}},
            {"timestamp": 300, "type": "RESIZING", "details": {"current_num_workers": 2, "target_num_workers": 4}},
            {"timestamp": 360, "type": "UPSIZE_COMPLETED", "details": {"current_num_workers": 4}},
            {"timestamp": 400, "type": "TERMINATING", "details": {}},
        ]);
        assert_eq!(steps_of(&events), [(100, 0.0), (160, 3.0), (300, 2.0), (360, 4.0), (400, 0.0)]);
    }

    #[test]
    fn older_cluster_has_the_workers_that_its_first_event_reports() {
        let events = json!([
            {"timestamp": 300, "type": "RESIZING", "details": {"current_num_workers": 2, "target_num_workers": 4}},
        ]);
        assert_eq!(steps_of(&events), [(100, 2.0), (300, 2.0)]);
        assert_eq!(steps_of(&json!([])), []);
    }

    #[test]
    fn without_events_executors_take_precedence_over_num_workers() {
        let cluster = |json: &str| serde_json::from_str::<Cluster>(json).unwrap();
        assert_eq!(
            current_workers(&cluster(r#"{"num_workers": 5, "executors": [{}, {}]}"#)),
            Some(2.0)
        );
        assert_eq!(current_workers(&cluster(r#"{"num_workers": 5, "executors": [7]}"#)), Some(5.0));
        assert_eq!(current_workers(&cluster("{}")), None);
    }
}
