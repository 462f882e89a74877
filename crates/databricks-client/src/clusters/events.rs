//! What happened to a cluster (DA §1.10).

use serde::Deserialize;
use serde_json::json;

use super::TerminationReason;
use crate::{
    Client, Error, Lane, int64,
    request::{Endpoint, Request},
};

/// Which events of a cluster are asked for, the earliest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListClusterEvents {
    /// The cluster.
    pub cluster_id: String,
    /// From this time on, in milliseconds since the epoch.
    pub start_time: Option<i64>,
    /// Until this time, likewise.
    pub end_time: Option<i64>,
    /// Kinds of events; empty: all.
    pub event_types: Vec<String>,
    /// At most so many, at most 500.
    pub page_size: u32,
}

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClusterEvent {
    /// When, in milliseconds since the epoch.
    #[serde(deserialize_with = "int64::optional")]
    pub timestamp: Option<i64>,
    /// Its kind, such as `CREATING`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What else is known of it.
    #[serde(deserialize_with = "crate::jobs::null_as_default")]
    pub details: ClusterEventDetails,
}

/// What else is known of an event; each kind has its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClusterEventDetails {
    /// How many workers there are.
    #[serde(deserialize_with = "int64::optional")]
    pub current_num_workers: Option<i64>,
    /// How many workers there will be.
    #[serde(deserialize_with = "int64::optional")]
    pub target_num_workers: Option<i64>,
    /// Why the cluster ends, or did not start.
    pub reason: Option<TerminationReason>,
    /// What the driver says of itself.
    pub driver_state_message: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default, deserialize_with = "crate::jobs::null_as_default")]
    events: Vec<ClusterEvent>,
}

impl Client {
    /// The first events of a cluster that fit what is asked for.
    ///
    /// # Errors
    ///
    /// [`Error`] as its kinds say.
    pub async fn list_cluster_events(
        &self,
        list: &ListClusterEvents,
    ) -> Result<Vec<ClusterEvent>, Error> {
        let mut body = json!({"cluster_id": list.cluster_id, "order": "ASC", "page_size": list.page_size.min(500)});
        if let Some(body) = body.as_object_mut() {
            if !list.event_types.is_empty() {
                body.insert("event_types".to_owned(), json!(list.event_types));
            }
            for (name, time) in [("start_time", list.start_time), ("end_time", list.end_time)] {
                if let Some(time) = time {
                    body.insert(name.to_owned(), json!(time));
                }
            }
        }
        // A read, although it is a POST.
        let request =
            Request::post(Endpoint::Fixed("/api/2.1/clusters/events"), &body)?.safe_if(true);
        Ok(self.clone().in_lane(Lane::Reads).call::<Page>(&request).await?.events)
    }
}
