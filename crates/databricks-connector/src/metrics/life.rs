//! What a run tells of its own life, and when each part of it was (DA §1.3). Pure; times are milliseconds since the
//! epoch.

use databricks_client::jobs::{Run, RunTask};

use super::curve::{Curve, Told};
use crate::get::phase::{Outcome, Progress, progress, progress_of, was_skipped};

/// A run, when it began, and when it ended or now.
#[derive(Debug)]
pub(super) struct Life<'a> {
    run: &'a Run,
    pub(super) born: u64,
    pub(super) gone: u64,
}

/// A part of an attempt's life that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Setup,
    Execution,
    Cleanup,
}

/// When each part of an attempt's life began, as far as it has.
#[derive(Debug, Default, Clone, Copy)]
struct Course {
    started: u64,
    setup: Option<u64>,
    execution: Option<u64>,
    cleanup: Option<u64>,
    ended: Option<u64>,
}

/// Where a task is, in the order of the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Preparing,
    Running,
    Succeeded,
    Failed,
    Skipped,
}

const STAGES: [(Stage, &str); 6] = [
    (Stage::Waiting, "waiting"),
    (Stage::Preparing, "preparing"),
    (Stage::Running, "running"),
    (Stage::Succeeded, "succeeded"),
    (Stage::Failed, "failed"),
    (Stage::Skipped, "skipped"),
];

impl<'a> Life<'a> {
    /// None as long as the run has not begun.
    pub(super) fn of(run: &'a Run, now: u64) -> Option<Self> {
        let born = moment(run.start_time)?;
        let end = moment(run.end_time).filter(|_| run.has_ended());
        Some(Self { run, born, gone: end.unwrap_or(now).max(born) })
    }

    /// How long it took; none as long as it has no end.
    pub(super) fn took(&self) -> Option<u64> {
        let end = moment(self.run.end_time)?;
        Some(end.saturating_sub(self.born))
    }

    /// How long it was there before a task of it worked; none when none has worked.
    pub(super) fn until_running(&self) -> Option<u64> {
        let worked = self.run.tasks.iter().filter(|task| {
            let progress = progress_of(task.status.as_ref(), task.state.as_ref());
            duration(task.execution_duration).is_some_and(|took| took > 0)
                || progress == Progress::Ended(Outcome::Succeeded)
                || !self.run.has_ended()
        });
        let first = worked.filter_map(|task| self.course(task)?.execution).min()?;
        Some(first.saturating_sub(self.born))
    }

    /// The time in the queue.
    pub(super) fn queue(&self) -> Vec<Told> {
        let end = match (progress(self.run), duration(self.run.queue_duration)) {
            (Progress::Waiting, _) => None,
            (_, Some(queue)) => Some((self.born.saturating_add(queue), queue)),
            (_, None) => return Vec::new(),
        };
        vec![Told::new(&[], Curve::Passing { from: self.born, end })]
    }

    /// The time of the whole run.
    pub(super) fn whole(&self) -> Vec<Told> {
        let told = duration(self.run.run_duration).filter(|told| *told > 0);
        let total = told.unwrap_or(self.gone - self.born);
        let end = self.run.has_ended().then_some((self.gone, total));
        vec![Told::new(&[], Curve::Passing { from: self.born, end })]
    }

    /// One part of the life of every attempt that has come so far.
    pub(super) fn part(&self, part: Part) -> Vec<Told> {
        let told = self.run.tasks.iter().filter_map(|task| {
            let course = self.course(task)?;
            let (from, next, measured) = match part {
                Part::Setup => (course.setup?, course.execution, task.setup_duration),
                Part::Execution => (course.execution?, course.cleanup, task.execution_duration),
                Part::Cleanup => (course.cleanup?, course.ended, task.cleanup_duration),
            };
            let end = match next.or(course.ended) {
                Some(to) => Some((to, duration(measured)?)),
                None => None,
            };
            let attempt = number(task).to_string();
            let labels = [("task_key", task.task_key.as_str()), ("attempt", attempt.as_str())];
            Some(Told::new(&labels, Curve::Passing { from, end }))
        });
        told.collect()
    }

    /// How many attempts each task has had.
    pub(super) fn attempts(&self) -> Vec<Told> {
        let told = self.run.latest_attempts().into_iter().filter_map(|latest| {
            let mut steps: Vec<(u64, f64)> = self
                .attempts_of(latest)
                .filter_map(|task| Some((moment(task.start_time)?, f64::from(number(task)))))
                .collect();
            steps.sort_by_key(|(at, _)| *at);
            let curve = Curve::Steps(steps);
            (curve != Curve::Steps(Vec::new()))
                .then(|| Told::new(&[("task_key", latest.task_key.as_str())], curve))
        });
        told.collect()
    }

