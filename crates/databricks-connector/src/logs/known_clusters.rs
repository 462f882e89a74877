//! What this process has learnt about the clusters of runs.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use databricks_client::{Host, clusters::Cluster};

use super::destination::Destination;

/// How many clusters are remembered.
const MAX_KNOWN: usize = 10_000;

/// What never changes about a cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Whether it lives for the run alone.
    pub(super) is_own: bool,
    /// Where its logs go.
    pub(super) destination: Option<Destination>,
}

/// What this process has learnt about clusters, so that not every page asks again.
#[derive(Debug, Default)]
pub(crate) struct KnownClusters(Mutex<HashMap<(Host, String), Known>>);

impl KnownClusters {
    pub(super) fn get(&self, host: &Host, id: &str) -> Option<Known> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(host.clone(), id.to_owned())).cloned()
    }

    pub(super) fn learn(&self, host: &Host, id: &str, cluster: &Cluster) -> Known {
        let is_own = cluster.cluster_source.as_deref() == Some("JOB");
        let learnt = Known { is_own, destination: Destination::of(cluster) };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert((host.clone(), id.to_owned()), learnt.clone());
        learnt
    }
}
