//! When a run and its attempts were queued, prepared, running and cleaned up (databricks-api.md#runs-get).
//!
//! Pure; times are milliseconds since the epoch.

use std::{collections::HashMap, time::Duration};

use databricks_client::jobs::{Outcome, Progress, Run, RunTask};

/// The timeline of a run.
#[derive(Debug)]
pub(crate) struct RunTimeline<'a> {
    pub(crate) run: &'a Run,
    pub(crate) start: u64,
    /// When the run ended, or the current time.
    pub(crate) end: u64,
}

/// When each part of an attempt began, as far as it has.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct AttemptTimeline {
    pub(crate) start: u64,
    pub(crate) setup: Option<u64>,
    pub(crate) execution: Option<u64>,
    pub(crate) cleanup: Option<u64>,
    pub(crate) end: Option<u64>,
}

impl<'a> RunTimeline<'a> {
    /// Returns the timeline up to `now`. Returns `None` if the run has not started.
    pub(crate) fn new(run: &'a Run, now: u64) -> Option<Self> {
        let start = time(run.start_time)?;
        let end = time(run.end_time).filter(|_| run.has_ended());
        Some(Self { run, start, end: end.unwrap_or(now).max(start) })
    }

    /// Returns the duration of the run. Returns `None` while it has no end time.
    fn total(&self) -> Option<u64> {
        Some(time(self.run.end_time)?.saturating_sub(self.start))
    }

    /// Returns the time from the start of the run until its first task was running. Returns `None` if none was.
    fn until_running(&self) -> Option<u64> {
        let was_running = self.run.tasks.iter().filter(|task| {
            duration(task.execution_duration).is_some_and(|took| took > 0)
                || task.outcome() == Some(Outcome::Succeeded)
                || !self.run.has_ended()
        });
        let first = was_running.filter_map(|task| self.attempt(task)?.execution).min()?;
        Some(first.saturating_sub(self.start))
    }

    /// Returns the run's clusters without duplicates, each with the start of its first attempt.
    pub(crate) fn clusters(&self) -> Vec<(&'a str, u64)> {
        let mut clusters: Vec<(&str, u64)> = Vec::new();
        let mut positions: HashMap<&str, usize> = HashMap::new();
        for task in &self.run.tasks {
            let cluster = task.cluster_instance.as_ref();
            let id = cluster.and_then(|cluster| cluster.cluster_id.as_deref()).unwrap_or_default();
            if id.is_empty() {
                continue;
            }
            let since = time(task.start_time).unwrap_or(self.start);
            let position = *positions.entry(id).or_insert(clusters.len());
            match clusters.get_mut(position) {
                Some((_, known)) => *known = since.min(*known),
                None => clusters.push((id, since)),
            }
        }
        clusters
    }

    /// Returns the clusters that were in use by `until`.
    pub(crate) fn clusters_until(&self, until: u64) -> Vec<&'a str> {
        let clusters = self.clusters().into_iter().filter(|(_, since)| *since <= until);
        clusters.map(|(id, _)| id).collect()
    }

    /// Returns when each part of an attempt began. The parts follow one another without gaps.
    ///
    /// The parts of an ended attempt are counted back from its end, because not every service includes the time in the
    /// queue in the time of the attempt.
    pub(crate) fn attempt(&self, task: &RunTask) -> Option<AttemptTimeline> {
        let start = time(task.start_time)?;
        let mut timeline = AttemptTimeline { start, ..AttemptTimeline::default() };
        let queue = duration(task.queue_duration).unwrap_or(0);
        let setup = duration(task.setup_duration).unwrap_or(0);
        let execution = duration(task.execution_duration).unwrap_or(0);
        let cleanup = duration(task.cleanup_duration).unwrap_or(0);
        let progress = task.progress();
        let mut setup_start = start.saturating_add(queue);
        let has_ended = task.has_ended_in(self.run);
        if has_ended {
            let end = time(task.end_time).unwrap_or(self.end).max(start);
            timeline.end = Some(end);
            let took = setup.saturating_add(execution).saturating_add(cleanup);
            setup_start = setup_start.min(end.saturating_sub(took)).max(start);
        }
        let execution_start = setup_start.saturating_add(setup);
        let cleanup_start = execution_start.saturating_add(execution);
        let has_executed = has_ended || progress == Progress::Running;
        let is_cleaning_up = task.is_terminating() && execution > 0;
        if progress != Progress::Queued || has_ended {
            timeline.setup = Some(setup_start);
            timeline.execution = has_executed.then_some(execution_start);
            timeline.cleanup = (has_ended || is_cleaning_up).then_some(cleanup_start);
        }
        Some(timeline)
    }
}

/// Returns how long a run took, and how long until its first task was running, as far as known.
pub(crate) fn durations(run: &Run) -> (Option<Duration>, Option<Duration>) {
    // Both depend on recorded times only, so the current time is not needed.
    let timeline = RunTimeline::new(run, 0);
    let total = timeline.as_ref().and_then(RunTimeline::total);
    let until_running = timeline.as_ref().and_then(RunTimeline::until_running);
    (total.map(Duration::from_millis), until_running.map(Duration::from_millis))
}

/// Returns the number of an attempt of its task, from 1.
pub(crate) fn attempt_number(task: &RunTask) -> u32 {
    u32::try_from(task.attempt_number.unwrap_or(0)).unwrap_or(0).saturating_add(1)
}

/// Converts a time of the API. Zero means that there is none.
pub(crate) fn time(milliseconds: Option<i64>) -> Option<u64> {
    u64::try_from(milliseconds?).ok().filter(|since| *since > 0)
}

/// Converts a duration of the API.
pub(crate) fn duration(milliseconds: Option<i64>) -> Option<u64> {
    u64::try_from(milliseconds?).ok()
}
