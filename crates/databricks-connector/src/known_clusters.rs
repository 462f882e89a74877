//! Cache of the facts about clusters that never change: source and log destination.

mod destination;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use databricks_client::{Host, clusters::Cluster};

pub(crate) use destination::Destination;
use destination::is_job_cluster;

/// The maximum number of clusters in the cache.
const MAX_KNOWN: usize = 10_000;

/// The immutable facts about a cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterFacts {
    /// Whether the cluster exists for one run only.
    pub(crate) is_job_cluster: bool,
    /// Where its driver logs are delivered.
    pub(crate) destination: Option<Destination>,
}

/// The clusters that this process has read.
#[derive(Debug, Default)]
pub(crate) struct KnownClusters(Mutex<HashMap<(Host, String), ClusterFacts>>);

impl KnownClusters {
    pub(crate) fn get(&self, host: &Host, id: &str) -> Option<ClusterFacts> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(host.clone(), id.to_owned())).cloned()
    }

    pub(crate) fn insert(&self, host: &Host, id: &str, cluster: &Cluster) -> ClusterFacts {
        let facts = ClusterFacts {
            is_job_cluster: is_job_cluster(cluster),
            destination: Destination::from_cluster(cluster),
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert((host.clone(), id.to_owned()), facts.clone());
        facts
    }
}
