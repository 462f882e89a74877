//! Reads the clusters of a run: their facts, and their events.

use databricks_client::clusters::ListClusterEvents;

use super::{
    attempts::TaskAttempt,
    cursor::{AttemptCursor, EventCursor},
    events::{self, CLUSTER_EVENT_TYPES},
    session::{Interrupt, ReadSession, is_transient},
};
use crate::known_clusters::ClusterFacts;

/// Events of a cluster that one page reads.
const MAX_EVENTS: u32 = 500;

/// Returns the facts about a cluster. One that cannot be read has none.
pub(super) async fn facts(session: &ReadSession<'_>, id: &str) -> Result<ClusterFacts, Interrupt> {
    let host = session.client.host();
    if let Some(facts) = session.known_clusters.get(host, id) {
        return Ok(facts);
    }
    match session.client.get_cluster(id).await {
        Ok(cluster) => Ok(session.known_clusters.insert(host, id, &cluster)),
        Err(error) if is_transient(&error) => Err(Interrupt::Transient),
        Err(error) => {
            tracing::debug!(cluster = id, %error, "failed to read a cluster");
            Ok(ClusterFacts::default())
        }
    }
}

/// Adds new events of a cluster up to `until`, in milliseconds since the epoch. Returns false if the page filled first.
///
/// Events are supplementary: a permanent failure to list them is ignored.
pub(super) async fn read_events(
    session: &mut ReadSession<'_>,
    attempt: &TaskAttempt<'_>,
    cursor: &mut AttemptCursor,
    id: &str,
    until: Option<i64>,
) -> Result<bool, Interrupt> {
    if session.page.is_full() {
        return Ok(false);
    }
    // The first attempt on the cluster reports its events.
    if attempt.shares_cluster {
        return Ok(true);
    }
    let list = ListClusterEvents {
        cluster_id: id.to_owned(),
        start_time: Some(cursor.cluster_events.time).filter(|time| *time > 0),
        end_time: until,
        event_types: CLUSTER_EVENT_TYPES.map(str::to_owned).to_vec(),
        page_size: MAX_EVENTS,
    };
    let found = match session.client.list_cluster_events(&list).await {
        Ok(found) => found,
        Err(error) if is_transient(&error) => return Err(Interrupt::Transient),
        Err(error) => {
            tracing::debug!(cluster = id, %error, "failed to list the events of a cluster");
            return Ok(true);
        }
    };
    let mut at = EventCursor::default();
    for event in found {
        let time = event.timestamp.unwrap_or(0);
        let index = if at.time == time { at.count } else { 0 };
        at = at.after(time);
        if cursor.cluster_events.is_past(time, index) {
            continue;
        }
        if session.page.is_full() {
            return Ok(false);
        }
        cursor.cluster_events = at;
        session.push_event(&attempt.prefix, &events::cluster_event(id, &event));
    }
    Ok(true)
}
