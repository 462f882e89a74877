//! The driver logs that a job cluster delivers while the run is active (databricks-api.md#delivered-logs).

use std::time::{Duration, SystemTime};

use databricks_client::clusters::{Cluster, ClusterState};
use task_storage::{LogFile, StorageError};

use super::{
    attempts::TaskAttempt,
    clusters,
    cursor::{AttemptCursor, LogSource},
    driver_folder::DriverFolder,
    events::{self, OneTimeLine},
    line_splitter::{BufferEnd, MAX_LINE},
    position::{CONTEXT_BYTES, Position},
    rotation::{NextRead, OutputStream, SkipReason, StreamCursor, StreamFiles},
    session::{Interrupt, ReadSession, is_transient},
};

/// The maximum size of a read in bytes, context included: the limit of DBFS
/// (databricks-api.md#dbfs-read).
const MAX_CHUNK: usize = 1_000_000;

/// The minimum size of a read in bytes: one line of maximum length must fit.
const MIN_CHUNK: usize = 2 * MAX_LINE;

/// Estimated length of a line, to read little more than the page has space for.
const ESTIMATED_LINE_BYTES: usize = 200;

/// Delivery happens every five minutes and at the end, so it is complete after this time
/// (databricks-api.md#delivered-logs).
const DELIVERY_TIMEOUT: Duration = Duration::from_mins(10);

/// Adds what has been delivered since the last page, from stdout and stderr in turn.
pub(super) async fn read(
    session: &mut ReadSession<'_>,
    attempt: &TaskAttempt<'_>,
    cursor: &mut AttemptCursor,
    now: SystemTime,
) -> Result<(), Interrupt> {
    let LogSource::DeliveredLogs { mut stdout, mut stderr, stderr_first } = cursor.source.clone()
    else {
        return Ok(());
    };
    let Some(id) = attempt.cluster.filter(|_| !session.page.is_full()) else { return Ok(()) };
    let Some(destination) = clusters::facts(session, id).await?.destination else {
        cursor.source = LogSource::RunOutput(Position::default());
        return Ok(());
    };
    let path = destination.path().to_owned();
    let folder = DriverFolder::new(destination, session.client, session.storage, session.deadline);
    // Checked before listing, so that the listing includes the last delivery.
    let is_complete = check_delivery(session, attempt, cursor, id, now).await?;
    let mut files = DeliveredFiles { folder, is_complete, listing: Vec::new() };
    let mut order = OutputStream::ALL;
    if stderr_first {
        order.reverse();
    }
    let mut outcome = files.refresh().await;
    let mut stopped_at = None;
    if outcome.is_ok() {
        for stream in order {
            let position = if stream == OutputStream::Stdout { &mut stdout } else { &mut stderr };
            outcome = read_stream(session, attempt, &mut files, stream, position).await;
            if outcome.is_err() || session.page.is_full() {
                stopped_at = Some(stream);
                break;
            }
        }
    }
    let is_start = stdout.is_start() && stderr.is_start();
    // The streams of a running attempt take turns; those of an ended one are read one after the other.
    let stderr_next = match stopped_at {
        Some(stream)
            if attempt.has_ended() || session.page.is_mid_line() || !session.page.is_full() =>
        {
            stream == OutputStream::Stderr
        }
        Some(stream) => stream == OutputStream::Stdout,
        None => false,
    };
    cursor.source = LogSource::DeliveredLogs { stdout, stderr, stderr_first: stderr_next };
    match outcome {
        Err(StorageError::Transient(_)) => return Err(Interrupt::Transient),
        Err(StorageError::Permanent(message)) => {
            if cursor.write_once(OneTimeLine::Undelivered) {
                let text = format!("(the logs in {path} cannot be read: {message})");
                session.page.push_system(&attempt.prefix, &text, None);
            }
            if is_start {
                cursor.source = LogSource::RunOutput(Position::default());
            } else if attempt.has_ended() {
                cursor.source = LogSource::Error(0);
            }
        }
        Ok(()) if stopped_at.is_some() => {}
        Ok(()) => {
            // The last events come before the end of the attempt.
            let are_events_read = clusters::read_events(session, attempt, cursor, id, None).await?;
            if is_complete && is_start && files.is_empty() {
                cursor.source = LogSource::RunOutput(Position::default());
            } else if is_complete && are_events_read {
                cursor.source = LogSource::Error(0);
            }
        }
    }
    Ok(())
}

