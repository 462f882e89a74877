//! Cache of the facts about clusters that never change: source and log destination.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use databricks_client::{Host, clusters::Cluster};

use super::destination::{Destination, is_job_cluster};

/// The maximum number of clusters in the cache.
const MAX_KNOWN: usize = 10_000;

/// The immutable facts about a cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct ClusterFacts {
    /// Whether the cluster exists for one run only.
    pub(super) is_job_cluster: bool,
    /// Where its driver logs are delivered.
    pub(super) destination: Option<Destination>,
}

/// The clusters that this process has read.
#[derive(Debug, Default)]
pub(crate) struct KnownClusters(Mutex<HashMap<(Host, String), ClusterFacts>>);

impl KnownClusters {
    pub(super) fn get(&self, host: &Host, id: &str) -> Option<ClusterFacts> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(host.clone(), id.to_owned())).cloned()
    }

    pub(super) fn insert(&self, host: &Host, id: &str, cluster: &Cluster) -> ClusterFacts {
        let facts = ClusterFacts {
            is_job_cluster: is_job_cluster(cluster),
            destination: Destination::of(cluster),
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert((host.clone(), id.to_owned()), facts.clone());
        facts
    }
}
