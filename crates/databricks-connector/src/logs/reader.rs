//! Fills one page from the attempts of a run.

use std::time::{Instant, SystemTime};

use connector_core::{Error, LogLine};
use databricks_client::{
    Client, ErrorKind, RunId,
    clusters::ListClusterEvents,
    jobs::{Run, RunOutput},
};

use super::{
    attempts::{self, Unit},
    cursor::{Attempt, Clock, Cursor, Stage},
    events::{self, CLUSTER_EVENTS, Event, Mark},
    files::passes,
    lines::Tail,
    page::Page,
    place::{Found, Place},
    rotation::Position,
};
use crate::{context::Context, error};

/// Attempts that are asked about for one page: a run of 1,000 tasks must not be a thousand calls.
const MAX_ASKED: usize = 32;

/// Events of a cluster that are read for one page.
const MAX_EVENTS: u32 = 500;

/// Why a page ends before it is full.
#[derive(Debug)]
pub(super) enum Stop {
    /// For a cause that passes.
    Passing,
    /// For one that lasts.
    Lasting(Error),
}

/// Reads one page.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) context: &'a Context,
    pub(super) client: &'a Client,
    run_id: RunId,
    pub(super) run: &'a Run,
    /// When the caller stops waiting.
    pub(super) deadline: Option<Instant>,
    pub(super) page: Page,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        context: &'a Context,
        client: &'a Client,
        run_id: RunId,
        run: &'a Run,
        page: Page,
    ) -> Self {
        Self { context, client, run_id, run, deadline: None, page }
    }

    /// The same for a caller who stops waiting then.
    pub(super) fn until(self, deadline: Option<Instant>) -> Self {
        Self { deadline, ..self }
    }

    /// The lines of the page, and whether it is the last one; moves the cursor behind them.
    ///
    /// # Errors
    ///
    /// What lasts and keeps everything else from being told.
    pub(super) async fn read(
        mut self,
        cursor: &mut Cursor,
        now: SystemTime,
    ) -> Result<(Vec<LogLine>, bool), Error> {
        if !std::mem::replace(&mut cursor.begun, true) {
            self.tell("", &events::of_start(self.run, self.run_id));
        }
        let units = attempts::of(self.run);
        let stopped = self.go_through(&units, cursor, now).await;
        let is_told = |unit: &Unit<'_>| {
            cursor.attempts.get(&unit.run_id.get()).is_some_and(|told| told.stage == Stage::Told)
        };
        let is_over = self.run.has_ended() && stopped.is_ok() && units.iter().all(is_told);
        if is_over {
            self.tell("", &events::of_end(self.run, self.run_id));
        }
        match stopped {
            Err(Stop::Lasting(error)) if self.page.is_empty() => Err(error),
            Ok(()) | Err(Stop::Lasting(_) | Stop::Passing) => Ok((self.page.into_lines(), is_over)),
        }
    }

    /// Goes through the attempts from where the page before stopped, once around.
    async fn go_through(
        &mut self,
        units: &[Unit<'_>],
        cursor: &mut Cursor,
        now: SystemTime,
    ) -> Result<(), Stop> {
        let first = units.iter().position(|unit| Some(unit.run_id.get()) == cursor.next);
        let around = (0..units.len()).map(|n| n + first.unwrap_or(0));
        let mut asked = 0;
        for place in around {
            let Some(unit) = units.get(place % units.len()) else { break };
            let id = unit.run_id.get();
            let told = cursor.attempts.get(&id).cloned().unwrap_or_default();
            if told.stage == Stage::Told {
                continue;
            }
            if self.page.is_full() || asked >= MAX_ASKED {
                cursor.next = Some(id);
                return Ok(());
            }
            let may_fail = unit.is_superseded || self.is_past_output(units, cursor, id);
            asked += usize::from(unit.has_begun() || unit.cluster.is_some());
            let mut told = told;
            let outcome = self.attempt(unit, &mut told, may_fail, now).await;
            let has_more = self.page.is_full() && told.stage != Stage::Told;
            if told != Attempt::default() {
                cursor.attempts.insert(id, told);
            }
            if has_more || outcome.is_err() {
                // One that runs lets the others have their turn; what has ended is told in one piece.
                let stays = unit.has_ended() || self.page.is_mid_line();
                let next = if stays { place } else { place + 1 };
                cursor.next = units.get(next % units.len()).map(|unit| unit.run_id.get());
                return outcome;
            }
        }
        if !self.page.is_full() {
            cursor.next = None;
        }
        Ok(())
    }

    /// Whether the run is over and all that every other attempt wrote is told: the time for how the last ones failed.
    fn is_past_output(&self, units: &[Unit<'_>], cursor: &Cursor, but: i64) -> bool {
        let is_past = |unit: &Unit<'_>| {
            let id = unit.run_id.get();
            id == but || cursor.attempts.get(&id).is_some_and(|told| told.stage.is_past_output())
        };
        self.run.has_ended() && units.iter().all(is_past)
    }

    async fn attempt(
        &mut self,
        unit: &Unit<'_>,
        told: &mut Attempt,
        may_fail: bool,
        now: SystemTime,
    ) -> Result<(), Stop> {
        for event in events::of_attempt(self.run, unit.task, told) {
            self.tell(&unit.prefix, &event);
        }
        if told.stage == Stage::Waiting {
            self.choose(unit, told).await?;
        }
        if let Stage::Delivered { .. } = told.stage {
            self.delivered(unit, told, now).await?;
        }
        if let Stage::Output(place) = told.stage {
            self.output(unit, told, place).await?;
        }
        if let Stage::Failure(from) = told.stage {
            if told.mark(Mark::Ended) {
                self.tell(&unit.prefix, &events::of_attempts_end(unit.task));
            }
            if !unit.has_failed() {
                told.stage = Stage::Told;
            } else if may_fail && !self.page.is_full() {
                self.failure(unit, told, from).await?;
            }
        }
        Ok(())
    }

    /// Finds out what tells the output of an attempt.
    async fn choose(&mut self, unit: &Unit<'_>, told: &mut Attempt) -> Result<(), Stop> {
        let Some(id) = unit.cluster else {
            if unit.has_begun() {
                told.stage = Stage::Output(Place::default());
            }
            return Ok(());
        };
        let known = self.known_cluster(id).await?;
        if unit.shares_cluster && known.destination.is_some() {
            if unit.has_ended() {
                told.stage = Stage::Failure(0);
            }
            return Ok(());
        }
        // A reader who comes late is told of the end behind the output.
        let end = unit.task.end_time.filter(|end| *end > 0);
        let before_end = end.map(|end| end.saturating_sub(1));
        if known.is_own && !self.cluster_events(unit, told, id, before_end).await? {
            return Ok(());
        }
        told.stage = match known.destination {
            Some(_) => Stage::Delivered {
                stdout: Position::default(),
                stderr: Position::default(),
                stderr_first: false,
            },
            None => Stage::Output(Place::default()),
        };
        Ok(())
    }

    /// Tells what is new of the cluster until that time, in milliseconds since the epoch; whether that is all of it, or the page is full. Events that may not be read are
    /// not missed: they only explain.
    pub(super) async fn cluster_events(
        &mut self,
        unit: &Unit<'_>,
        told: &mut Attempt,
        id: &str,
        until: Option<i64>,
    ) -> Result<bool, Stop> {
        if self.page.is_full() {
            return Ok(false);
        }
        // Told with the first of the attempts.
        if unit.shares_cluster {
            return Ok(true);
        }
        let list = ListClusterEvents {
            cluster_id: id.to_owned(),
            start_time: Some(told.cluster.time).filter(|time| *time > 0),
            end_time: until,
            event_types: CLUSTER_EVENTS.map(str::to_owned).to_vec(),
            page_size: MAX_EVENTS,
        };
        let found = match self.client.list_cluster_events(&list).await {
            Ok(found) => found,
            Err(failed) if passes(&failed) => return Err(Stop::Passing),
            Err(failed) => {
                tracing::debug!(cluster = id, error = %failed, "the events of a cluster cannot be read");
                return Ok(true);
            }
        };
        let mut seen = Clock::default();
        for event in found {
            let time = event.timestamp.unwrap_or(0);
            let index = if seen.time == time { seen.count } else { 0 };
            seen = seen.after(time);
            if told.cluster.has_told(time, index) {
                continue;
            }
            if self.page.is_full() {
                return Ok(false);
            }
            told.cluster = seen;
            self.tell(&unit.prefix, &events::of_cluster(id, &event));
        }
        Ok(true)
    }

    /// What `get-output` tells: all of it, or its last 5 MB (DA §1.4).
    async fn output(
        &mut self,
        unit: &Unit<'_>,
        told: &mut Attempt,
        place: Place,
    ) -> Result<(), Stop> {
        if self.page.is_full() || !unit.has_begun() {
            return Ok(());
        }
        let output = self.task_output(unit, told).await?.unwrap_or_default();
        let text = output.logs.unwrap_or_default();
        let cut = output.logs_truncated == Some(true);
        if cut && place == Place::default() && told.mark(Mark::Truncated) {
            self.page.tell(
                &unit.prefix,
                "(Databricks keeps the last 5 MB of the output; what came before is lost)",
                None,
            );
        }
        let text = text.as_bytes();
        let from = match place.find(text) {
            Found::At(from) => from,
            // An answer without any of it says nothing about it.
            Found::Lost if text.is_empty() => 0,
            Found::Lost => {
                let why = "(a part of the output is lost: Databricks keeps its last 5 MB, and more than that came at once)";
                self.page.tell(&unit.prefix, why, None);
                0
            }
        };
        let rest = text.get(from..).unwrap_or_default();
        let tail = if unit.has_ended() { Tail::End } else { Tail::More };
        let taken = self.page.take(&unit.prefix, rest, tail);
        if taken > 0 {
            let to = from + taken;
            let before = text.get(..to).unwrap_or_default();
            told.stage = Stage::Output(Place::default().on(to, before));
        }
        if taken < rest.len() && self.page.is_full() {
            return Ok(());
        }
        if let Some(id) = unit.cluster
            && self.known_cluster(id).await?.is_own
            && !self.cluster_events(unit, told, id, None).await?
        {
            return Ok(());
        }
        if unit.has_ended() && taken == rest.len() {
            told.stage = Stage::Failure(0);
        }
        Ok(())
    }

    /// The error of a failed attempt, and its trace.
    async fn failure(
        &mut self,
        unit: &Unit<'_>,
        told: &mut Attempt,
        from: u64,
    ) -> Result<(), Stop> {
        let output = self.task_output(unit, told).await?.unwrap_or_default();
        let mut text = output.error.unwrap_or_default();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&output.error_trace.unwrap_or_default());
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let rest = text.as_bytes().get(from..).unwrap_or_default();
        let taken = self.page.take(&unit.prefix, rest, Tail::End);
        told.stage = if taken == rest.len() {
            Stage::Told
        } else {
            Stage::Failure(from.saturating_add(taken) as u64)
        };
        Ok(())
    }

    /// What one attempt wrote; none when it cannot be read, which is told once.
    async fn task_output(
        &mut self,
        unit: &Unit<'_>,
        told: &mut Attempt,
    ) -> Result<Option<RunOutput>, Stop> {
        match self.client.get_run_output(unit.run_id).await {
            Ok(output) => Ok(Some(output)),
            Err(failed) if passes(&failed) => Err(Stop::Passing),
            // A task that has not started, or of a kind without outputs, is no reason to withhold the others'.
            Err(failed) if matches!(failed.kind(), ErrorKind::Invalid | ErrorKind::RunNotFound) => {
                Ok(None)
            }
            Err(failed) if failed.kind() == ErrorKind::TooLarge => {
                if told.mark(Mark::Unreadable) {
                    self.page.tell(
                        &unit.prefix,
                        &format!("(the output cannot be read: {failed})"),
                        None,
                    );
                }
                Ok(None)
            }
            Err(failed) => {
                Err(Stop::Lasting(error::from_client("reading the run's output", failed)))
            }
        }
    }

    pub(super) fn tell(&mut self, prefix: &str, event: &Event) {
        self.page.tell(prefix, &event.text, event.at);
    }
}