/// True if nothing more will be delivered. Reports once that the cluster failed to deliver.
async fn check_delivery(
    session: &mut ReadSession<'_>,
    attempt: &TaskAttempt<'_>,
    cursor: &mut AttemptCursor,
    id: &str,
    now: SystemTime,
) -> Result<bool, Interrupt> {
    if !attempt.has_ended() {
        return Ok(false);
    }
    let cluster = match session.client.get_cluster(id).await {
        Ok(cluster) => cluster,
        Err(error) if is_transient(&error) => return Err(Interrupt::Transient),
        // Later reads would fail in the same way.
        Err(_) => return Ok(true),
    };
    let exception =
        cluster.cluster_log_status.as_ref().and_then(|status| status.last_exception.as_deref());
    if let Some(exception) = exception.filter(|exception| !exception.is_empty())
        && cursor.write_once(OneTimeLine::DeliveryFailed)
    {
        let text = format!("(the cluster failed to deliver its logs: {exception})");
        session.page.push_system(&attempt.prefix, &text, None);
    }
    let run = session.run;
    let ended = events::timestamp(attempt.task.end_time).max(events::timestamp(run.end_time));
    Ok(is_delivery_complete(&cluster, run.has_ended(), ended, now))
}

/// True if a cluster has delivered everything, given when the attempt or its run ended. A cluster that several tasks
/// share keeps writing until the run has ended.
fn is_delivery_complete(
    cluster: &Cluster,
    has_run_ended: bool,
    ended: Option<SystemTime>,
    now: SystemTime,
) -> bool {
    let has_terminated =
        matches!(cluster.state, Some(ClusterState::Terminated | ClusterState::Error));
    if !has_terminated && !has_run_ended {
        return false;
    }
    let attempted = cluster.cluster_log_status.as_ref().and_then(|status| status.last_attempted);
    let was_last =
        attempted.zip(cluster.terminated_time).is_some_and(|(last, end)| end > 0 && last >= end);
    let ended = events::timestamp(cluster.terminated_time).max(ended);
    let has_timed_out = ended
        .is_none_or(|ended| now.duration_since(ended).is_ok_and(|since| since >= DELIVERY_TIMEOUT));
    (has_terminated && was_last) || has_timed_out
}

/// Adds the new lines of one stream until the page is full.
async fn read_stream(
    session: &mut ReadSession<'_>,
    attempt: &TaskAttempt<'_>,
    files: &mut DeliveredFiles<'_>,
    stream: OutputStream,
    cursor: &mut StreamCursor,
) -> Result<(), StorageError> {
    let prefix = attempt.prefix.as_str();
    while !session.page.is_full() {
        let listing = files.listing.clone();
        let of_stream = StreamFiles::of(stream, &listing);
        let (file, is_active) = match cursor.next_read(&of_stream) {
            NextRead::UpToDate => break,
            NextRead::Skip { file, reason } => {
                session.page.push_system(prefix, &skip_message(file, reason), None);
                cursor.skip(&of_stream, reason);
                continue;
            }
            NextRead::CompareFirst { rotated, active } => {
                if files.is_same_content(rotated, active).await? {
                    break;
                }
                (active, true)
            }
            NextRead::Read { file, is_active } => (file, is_active),
        };
        let space = session.page.remaining_lines().saturating_mul(ESTIMATED_LINE_BYTES);
        let length = space.clamp(MIN_CHUNK, MAX_CHUNK - CONTEXT_BYTES);
        let context = cursor.position().context_length();
        let from = cursor.position().offset.saturating_sub(context as u64);
        let Some(chunk) = files.folder.read(&file.name, from, context + length).await? else {
            // Rotated or deleted since the folder was listed.
            break;
        };
        if is_active {
            // The chunk may come from a new active file; the old one then has its rotated name by now.
            files.refresh().await?;
            if StreamFiles::of(stream, &files.listing).has_rotated(cursor) {
                continue;
            }
        }
        let before = chunk.get(..context).unwrap_or(&chunk);
        if !cursor.position().matches(before) {
            if is_active && !files.is_complete {
                // A new file has this name, and the old one has not appeared under its rotated name yet.
                break;
            }
            session.page.push_system(prefix, &skip_message(file, SkipReason::Replaced), None);
            cursor.skip(&of_stream, SkipReason::Replaced);
            continue;
        }
        let is_at_end = from.saturating_add(chunk.len() as u64) >= file.size;
        let end = match (is_at_end, is_active) {
            (true, true) if files.is_complete => BufferEnd::StreamEnd,
            (true, false) if files.is_complete && of_stream.is_last(file) => BufferEnd::StreamEnd,
            (true, false) => BufferEnd::NextFile,
            (true, true) | (false, _) => BufferEnd::Open,
        };
        let new = chunk.get(context..).unwrap_or_default();
        let taken = session.page.push_output(prefix, new, end);
        cursor.advance(taken, chunk.get(..context + taken).unwrap_or(&chunk));
        if taken == 0 || (is_at_end && is_active) {
            break;
        }
    }
    Ok(())
}

