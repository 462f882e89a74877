//! What the driver of a run's own cluster wrote, as it is delivered while the run is running (DA §5.1).

use std::time::{Duration, SystemTime};

use databricks_client::clusters::{Cluster, ClusterState};

use super::{
    attempts::Unit,
    cursor::{Attempt, Stage},
    events::{self, Mark},
    files::{Folder, Trouble, passes},
    known_clusters::Known,
    lines::{MAX_LINE, Tail},
    place::{ANCHOR, Place},
    reader::{Reader, Stop},
    rotation::{Listed, Position, Sequence, Skipped, Step, Stream},
};

/// The most that is read of a file at once, with what is read again before it: DBFS gives no more (DA §1.11).
const MAX_CHUNK: usize = 1_000_000;

/// The least: a line of the longest kind must fit.
const MIN_CHUNK: usize = 2 * MAX_LINE;

/// A guess at the length of a line, so that little is read that has no room on the page.
const BYTES_A_LINE: usize = 200;

/// After this time nothing more is delivered: it happens every five minutes, and at the end (DA §5.1).
const LAST_DELIVERY: Duration = Duration::from_mins(10);

/// Whether everything that a cluster wrote is delivered, when the attempt, and perhaps its run, ended then. A cluster of
/// several tasks works on until the run has ended.
fn is_settled(
    cluster: &Cluster,
    has_run_ended: bool,
    ended: Option<SystemTime>,
    now: SystemTime,
) -> bool {
    let gone = [ClusterState::Terminated, ClusterState::Error];
    let is_gone = cluster.state.as_ref().is_some_and(|state| gone.contains(state));
    if !is_gone && !has_run_ended {
        return false;
    }
    let attempted = cluster.cluster_log_status.as_ref().and_then(|status| status.last_attempted);
    let was_last =
        attempted.zip(cluster.terminated_time).is_some_and(|(last, end)| end > 0 && last >= end);
    let ended = events::time(cluster.terminated_time).max(ended);
    let is_late = ended
        .is_none_or(|ended| now.duration_since(ended).is_ok_and(|since| since >= LAST_DELIVERY));
    (is_gone && was_last) || is_late
}

