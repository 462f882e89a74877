//! The timeline of a run as series (databricks-api.md#runs-get).
//!
//! Pure; times are milliseconds since the epoch.

use databricks_client::jobs::{Outcome, Progress, RunTask};

use super::series::{Curve, UnsampledSeries};
use crate::run_timeline::{RunTimeline, attempt_number, duration, time};

/// A measured part of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptPart {
    Setup,
    Execution,
    Cleanup,
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

impl RunTimeline<'_> {
    /// Returns the time in the queue.
    pub(super) fn queue_duration(&self) -> Vec<UnsampledSeries> {
        let end = match (self.run.progress(), duration(self.run.queue_duration)) {
            (Progress::Queued, _) => None,
            (_, Some(queue)) => Some((self.start.saturating_add(queue), queue)),
            (_, None) => return Vec::new(),
        };
        vec![UnsampledSeries::new(&[], Curve::Elapsed { from: self.start, end })]
    }

    /// Returns the time since the start of the run.
    pub(super) fn run_duration(&self) -> Vec<UnsampledSeries> {
        let measured = duration(self.run.run_duration).filter(|measured| *measured > 0);
        let total = measured.unwrap_or(self.end - self.start);
        let end = self.run.has_ended().then_some((self.end, total));
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
        let series = self.run.attempts().into_iter().filter_map(|attempts| {
            let mut steps: Vec<(u64, f64)> = attempts
                .iter()
                .filter_map(|task| Some((time(task.start_time)?, f64::from(attempt_number(task)))))
                .collect();
            steps.sort_by_key(|(at, _)| *at);
            let labels = [("task_key", attempts.first()?.task_key.as_str())];
            (!steps.is_empty()).then(|| UnsampledSeries::new(&labels, Curve::Steps(steps)))
        });
        series.collect()
    }

    /// Returns the number of tasks in each state.
    pub(super) fn task_states(&self) -> Vec<UnsampledSeries> {
        let mut changes: Vec<(u64, TaskState, TaskState)> = Vec::new();
        let mut tasks = 0_i32;
        for attempts in self.run.attempts() {
            let latest = RunTask::latest(&attempts).and_then(|task| task.run_id);
            tasks = tasks.saturating_add(1);
            let mut states: Vec<(u64, TaskState)> = Vec::new();
            for task in attempts {
                self.push_states(task, task.run_id == latest, &mut states);
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

    /// Appends the states of an attempt with their times. After an attempt that is not the latest, the task waits.
    fn push_states(&self, task: &RunTask, is_latest: bool, states: &mut Vec<(u64, TaskState)>) {
        let has_ended = task.has_ended_in(self.run);
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
            let state = match task.outcome() {
                _ if !is_latest => TaskState::Waiting,
                Some(Outcome::Succeeded) => TaskState::Succeeded,
                _ if task.was_skipped() => TaskState::Skipped,
                _ => TaskState::Failed,
            };
            states.push((end.unwrap_or(self.end), state));
        }
    }
}
