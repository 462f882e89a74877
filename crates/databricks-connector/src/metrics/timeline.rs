//! When a run was queued, prepared, running and cleaned up, as series (databricks-api.md#runs-get).
//!
//! Pure; times are milliseconds since the epoch.

use databricks_client::jobs::{Run, RunTask};

use super::series::{Curve, UnsampledSeries};
use crate::get::{
    outcome::Outcome,
    phase::{self, Progress, ReportedState},
};

/// The timeline of a run.
#[derive(Debug)]
pub(super) struct RunTimeline<'a> {
    run: &'a Run,
    pub(super) start: u64,
    /// When the run ended, or the current time.
    pub(super) end: u64,
}

/// A measured part of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptPart {
    Setup,
    Execution,
    Cleanup,
}

/// When each part of an attempt began, as far as it has.
#[derive(Debug, Default, Clone, Copy)]
struct AttemptTimeline {
    start: u64,
    setup: Option<u64>,
    execution: Option<u64>,
    cleanup: Option<u64>,
    end: Option<u64>,
}

/// The state of a task, as a value of the label `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TaskState {
    Waiting,
    Preparing,
    Running,
    Succeeded,
    Failed,
    Skipped,
}

const TASK_STATES: [(TaskState, &str); 6] = [
    (TaskState::Waiting, "waiting"),
    (TaskState::Preparing, "preparing"),
    (TaskState::Running, "running"),
    (TaskState::Succeeded, "succeeded"),
    (TaskState::Failed, "failed"),
    (TaskState::Skipped, "skipped"),
];

impl<'a> RunTimeline<'a> {
    /// Returns the timeline up to `now`. Returns `None` if the run has not started.
    pub(super) fn new(run: &'a Run, now: u64) -> Option<Self> {
        let start = time(run.start_time)?;
        let end = time(run.end_time).filter(|_| phase::has_ended(run));
        Some(Self { run, start, end: end.unwrap_or(now).max(start) })
    }

    /// Returns the duration of the run. Returns `None` while it has no end time.
    pub(super) fn total(&self) -> Option<u64> {
        Some(time(self.run.end_time)?.saturating_sub(self.start))
    }

    /// Returns the time from the start of the run until its first task was running. Returns `None` if none was.
    pub(super) fn until_running(&self) -> Option<u64> {
        let was_running = self.run.tasks.iter().filter(|task| {
            duration(task.execution_duration).is_some_and(|took| took > 0)
                || ReportedState::from(*task).progress() == Progress::Ended(Outcome::Succeeded)
                || !phase::has_ended(self.run)
        });
        let first = was_running.filter_map(|task| self.attempt(task)?.execution).min()?;
        Some(first.saturating_sub(self.start))
    }

    /// Returns the time in the queue.
    pub(super) fn queue_duration(&self) -> Vec<UnsampledSeries> {
        let end = match (phase::run_progress(self.run), duration(self.run.queue_duration)) {
            (Progress::WaitingForResources, _) => None,
            (_, Some(queue)) => Some((self.start.saturating_add(queue), queue)),
            (_, None) => return Vec::new(),
        };
        vec![UnsampledSeries::new(&[], Curve::Elapsed { from: self.start, end })]
    }

    /// Returns the time since the start of the run.
    pub(super) fn run_duration(&self) -> Vec<UnsampledSeries> {
        let measured = duration(self.run.run_duration).filter(|measured| *measured > 0);
        let total = measured.unwrap_or(self.end - self.start);
        let end = phase::has_ended(self.run).then_some((self.end, total));
        vec![UnsampledSeries::new(&[], Curve::Elapsed { from: self.start, end })]
    }

    /// Returns the duration of one part of each attempt.
    pub(super) fn part_duration(&self, part: AttemptPart) -> Vec<UnsampledSeries> {
        let series = self.run.tasks.iter().filter_map(|task| {
            let attempt = self.attempt(task)?;
            let (from, next, measured) = match part {
                AttemptPart::Setup => (attempt.setup?, attempt.execution, task.setup_duration),
                AttemptPart::Execution => {
                    (attempt.execution?, attempt.cleanup, task.execution_duration)
                }
                AttemptPart::Cleanup => (attempt.cleanup?, attempt.end, task.cleanup_duration),
            };
            let end = match next.or(attempt.end) {
                Some(to) => Some((to, duration(measured)?)),
                None => None,
            };
            let number = attempt_number(task).to_string();
            let labels = [("task_key", task.task_key.as_str()), ("attempt", number.as_str())];
            Some(UnsampledSeries::new(&labels, Curve::Elapsed { from, end }))
        });
        series.collect()
    }

    /// Returns the number of attempts of each task.
    pub(super) fn task_attempts(&self) -> Vec<UnsampledSeries> {
        let series = self.run.latest_attempts().into_iter().filter_map(|latest| {
            let mut steps: Vec<(u64, f64)> = self
                .attempts_of(latest)
                .filter_map(|task| Some((time(task.start_time)?, f64::from(attempt_number(task)))))
                .collect();
            steps.sort_by_key(|(at, _)| *at);
            let labels = [("task_key", latest.task_key.as_str())];
            (!steps.is_empty()).then(|| UnsampledSeries::new(&labels, Curve::Steps(steps)))
        });
        series.collect()
    }

