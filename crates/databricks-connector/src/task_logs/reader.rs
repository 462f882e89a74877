//! Fills one page with the attempts of a run, in order.

use std::time::SystemTime;

use connector_core::{Error, LogLine};
use databricks_client::{
    RunId,
    jobs::{MissingTasks, Run},
};

use super::{
    attempts::{self, TaskAttempt},
    clusters,
    cursor::{AttemptCursor, Cursor, LogSource},
    delivered_logs,
    events::{self, OneTimeLine},
    position::Position,
    rotation::StreamCursor,
    run_output::{self, MAX_UNREADABLE},
    session::{Interrupt, ReadSession},
};

/// Attempts that one page reads, so that a run of 1,000 tasks does not cost 1,000 calls.
const MAX_ATTEMPTS: usize = 32;

/// Reads one page. Moves the cursor past it, and returns its lines and whether it is the last page.
///
/// # Errors
///
/// A permanent failure, if the page would be empty.
pub(super) async fn read_page(
    mut session: ReadSession<'_>,
    run_id: RunId,
    cursor: &mut Cursor,
    now: SystemTime,
) -> Result<(Vec<LogLine>, bool), Error> {
    let run = session.run;
    if !std::mem::replace(&mut cursor.begun, true) {
        session.push_event("", &events::run_submitted(run, run_id));
    }
    let attempts = attempts::of_run(run);
    let outcome = read_attempts(&mut session, &attempts, cursor, now).await;
    let is_done = |attempt: &TaskAttempt<'_>| {
        let cursor = cursor.attempts.get(&attempt.run_id.get());
        cursor.is_some_and(|cursor| cursor.source == LogSource::Done)
    };
    let is_last = run.has_ended()
        && outcome.is_ok()
        && attempts.iter().all(is_done)
        && is_complete(run, cursor);
    if is_last {
        if let Some(event) = events::missing_tasks(run) {
            session.push_event("", &event);
        }
        session.push_event("", &events::run_ended(run, run_id));
    }
    match outcome {
        Err(Interrupt::Permanent(error)) if session.page.is_empty() => Err(error),
        Ok(()) | Err(Interrupt::Permanent(_) | Interrupt::Transient) => {
            Ok((session.page.into_lines(), is_last))
        }
    }
}

/// True if all tasks of the run are known, or if those that are missing cannot be read.
fn is_complete(run: &Run, cursor: &mut Cursor) -> bool {
    match &run.missing_tasks {
        Some(MissingTasks::Unreadable { is_transient: true, .. }) => {
            cursor.incomplete = cursor.incomplete.saturating_add(1);
            cursor.incomplete > MAX_UNREADABLE
        }
        Some(MissingTasks::Unreadable { .. } | MissingTasks::TooMany) | None => true,
    }
}

