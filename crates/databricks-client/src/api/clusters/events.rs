//! The events of a cluster (databricks-api.md#clusters).

#![expect(clippy::indexing_slicing, reason = "assigning to a key of a JSON object does not panic")]

use serde_json::json;

use super::TerminationReason;
use crate::{
    Client, Error, RequestClass,
    api::json::{deserializable, read_objects, readable},
    http::request::{Endpoint, Request},
};

/// The filter of a list of cluster events, the earliest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListClusterEvents {
    /// The cluster id.
    pub cluster_id: String,
    /// The earliest time, in milliseconds since the epoch.
    pub start_time: Option<i64>,
    /// The latest time, in milliseconds since the epoch.
    pub end_time: Option<i64>,
    /// The types of events. All if empty.
    pub event_types: Vec<String>,
    /// The largest number of events, up to 500.
    pub page_size: u32,
}

/// A cluster event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterEvent {
    /// The time, in milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// The type, such as `CREATING`.
    pub kind: Option<String>,
    /// The details.
    pub details: ClusterEventDetails,
}

/// The details of an event. Each type has its own fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterEventDetails {
    /// The current number of workers.
    pub current_num_workers: Option<i64>,
    /// The target number of workers.
    pub target_num_workers: Option<i64>,
    /// Why the cluster terminates or failed to start.
    pub reason: Option<TerminationReason>,
    /// The message of the driver.
    pub driver_state_message: Option<String>,
}

#[derive(Default)]
struct Page {
    events: Vec<ClusterEvent>,
}

read_objects! {
    Page { events }
    ClusterEvent { timestamp, kind = "type", details }
    ClusterEventDetails { current_num_workers, target_num_workers, reason, driver_state_message }
}
readable!(Page, ClusterEvent, ClusterEventDetails);
deserializable!(ClusterEvent);

impl Client {
    /// Returns the first events of a cluster that match the filter.
    pub async fn list_cluster_events(
        &self,
        list: &ListClusterEvents,
    ) -> Result<Vec<ClusterEvent>, Error> {
        let mut body = json!({"cluster_id": list.cluster_id, "order": "ASC", "page_size": list.page_size.min(500)});
        if !list.event_types.is_empty() {
            body["event_types"] = json!(list.event_types);
        }
        for (name, time) in [("start_time", list.start_time), ("end_time", list.end_time)] {
            if let Some(time) = time {
                body[name] = time.into();
            }
        }
        // A read that uses POST.
        let request =
            Request::post(Endpoint::Fixed("/api/2.1/clusters/events"), &body)?.idempotent(true);
        Ok(self.clone().with_request_class(RequestClass::Read).call::<Page>(&request).await?.events)
    }
}