    /// Returns the number of tasks in each state.
    pub(super) fn task_states(&self) -> Vec<UnsampledSeries> {
        let mut changes: Vec<(u64, TaskState, TaskState)> = Vec::new();
        let mut tasks = 0_i32;
        for latest in self.run.latest_attempts() {
            tasks = tasks.saturating_add(1);
            let mut states: Vec<(u64, TaskState)> = Vec::new();
            for task in self.attempts_of(latest) {
                self.push_states(task, task.run_id == latest.run_id, &mut states);
            }
            states.sort_by_key(|(at, _)| *at);
            let mut state = TaskState::Waiting;
            for (at, next) in states {
                changes.push((at, std::mem::replace(&mut state, next), next));
            }
        }
        changes.sort_by_key(|(at, ..)| *at);
        let series = TASK_STATES.into_iter().map(|(state, label)| {
            let mut count = if state == TaskState::Waiting { tasks } else { 0 };
            let mut steps = vec![(self.start, f64::from(count))];
            for (at, from, to) in &changes {
                count += i32::from(*to == state) - i32::from(*from == state);
                steps.push(((*at).max(self.start), f64::from(count)));
            }
            UnsampledSeries::new(&[("state", label)], Curve::Steps(steps))
        });
        if tasks == 0 { Vec::new() } else { series.collect() }
    }

    /// Returns the run's clusters without duplicates, each with the start of its first attempt.
    pub(super) fn clusters(&self) -> Vec<(&'a str, u64)> {
        let mut clusters: Vec<(&str, u64)> = Vec::new();
        for task in &self.run.tasks {
            let cluster = task.cluster_instance.as_ref();
            let id = cluster.and_then(|cluster| cluster.cluster_id.as_deref()).unwrap_or_default();
            if id.is_empty() {
                continue;
            }
            let since = time(task.start_time).unwrap_or(self.start);
            match clusters.iter_mut().find(|(known, _)| *known == id) {
                Some((_, known)) => *known = since.min(*known),
                None => clusters.push((id, since)),
            }
        }
        clusters
    }

    /// Returns the clusters that were in use by `until`.
    pub(super) fn clusters_until(&self, until: u64) -> Vec<&'a str> {
        let clusters = self.clusters().into_iter().filter(|(_, since)| *since <= until);
        clusters.map(|(id, _)| id).collect()
    }

    fn attempts_of(&self, latest: &RunTask) -> impl Iterator<Item = &'a RunTask> {
        let key = latest.task_key.clone();
        self.run.tasks.iter().filter(move |task| task.task_key == key)
    }

    /// Returns when each part of an attempt began. The parts follow one another without gaps.
    ///
    /// The parts of an ended attempt are counted back from its end, because not every service includes the time in the
    /// queue in the time of the attempt.
    fn attempt(&self, task: &RunTask) -> Option<AttemptTimeline> {
        let start = time(task.start_time)?;
        let mut timeline = AttemptTimeline { start, ..AttemptTimeline::default() };
        let queue = duration(task.queue_duration).unwrap_or(0);
        let setup = duration(task.setup_duration).unwrap_or(0);
        let execution = duration(task.execution_duration).unwrap_or(0);
        let cleanup = duration(task.cleanup_duration).unwrap_or(0);
        let progress = ReportedState::from(task).progress();
        let mut setup_start = start.saturating_add(queue);
        let has_ended = phase::attempt_has_ended(self.run, task);
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
        if progress != Progress::WaitingForResources || has_ended {
            timeline.setup = Some(setup_start);
            timeline.execution = has_executed.then_some(execution_start);
            timeline.cleanup = (has_ended || is_cleaning_up).then_some(cleanup_start);
        }
        Some(timeline)
    }

    /// Appends the states of an attempt with their times. After an attempt that is not the latest, the task waits.
    fn push_states(&self, task: &RunTask, is_latest: bool, states: &mut Vec<(u64, TaskState)>) {
        let reported = ReportedState::from(task);
        let has_ended = phase::attempt_has_ended(self.run, task);
        let timeline = self.attempt(task);
        if let Some(timeline) = timeline {
            let is_measured = |part| duration(part).is_some_and(|took| took > 0);
            states.push((timeline.start, TaskState::Waiting));
            if let Some(at) = timeline.setup
                && (is_measured(task.setup_duration) || !has_ended)
            {
                states.push((at, TaskState::Preparing));
            }
            if let Some(at) = timeline.execution
                && (is_measured(task.execution_duration) || !has_ended)
            {
                states.push((at, TaskState::Running));
            }
        }
        if has_ended {
            let end = timeline.and_then(|timeline| timeline.end).or(time(task.end_time));
            let state = match reported.progress() {
                _ if !is_latest => TaskState::Waiting,
                Progress::Ended(Outcome::Succeeded) => TaskState::Succeeded,
                _ if reported.was_skipped() => TaskState::Skipped,
                _ => TaskState::Failed,
            };
            states.push((end.unwrap_or(self.end), state));
        }
    }
}

/// Returns the number of an attempt of its task, from 1.
fn attempt_number(task: &RunTask) -> u32 {
    u32::try_from(task.attempt_number.unwrap_or(0)).unwrap_or(0).saturating_add(1)
}

/// Converts a time of the API. Zero means that there is none.
fn time(milliseconds: Option<i64>) -> Option<u64> {
    u64::try_from(milliseconds?).ok().filter(|since| *since > 0)
}

/// Converts a duration of the API.
fn duration(milliseconds: Option<i64>) -> Option<u64> {
    u64::try_from(milliseconds?).ok()
}
