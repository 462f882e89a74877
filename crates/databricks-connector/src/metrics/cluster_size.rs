//! How many workers the clusters of a run had, and when (DA §1.10).

use databricks_client::{
    Client, Error,
    clusters::{Cluster, ClusterEvent, ListClusterEvents},
};

use super::curve::{Curve, Told};

/// Clusters that are asked about for one answer: a run of 1,000 tasks must not be two thousand calls.
const MAX_CLUSTERS: usize = 16;

/// Changes of one cluster's size that are read for one answer.
const MAX_EVENTS: u32 = 500;

/// The events that say something about the size.
const KINDS: [&str; 8] = [
    "CREATING",
    "NODES_LOST",
    "RESIZING",
    "RESTARTING",
    "RUNNING",
    "STARTING",
    "TERMINATING",
    "UPSIZE_COMPLETED",
];

/// The sizes of the clusters, each since it was first worked on, until then.
///
/// # Errors
///
/// When a cluster or its events cannot be read.
pub(super) async fn of_clusters(
    client: &Client,
    clusters: &[(&str, u64)],
    until: u64,
) -> Result<Vec<Told>, Error> {
    let mut told = Vec::new();
    for (id, since) in clusters.iter().take(MAX_CLUSTERS) {
        let list = ListClusterEvents {
            cluster_id: (*id).to_owned(),
            start_time: i64::try_from(*since).ok(),
            end_time: i64::try_from(until).ok(),
            event_types: KINDS.map(ToOwned::to_owned).into(),
            page_size: MAX_EVENTS,
        };
        let mut steps = steps(&client.list_cluster_events(&list).await?, *since);
        if steps.is_empty() {
            steps.extend(size(&client.get_cluster(id).await?).map(|workers| (*since, workers)));
        }
        if !steps.is_empty() {
            told.push(Told::new(&[("cluster_id", id)], Curve::Steps(steps)));
        }
    }
    Ok(told)
}

/// The size after each event. A cluster that was there before has, until the first change, what that one found.
fn steps(events: &[ClusterEvent], since: u64) -> Vec<(u64, f64)> {
    let mut steps: Vec<(u64, f64)> = Vec::new();
    for event in events {
        let Some(at) = event.timestamp.and_then(|at| u64::try_from(at).ok()) else { continue };
        let told = event.details.current_num_workers.and_then(count);
        let (before, workers) = match event.kind.as_deref() {
            Some("CREATING" | "STARTING" | "RESTARTING") => (None, Some(0.0)),
            Some("TERMINATING") => (told, Some(0.0)),
            Some("RESIZING") => (told, told),
            _ => (None, told),
        };
        if let (true, Some(before)) = (steps.is_empty() && at > since, before) {
            steps.push((since, before));
        }
        steps.extend(workers.map(|workers| (at, workers)));
    }
    steps
}

/// The size of a cluster now: its machines, or what it shall have where they are not listed.
fn size(cluster: &Cluster) -> Option<f64> {
    let machines = cluster.executors.as_ref().filter(|machines| !machines.is_empty());
    match machines {
        Some(machines) => u32::try_from(machines.len()).ok().map(f64::from),
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

    fn told(events: &Value) -> Vec<(u64, f64)> {
        let events: Vec<ClusterEvent> = serde_json::from_value(events.clone()).unwrap();
        steps(&events, 100)
    }

    #[test]
    fn a_cluster_of_the_runs_own_has_no_workers_until_it_runs_and_none_when_it_ends() {
        let events = json!([
            {"timestamp": 100, "type": "CREATING", "details": {"cluster_size": {"num_workers": 3}}},
            {"timestamp": 160, "type": "RUNNING", "details": {"current_num_workers": 3, "target_num_workers": 3}},
            {"timestamp": 200, "type": "NODES_LOST", "details": {}},
            {"timestamp": 300, "type": "RESIZING", "details": {"current_num_workers": 2, "target_num_workers": 4}},
            {"timestamp": 360, "type": "UPSIZE_COMPLETED", "details": {"current_num_workers": 4}},
            {"timestamp": 400, "type": "TERMINATING", "details": {}},
        ]);
        assert_eq!(told(&events), [(100, 0.0), (160, 3.0), (300, 2.0), (360, 4.0), (400, 0.0)]);
    }

    #[test]
    fn a_cluster_that_was_there_before_had_what_its_first_change_found() {
        let events = json!([
            {"timestamp": 300, "type": "RESIZING", "details": {"current_num_workers": 2, "target_num_workers": 4}},
        ]);
        assert_eq!(told(&events), [(100, 2.0), (300, 2.0)]);
        assert_eq!(told(&json!([])), []);
    }

    #[test]
    fn without_events_the_machines_count_before_the_plan() {
        let cluster = |json: &str| serde_json::from_str::<Cluster>(json).unwrap();
        assert_eq!(size(&cluster(r#"{"num_workers": 5, "executors": [{}, {}]}"#)), Some(2.0));
        assert_eq!(size(&cluster(r#"{"num_workers": 5, "executors": [7]}"#)), Some(5.0));
        assert_eq!(size(&cluster("{}")), None);
    }
}