impl Reader<'_> {
    /// What is known of a cluster. One that cannot be looked at is nobody's.
    pub(super) async fn known_cluster(&mut self, id: &str) -> Result<Known, Stop> {
        let host = self.client.host().clone();
        let known = &self.context.known_clusters;
        if let Some(known) = known.get(&host, id) {
            return Ok(known);
        }
        match self.client.get_cluster(id).await {
            Ok(cluster) => Ok(known.learn(&host, id, &cluster)),
            Err(failed) if passes(&failed) => Err(Stop::Passing),
            Err(failed) => {
                tracing::debug!(cluster = id, error = %failed, "a cluster cannot be read");
                Ok(Known::default())
            }
        }
    }

    /// Whether all is delivered. Says so when the cluster tells that it could not deliver.
    async fn has_all(
        &mut self,
        unit: &Unit<'_>,
        told: &mut Attempt,
        id: &str,
        now: SystemTime,
    ) -> Result<bool, Stop> {
        if !unit.has_ended() {
            return Ok(false);
        }
        let cluster = match self.client.get_cluster(id).await {
            Ok(cluster) => cluster,
            Err(failed) if passes(&failed) => return Err(Stop::Passing),
            // Nobody will ever tell more.
            Err(_) => return Ok(true),
        };
        let failed =
            cluster.cluster_log_status.as_ref().and_then(|status| status.last_exception.as_deref());
        if let Some(why) = failed.filter(|why| !why.is_empty())
            && told.mark(Mark::DeliveryFailed)
        {
            self.page.tell(
                &unit.prefix,
                &format!("(the cluster could not deliver its logs: {why})"),
                None,
            );
        }
        let ended = events::time(unit.task.end_time).max(events::time(self.run.end_time));
        Ok(is_settled(&cluster, self.run.has_ended(), ended, now))
    }

    /// Tells what was delivered since, stdout and stderr in turns.
    pub(super) async fn delivered(
        &mut self,
        unit: &Unit<'_>,
        told: &mut Attempt,
        now: SystemTime,
    ) -> Result<(), Stop> {
        let Stage::Delivered { mut stdout, mut stderr, stderr_first } = told.stage.clone() else {
            return Ok(());
        };
        let Some(id) = unit.cluster.filter(|_| !self.page.is_full()) else { return Ok(()) };
        let Some(destination) = self.known_cluster(id).await?.destination else {
            told.stage = Stage::Output(Place::default());
            return Ok(());
        };
        let shown = destination.folder().to_owned();
        let context = self.context;
        let folder =
            Folder::new(destination, self.client, &context.settings.logs.files, self.deadline);
        // Asked before the files: what is delivered afterwards is there then.
        let has_all = self.has_all(unit, told, id, now).await?;
        let mut delivery = Delivery { folder, has_all, files: Vec::new() };
        let mut order = Stream::ALL;
        if stderr_first {
            order.reverse();
        }
        let mut outcome = delivery.refresh().await;
        let mut filled = None;
        if outcome.is_ok() {
            for stream in order {
                let position = if stream == Stream::Out { &mut stdout } else { &mut stderr };
                outcome = self.stream(unit, &mut delivery, stream, position).await;
                if outcome.is_err() || self.page.is_full() {
                    filled = Some(stream);
                    break;
                }
            }
        }
        let is_start = stdout.is_start() && stderr.is_start();
        // While it runs both have their turns; what has ended is told one after the other.
        let stderr_next = match filled {
            Some(stream) if unit.has_ended() || self.page.is_mid_line() || !self.page.is_full() => {
                stream == Stream::Err
            }
            Some(stream) => stream == Stream::Out,
            None => false,
        };
        told.stage = Stage::Delivered { stdout, stderr, stderr_first: stderr_next };
        match outcome {
            Err(Trouble::Passing) => return Err(Stop::Passing),
            Err(Trouble::Lasting(why)) => {
                if told.mark(Mark::Undelivered) {
                    self.page.tell(
                        &unit.prefix,
                        &format!("(the logs in {shown} cannot be read: {why})"),
                        None,
                    );
                }
                if is_start {
                    told.stage = Stage::Output(Place::default());
                } else if unit.has_ended() {
                    told.stage = Stage::Failure(0);
                }
            }
            Ok(()) if filled.is_some() => {}
            Ok(()) => {
                // The last events come before the end.
                let has_told_events = self.cluster_events(unit, told, id, None).await?;
                if has_all && is_start && delivery.is_empty() {
                    told.stage = Stage::Output(Place::default());
                } else if has_all && has_told_events {
                    told.stage = Stage::Failure(0);
                }
            }
        }
        Ok(())
    }

    /// Tells what is new of one stream, until the page is full.
    async fn stream(
        &mut self,
        unit: &Unit<'_>,
        delivery: &mut Delivery<'_>,
        stream: Stream,
        position: &mut Position,
    ) -> Result<(), Trouble> {
        while !self.page.is_full() {
            let files = delivery.files.clone();
            let sequence = Sequence::of(stream, &files);
            let (file, grows) = match position.step(&sequence) {
                Step::Wait => break,
                Step::Skip { file, why } => {
                    self.page.tell(&unit.prefix, &left_out(file, why), None);
                    position.skip(&sequence, why);
                    continue;
                }
                Step::Compare { rotated, growing } => {
                    if delivery.are_alike(rotated, growing).await? {
                        break;
                    }
                    (growing, true)
                }
                Step::Read { file, grows } => (file, grows),
            };
            let room =
                self.page.room().saturating_mul(BYTES_A_LINE).clamp(MIN_CHUNK, MAX_CHUNK - ANCHOR);
            let anchor = position.place().anchor_bytes();
            let from = position.place().offset.saturating_sub(anchor as u64);
            let Some(chunk) = delivery.folder.read(&file.name, from, anchor + room).await? else {
                // It was rotated away, or is no longer kept, since the folder was listed.
                break;
            };
            if grows {
                // What was read may be the start of a new file already; then the old one has its new name now.
                delivery.refresh().await?;
                if Sequence::of(stream, &delivery.files).has_rotated(position) {
                    continue;
                }
            }
            let before = chunk.get(..anchor).unwrap_or(&chunk);
            if !position.place().follows(before) {
                if grows && !delivery.has_all {
                    // Another file is in its place, and the old one has no new name yet.
                    break;
                }
                self.page.tell(&unit.prefix, &left_out(file, Skipped::Replaced), None);
                position.skip(&sequence, Skipped::Replaced);
                continue;
            }
            let at_end = from.saturating_add(chunk.len() as u64) >= file.size;
            let tail = match (at_end, grows) {
                (true, true) if delivery.has_all => Tail::End,
                (true, false) if delivery.has_all && sequence.is_last(file) => Tail::End,
                (true, false) => Tail::Joined,
                (true, true) | (false, _) => Tail::More,
            };
            let new = chunk.get(anchor..).unwrap_or_default();
            let taken = self.page.take(&unit.prefix, new, tail);
            position.advance(taken, chunk.get(..anchor + taken).unwrap_or(&chunk));
            if taken == 0 || (at_end && grows) {
                break;
            }
        }
        Ok(())
    }
}

