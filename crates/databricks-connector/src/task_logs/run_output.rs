//! What `runs/get-output` returns of an attempt: its output, or the last 5 MB of it, and its error
//! (databricks-api.md#runs-get-output).

use databricks_client::{ErrorKind, jobs::RunOutput};

use super::{
    attempts::TaskAttempt,
    clusters,
    cursor::{AttemptCursor, LogSource},
    events::OneTimeLine,
    line_splitter::BufferEnd,
    position::Position,
    session::{Interrupt, ReadSession, is_transient},
};
use crate::error;

const TRUNCATED: &str = "(Databricks keeps only the last 5 MB of the output; the start is missing)";

const GAP: &str = "(part of the output is missing: more than the 5 MB that Databricks keeps was written since the last read)";

/// Pages after which an output that is not JSON is left out.
pub(super) const MAX_UNREADABLE: u8 = 2;

/// Pages after which an output is left out whose read fails with an error of the service.
const MAX_UNAVAILABLE: u8 = 20;

/// Adds new output of the attempt.
pub(super) async fn read(
    session: &mut ReadSession<'_>,
    attempt: &TaskAttempt<'_>,
    cursor: &mut AttemptCursor,
    position: Position,
) -> Result<(), Interrupt> {
    if session.page.is_full() || !attempt.has_started() {
        return Ok(());
    }
    let output = fetch(session, attempt, cursor).await?.unwrap_or_default();
    let is_truncated = output.logs_truncated == Some(true);
    if is_truncated && position == Position::default() && cursor.write_once(OneTimeLine::Truncated)
    {
        session.page.push_system(&attempt.prefix, TRUNCATED, None);
    }
    let text = output.logs.unwrap_or_default().into_bytes();
    let from = position.locate(&text).unwrap_or_else(|| {
        // An empty output does not show that anything is missing.
        if !text.is_empty() {
            session.page.push_system(&attempt.prefix, GAP, None);
        }
        0
    });
    let rest = text.get(from..).unwrap_or_default();
    let end = if attempt.has_ended() { BufferEnd::StreamEnd } else { BufferEnd::Open };
    let taken = session.page.push_output(&attempt.prefix, rest, end);
    if taken > 0 {
        let to = from + taken;
        let before = text.get(..to).unwrap_or_default();
        cursor.source = LogSource::RunOutput(Position::default().advanced(to, before));
    }
    if taken < rest.len() && session.page.is_full() {
        return Ok(());
    }
    if let Some(id) = attempt.cluster
        && clusters::facts(session, id).await?.is_job_cluster
        && !clusters::read_events(session, attempt, cursor, id, None).await?
    {
        return Ok(());
    }
    if attempt.has_ended() && taken == rest.len() {
        cursor.source = LogSource::Error(0);
    }
    Ok(())
}

/// Adds the error message and stack trace of a failed attempt, from this byte on.
pub(super) async fn read_error(
    session: &mut ReadSession<'_>,
    attempt: &TaskAttempt<'_>,
    cursor: &mut AttemptCursor,
    from: u64,
) -> Result<(), Interrupt> {
    let output = fetch(session, attempt, cursor).await?.unwrap_or_default();
    let mut text = output.error.unwrap_or_default();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&output.error_trace.unwrap_or_default());
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let rest = text.as_bytes().get(from..).unwrap_or_default();
    let taken = session.page.push_output(&attempt.prefix, rest, BufferEnd::StreamEnd);
    cursor.source = if taken == rest.len() {
        LogSource::Done
    } else {
        LogSource::Error(from.saturating_add(taken) as u64)
    };
    Ok(())
}

/// Fetches the output of one attempt. Returns `None` where there is none; one that cannot be read is reported once.
async fn fetch(
    session: &mut ReadSession<'_>,
    attempt: &TaskAttempt<'_>,
    cursor: &mut AttemptCursor,
) -> Result<Option<RunOutput>, Interrupt> {
    match session.client.get_run_output(attempt.run_id).await {
        Ok(output) => {
            cursor.unreadable = 0;
            Ok(Some(output))
        }
        // A task that has not started, or whose type has no output, must not block the other tasks.
        Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::RunNotFound) => {
            Ok(None)
        }
        Err(error) if is_unreadable(&error, attempt, cursor) => {
            if cursor.write_once(OneTimeLine::Unreadable) {
                let text = format!("(the output cannot be read: {error})");
                session.page.push_system(&attempt.prefix, &text, None);
            }
            Ok(None)
        }
        Err(error) if is_transient(&error) => Err(Interrupt::Transient),
        Err(error) => {
            Err(Interrupt::Permanent(error::from_client("reading the run's output", error)))
        }
    }
}

/// True if further reads of the output will most likely fail too: only for an attempt that has ended, and only after some
/// pages, since a response of another form can come from a proxy, and an error from an outage.
fn is_unreadable(
    error: &databricks_client::Error,
    attempt: &TaskAttempt<'_>,
    cursor: &mut AttemptCursor,
) -> bool {
    if error.kind() == ErrorKind::TooLarge {
        return true;
    }
    let max_pages = match error.status() {
        Some(200..300) => MAX_UNREADABLE,
        Some(500..) => MAX_UNAVAILABLE,
        _ => return false,
    };
    if !attempt.has_ended() || !is_transient(error) {
        return false;
    }
    cursor.unreadable = cursor.unreadable.saturating_add(1);
    cursor.unreadable > max_pages
}
