//! `clusters/get` and `clusters/events` (databricks-api.md#clusters).

use super::ApiCall;
use super::query::Query;
use crate::api::error::{ApiError, invalid};
use crate::jobs::responses::{self, EventFilter};
use serde_json::{Map, Value, json};

impl ApiCall<'_> {
    /// Returns a cluster that a run uses, as its latest run shows it.
    pub(super) fn get_cluster(&self, query: &Query) -> Result<Value, ApiError> {
        let cluster_id = query
            .text("cluster_id")
            .ok_or_else(|| invalid("Missing required parameter: cluster_id."))?;
        let clusters = self
            .state
            .runs
            .read_all(|run, now| responses::cluster(run, cluster_id, &self.context(now)));
        let latest = clusters.into_iter().next();
        latest.ok_or_else(|| invalid(format!("Cluster {cluster_id} does not exist")))
    }

    /// Returns the events of a cluster, derived from the timeline of its latest run.
    pub(super) fn list_cluster_events(&self, body: &Map<String, Value>) -> Result<Value, ApiError> {
        let filter = EventFilter::parse(body)?;
        let clusters =
            self.state.runs.read_all(|run, _| responses::cluster_events(run, &filter.cluster_id));
        let events = clusters
            .into_iter()
            .next()
            .ok_or_else(|| invalid(format!("Cluster {} does not exist", filter.cluster_id)))?;
        let events = filter.select(events);
        Ok(json!({"total_count": events.len(), "events": events}))
    }
}