fn left_out(file: &Listed, why: Skipped) -> String {
    match why {
        Skipped::Compressed => format!("(the file {} is compressed, and is not read)", file.name),
        Skipped::Replaced => {
            format!("(a part of the log is lost: {} is another file now)", file.name)
        }
    }
}

/// The files of one driver.
struct Delivery<'a> {
    folder: Folder<'a>,
    has_all: bool,
    files: Vec<Listed>,
}

impl Delivery<'_> {
    async fn refresh(&mut self) -> Result<(), Trouble> {
        self.files = self.folder.list().await?;
        Ok(())
    }

    fn is_empty(&self) -> bool {
        Stream::ALL.iter().all(|stream| Sequence::of(*stream, &self.files).is_empty())
    }

    /// Whether the growing file is what the rotated one was made of: the same bytes stand before its end.
    async fn are_alike(&self, rotated: &Listed, growing: &Listed) -> Result<bool, Trouble> {
        let length = growing.size.min(ANCHOR as u64);
        let from = growing.size - length;
        let length = usize::try_from(length).unwrap_or(ANCHOR);
        let of_rotated = self.folder.read(&rotated.name, from, length).await?;
        let of_growing = self.folder.read(&growing.name, from, length).await?;
        Ok(of_rotated == of_growing)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settled(cluster: &Value, has_run_ended: bool, seconds_since_end: u64) -> bool {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let now = end + Duration::from_secs(seconds_since_end);
        is_settled(&serde_json::from_value(cluster.clone()).unwrap(), has_run_ended, Some(end), now)
    }

    #[test]
    fn all_is_delivered_after_the_delivery_behind_the_end_or_after_long_enough() {
        let cluster = |attempted: i64| json!({"state": "TERMINATED", "terminated_time": 1_000_000, "cluster_log_status": {"last_attempted": attempted}});
        for has_run_ended in [false, true] {
            assert!(settled(&cluster(1_000_000), has_run_ended, 1));
            assert!(!settled(&cluster(999_999), has_run_ended, 1));
            assert!(settled(&cluster(999_999), has_run_ended, 600));
        }
        let untold = json!({"state": "TERMINATED", "terminated_time": 1_000_000});
        assert!(!settled(&untold, true, 599));
    }

    #[test]
    fn a_cluster_of_several_tasks_writes_until_the_run_has_ended() {
        let alive =
            json!({"state": "RUNNING", "cluster_log_status": {"last_attempted": 2_000_000}});
        assert!(!settled(&alive, false, 6_000));
        assert!(!settled(&alive, true, 599));
        assert!(settled(&alive, true, 600));
    }
}