/// Reads each attempt once, starting with the one where the previous page stopped.
async fn read_attempts(
    session: &mut ReadSession<'_>,
    attempts: &[TaskAttempt<'_>],
    cursor: &mut Cursor,
    now: SystemTime,
) -> Result<(), Interrupt> {
    let first = attempts.iter().position(|attempt| Some(attempt.run_id.get()) == cursor.next);
    let order = (0..attempts.len()).map(|n| n + first.unwrap_or(0));
    let mut read = 0;
    for index in order {
        let Some(attempt) = attempts.get(index % attempts.len()) else { break };
        let id = attempt.run_id.get();
        let mut attempt_cursor = cursor.attempts.get(&id).cloned().unwrap_or_default();
        if attempt_cursor.source == LogSource::Done {
            continue;
        }
        if session.page.is_full() || read >= MAX_ATTEMPTS {
            cursor.next = Some(id);
            return Ok(());
        }
        let may_read_error =
            attempt.is_superseded || is_all_output_read(session, attempts, cursor, id);
        read += usize::from(attempt.has_started() || attempt.cluster.is_some());
        let outcome =
            read_attempt(session, attempt, &mut attempt_cursor, may_read_error, now).await;
        let has_more = session.page.is_full() && attempt_cursor.source != LogSource::Done;
        if attempt_cursor != AttemptCursor::default() {
            cursor.attempts.insert(id, attempt_cursor);
        }
        if has_more || outcome.is_err() {
            // Running attempts take turns; an ended one is read to its end first.
            let stays = attempt.has_ended() || session.page.is_mid_line();
            let next = if stays { index } else { index + 1 };
            cursor.next = attempts.get(next % attempts.len()).map(|attempt| attempt.run_id.get());
            return outcome;
        }
    }
    if !session.page.is_full() {
        cursor.next = None;
    }
    Ok(())
}

/// True if the run has ended and the output of all attempts except `except` has been read: errors come last.
fn is_all_output_read(
    session: &ReadSession<'_>,
    attempts: &[TaskAttempt<'_>],
    cursor: &Cursor,
    except: i64,
) -> bool {
    let is_past_output = |attempt: &TaskAttempt<'_>| {
        let id = attempt.run_id.get();
        id == except
            || cursor.attempts.get(&id).is_some_and(|cursor| cursor.source.is_past_output())
    };
    session.run.has_ended() && attempts.iter().all(is_past_output)
}

/// Reads the sources of one attempt in order: events, output, error.
async fn read_attempt(
    session: &mut ReadSession<'_>,
    attempt: &TaskAttempt<'_>,
    cursor: &mut AttemptCursor,
    may_read_error: bool,
    now: SystemTime,
) -> Result<(), Interrupt> {
    for event in events::attempt_progress(session.run, attempt.task, cursor) {
        session.push_event(&attempt.prefix, &event);
    }
    if cursor.source == LogSource::Undecided {
        choose_source(session, attempt, cursor).await?;
    }
    if let LogSource::DeliveredLogs { .. } = cursor.source {
        delivered_logs::read(session, attempt, cursor, now).await?;
    }
    if let LogSource::RunOutput(position) = cursor.source {
        run_output::read(session, attempt, cursor, position).await?;
    }
    if let LogSource::Error(from) = cursor.source {
        if cursor.write_once(OneTimeLine::Ended) {
            session.push_event(&attempt.prefix, &events::attempt_ended(attempt.task));
        }
        if !attempt.has_failed() {
            cursor.source = LogSource::Done;
        } else if may_read_error && !session.page.is_full() {
            run_output::read_error(session, attempt, cursor, from).await?;
        }
    }
    Ok(())
}

/// Chooses the source of an attempt's output: its cluster's delivered logs where there are any, else `get-output`.
async fn choose_source(
    session: &mut ReadSession<'_>,
    attempt: &TaskAttempt<'_>,
    cursor: &mut AttemptCursor,
) -> Result<(), Interrupt> {
    let Some(id) = attempt.cluster else {
        if attempt.has_started() {
            cursor.source = LogSource::RunOutput(Position::default());
        }
        return Ok(());
    };
    let facts = clusters::facts(session, id).await?;
    if attempt.shares_cluster && facts.destination.is_some() {
        // The first attempt on the cluster reads the logs of both.
        if attempt.has_ended() {
            cursor.source = LogSource::Error(0);
        }
        return Ok(());
    }
    // Events of the cluster's termination follow the output, also when the log is read after the run.
    let end = attempt.task.end_time.filter(|end| *end > 0);
    let before_end = end.map(|end| end.saturating_sub(1));
    if facts.is_job_cluster
        && !clusters::read_events(session, attempt, cursor, id, before_end).await?
    {
        return Ok(());
    }
    cursor.source = match facts.destination {
        Some(_) => LogSource::DeliveredLogs {
            stdout: StreamCursor::default(),
            stderr: StreamCursor::default(),
            stderr_first: false,
        },
        None => LogSource::RunOutput(Position::default()),
    };
    Ok(())
}