fn skip_message(file: &LogFile, reason: SkipReason) -> String {
    match reason {
        SkipReason::Compressed => format!("(skipped {}: compressed files are not read)", file.name),
        SkipReason::Replaced => {
            format!("(part of the log is lost: {} was replaced by another file)", file.name)
        }
    }
}

/// The files that one driver has delivered.
struct DeliveredFiles<'a> {
    folder: DriverFolder<'a>,
    /// Whether delivery was complete before the files were listed.
    is_complete: bool,
    listing: Vec<LogFile>,
}

impl DeliveredFiles<'_> {
    async fn refresh(&mut self) -> Result<(), StorageError> {
        self.listing = self.folder.list().await?;
        Ok(())
    }

    fn is_empty(&self) -> bool {
        OutputStream::ALL.iter().all(|stream| StreamFiles::of(*stream, &self.listing).is_empty())
    }

    /// True if the active file is still the one that was copied to the rotated file: the bytes before its end match.
    async fn is_same_content(
        &self,
        rotated: &LogFile,
        active: &LogFile,
    ) -> Result<bool, StorageError> {
        let length = active.size.min(CONTEXT_BYTES as u64);
        let from = active.size - length;
        let length = usize::try_from(length).unwrap_or(CONTEXT_BYTES);
        let of_rotated = self.folder.read(&rotated.name, from, length).await?;
        let of_active = self.folder.read(&active.name, from, length).await?;
        Ok(of_rotated == of_active)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn is_complete(cluster: &Value, has_run_ended: bool, seconds_since_end: u64) -> bool {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let now = end + Duration::from_secs(seconds_since_end);
        let cluster = serde_json::from_value(cluster.clone()).unwrap();
        is_delivery_complete(&cluster, has_run_ended, Some(end), now)
    }

    #[test]
    fn delivery_is_complete_after_an_attempt_past_termination_or_ten_minutes() {
        let cluster = |attempted: i64| json!({"state": "TERMINATED", "terminated_time": 1_000_000, "cluster_log_status": {"last_attempted": attempted}});
        for has_run_ended in [false, true] {
            assert!(is_complete(&cluster(1_000_000), has_run_ended, 1));
            assert!(!is_complete(&cluster(999_999), has_run_ended, 1));
            assert!(is_complete(&cluster(999_999), has_run_ended, 600));
        }
        let without_status = json!({"state": "TERMINATED", "terminated_time": 1_000_000});
        assert!(!is_complete(&without_status, true, 599));
    }

    #[test]
    fn delivery_of_a_live_cluster_is_incomplete_until_ten_minutes_after_the_run() {
        let alive =
            json!({"state": "RUNNING", "cluster_log_status": {"last_attempted": 2_000_000}});
        assert!(!is_complete(&alive, false, 6_000));
        assert!(!is_complete(&alive, true, 599));
        assert!(is_complete(&alive, true, 600));
    }
}