    /// How many tasks are where.
    pub(super) fn tasks(&self) -> Vec<Told> {
        let mut changes: Vec<(u64, Stage, Stage)> = Vec::new();
        let mut tasks = 0_i32;
        for latest in self.run.latest_attempts() {
            tasks = tasks.saturating_add(1);
            let mut stages: Vec<(u64, Stage)> = Vec::new();
            for task in self.attempts_of(latest) {
                self.stages(task, task.run_id == latest.run_id, &mut stages);
            }
            stages.sort_by_key(|(at, _)| *at);
            let mut stage = Stage::Waiting;
            for (at, next) in stages {
                changes.push((at, std::mem::replace(&mut stage, next), next));
            }
        }
        changes.sort_by_key(|(at, ..)| *at);
        let told = STAGES.into_iter().map(|(stage, word)| {
            let mut count = if stage == Stage::Waiting { tasks } else { 0 };
            let mut steps = vec![(self.born, f64::from(count))];
            for (at, from, to) in &changes {
                count += i32::from(*to == stage) - i32::from(*from == stage);
                steps.push(((*at).max(self.born), f64::from(count)));
            }
            Told::new(&[("state", word)], Curve::Steps(steps))
        });
        if tasks == 0 { Vec::new() } else { told.collect() }
    }

    /// The clusters that its tasks work on, each once, with when the first attempt there began.
    pub(super) fn clusters(&self) -> Vec<(&'a str, u64)> {
        let mut clusters: Vec<(&str, u64)> = Vec::new();
        for task in &self.run.tasks {
            let cluster = task.cluster_instance.as_ref();
            let id = cluster.and_then(|cluster| cluster.cluster_id.as_deref()).unwrap_or_default();
            if id.is_empty() {
                continue;
            }
            let since = moment(task.start_time).unwrap_or(self.born);
            match clusters.iter_mut().find(|(known, _)| *known == id) {
                Some((_, known)) => *known = since.min(*known),
                None => clusters.push((id, since)),
            }
        }
        clusters
    }

    /// Those of them that it works on by then.
    #[cfg(feature = "system-tables")]
    pub(super) fn clusters_until(&self, until: u64) -> Vec<&'a str> {
        let clusters = self.clusters().into_iter().filter(|(_, since)| *since <= until);
        clusters.map(|(id, _)| id).collect()
    }

    fn attempts_of(&self, latest: &RunTask) -> impl Iterator<Item = &'a RunTask> {
        let key = latest.task_key.clone();
        self.run.tasks.iter().filter(move |task| task.task_key == key)
    }

    /// The parts of an attempt lie one behind the other. Of one that has ended they are laid out from its end, because
    /// not every service counts the time in the queue as time of the attempt.
    fn course(&self, task: &RunTask) -> Option<Course> {
        let started = moment(task.start_time)?;
        let mut course = Course { started, ..Course::default() };
        let queue = duration(task.queue_duration).unwrap_or(0);
        let setup = duration(task.setup_duration).unwrap_or(0);
        let execution = duration(task.execution_duration).unwrap_or(0);
        let cleanup = duration(task.cleanup_duration).unwrap_or(0);
        let progress = progress_of(task.status.as_ref(), task.state.as_ref());
        let mut begun = started.saturating_add(queue);
        let is_over = matches!(progress, Progress::Ended(_)) || self.run.has_ended();
        if is_over {
            let ended = moment(task.end_time).unwrap_or(self.gone).max(started);
            course.ended = Some(ended);
            let took = setup.saturating_add(execution).saturating_add(cleanup);
            begun = begun.min(ended.saturating_sub(took)).max(started);
        }
        let worked = begun.saturating_add(setup);
        let wound_up = worked.saturating_add(execution);
        let has_worked = is_over || progress == Progress::Running;
        let is_winding_up = task.is_terminating() && execution > 0;
        if progress != Progress::Waiting || is_over {
            course.setup = Some(begun);
            course.execution = has_worked.then_some(worked);
            course.cleanup = (is_over || is_winding_up).then_some(wound_up);
        }
        Some(course)
    }

    /// Where an attempt was when. Behind an attempt that is not the last its task waits for the next.
    fn stages(&self, task: &RunTask, is_last: bool, stages: &mut Vec<(u64, Stage)>) {
        let progress = progress_of(task.status.as_ref(), task.state.as_ref());
        let is_over = matches!(progress, Progress::Ended(_)) || self.run.has_ended();
        let course = self.course(task);
        let worked = duration(task.execution_duration).is_some_and(|took| took > 0);
        if let Some(course) = course {
            let prepared = duration(task.setup_duration).is_some_and(|took| took > 0);
            stages.push((course.started, Stage::Waiting));
            if let Some(at) = course.setup.filter(|_| prepared || !is_over) {
                stages.push((at, Stage::Preparing));
            }
            if let Some(at) = course.execution.filter(|_| worked || !is_over) {
                stages.push((at, Stage::Running));
            }
        }
        if is_over {
            let ended = course.and_then(|course| course.ended).or(moment(task.end_time));
            let stage = match progress {
                _ if !is_last => Stage::Waiting,
                Progress::Ended(Outcome::Succeeded) => Stage::Succeeded,
                _ if was_skipped(task.status.as_ref(), task.state.as_ref()) => Stage::Skipped,
                _ => Stage::Failed,
            };
            stages.push((ended.unwrap_or(self.gone), stage));
        }
    }
}

/// Which attempt of its task, from 1 on.
fn number(task: &RunTask) -> u32 {
    u32::try_from(task.attempt_number.unwrap_or(0)).unwrap_or(0).saturating_add(1)
}

/// A time of the API; 0 is none.
fn moment(milliseconds: Option<i64>) -> Option<u64> {
    u64::try_from(milliseconds?).ok().filter(|since| *since > 0)
}

/// A duration of the API.
fn duration(milliseconds: Option<i64>) -> Option<u64> {
    u64::try_from(milliseconds?).ok()
}
