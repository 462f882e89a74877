//! The calls about the clusters of runs (DA §1.10).

use super::Call;
use super::query::Query;
use crate::answers::{self, Wanted};
use crate::refusal::{Refusal, invalid};
use serde_json::{Map, Value, json};

impl Call<'_> {
    /// Only clusters that runs work on are known; the latest run tells.
    pub(super) fn get_cluster(&self, query: &Query) -> Result<Value, Refusal> {
        let cluster_id = query
            .text("cluster_id")
            .ok_or_else(|| invalid("Missing required parameter: cluster_id."))?;
        let clusters = self
            .shared
            .workspace
            .read_all(|run, now| answers::cluster(run, cluster_id, &self.asked(now)));
        let latest = clusters.into_iter().next();
        latest.ok_or_else(|| invalid(format!("Cluster {cluster_id} does not exist")))
    }

    /// Events of the clusters that runs work on, derived from the lives of the runs.
    pub(super) fn list_cluster_events(&self, body: &Map<String, Value>) -> Result<Value, Refusal> {
        let wanted = Wanted::parse(body)?;
        let clusters = self
            .shared
            .workspace
            .read_all(|run, _| answers::cluster_events(run, &wanted.cluster_id));
        let events = clusters
            .into_iter()
            .next()
            .ok_or_else(|| invalid(format!("Cluster {} does not exist", wanted.cluster_id)))?;
        let events = wanted.select(events);
        Ok(json!({"total_count": events.len(), "events": events}))
    }
}
