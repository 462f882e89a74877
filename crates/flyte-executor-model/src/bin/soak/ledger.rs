//! What must be true when all is over.

#[cfg(test)]
mod tests;

use crate::cast::{Flavour, Fortune, Role};
use crate::job;
use databricks_emulator::RunSummary;
use flyte_executor_model::{End, Ended, Finished, Outcome, Standing, Traced, Verb};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long after its answer a replica may still be busy with runs that are to be given up, beside the grace: it tries
/// five times.
const GIVING_UP: Duration = Duration::from_secs(40);

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) task: u64,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}: {}", self.task, self.what)
    }
}

/// A task that the executor is done with.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) role: Role,
    pub(crate) began: Instant,
    pub(crate) finished: Finished,
}

/// A run that is left alive, by why that may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leftover {
    /// Its server was killed between submit and answer, and no later attempt came, or its server was killed likewise.
    KilledBeforeAnswer,
    /// Its server had answered with an error and was killed before it could give the run up, and no later attempt came.
    KilledBeforeGivingUp,
    /// A later attempt came, and its server was killed before it could find the run.
    KilledBeforeLooking,
    /// The executor had the answer of its create, or was about to get it, and lost it; the create that it sent in its
    /// place was refused, or its user aborted the task first, so that it knows of no run, and no later attempt came.
    LostByTheExecutor,
    /// Nothing excuses it.
    Unexcused,
}

/// Everything that is known of the tasks, the runs and the kills.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) tasks: BTreeMap<u64, Record>,
    /// Runs that were looked at, and are over.
    pub(crate) over: Vec<RunSummary>,
    /// When each replica was killed.
    pub(crate) kills: HashMap<SocketAddr, Instant>,
    pub(crate) abandon_grace: Duration,
}

/// The figures of the runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    pub(crate) all: usize,
    pub(crate) killed_before_answer: usize,
    pub(crate) killed_before_giving_up: usize,
    pub(crate) killed_before_looking: usize,
    pub(crate) lost_by_the_executor: usize,
}

/// Whether a run still does something, or would.
pub(crate) fn is_alive(run: &RunSummary) -> bool {
    const ALIVE: [&str; 6] =
        ["QUEUED", "BLOCKED", "PENDING", "RUNNING", "WAITING_FOR_RETRY", "TERMINATING"];
    !run.cancelled && ALIVE.contains(&run.life_cycle.as_str())
}

impl Record {
    /// Whether the task ended only because no create was taken.
    pub(crate) fn is_lost_to_creates(&self) -> bool {
        matches!(&self.finished.end, Some(End::Failure(error)) if error.message.starts_with("failed to create task"))
    }

    /// Whether the executor lost the error that a create was answered with, sent the create again, and so got the run
    /// that the one who had answered gave up: the race that a connector cannot see.
    pub(crate) fn lost_an_error(&self) -> bool {
        let was_cancelled = matches!(&self.finished.end, Some(End::Failure(error)) if error.message.contains("USER_CANCELED"));
        was_cancelled
            && self.creates(self.finished.attempt).any(|call| call.outcome.is_err() && !call.stored)
    }

    /// What is wrong with how it ended.
    fn fault(&self) -> Option<String> {
        let Finished { standing, end, attempt, .. } = &self.finished;
        match standing {
            Standing::Collected => {}
            Standing::Frozen => return Some("is frozen: no phase will ever come again".to_owned()),
            Standing::Underway | Standing::Ended => {
                return Some("was not finished in its time".to_owned());
            }
        }
        let fortune = self.role.fortune(*attempt);
        match end {
            Some(End::Success) if fortune == Fortune::Success => None,
            Some(End::Success) => Some(format!("succeeded, but its run was {fortune:?}")),
            Some(End::Aborted) if self.role.abort_after.is_some() => None,
            Some(End::Aborted) => Some("was aborted by nobody".to_owned()),
            Some(End::Failure(_)) if self.is_lost_to_creates() || self.lost_an_error() => None,
            Some(End::Failure(error)) if fortune == Fortune::Success => {
                Some(format!("failed, but its run succeeded: {}: {}", error.code, error.message))
            }
            Some(End::Failure(error)) if !error.message.starts_with("failed to run the job") => {
                Some(format!("failed in an unforeseen way: {}: {}", error.code, error.message))
            }
            Some(End::Failure(_)) => None,
            None => Some("is collected without an end".to_owned()),
        }
    }

    fn creates(&self, attempt: u32) -> impl Iterator<Item = &Traced> {
        self.finished
            .calls
            .iter()
            .filter(move |call| call.verb == Verb::Create && call.attempt == attempt)
    }
}

impl Ledger {
    /// Every broken promise, and the figures of the runs. `left` is what the workspace still has.
    pub(crate) fn close(&self, left: &[RunSummary]) -> (Vec<Violation>, Runs) {
        let mut violations: Vec<Violation> = self
            .tasks
            .iter()
            .filter_map(|(task, record)| Some(Violation { task: *task, what: record.fault()? }))
            .collect();
        let mut figures = Runs { all: self.over.len() + left.len(), ..Runs::default() };
        let mut attempts: HashMap<(u64, u32), Vec<i64>> = HashMap::new();
        for run in self.over.iter().chain(left) {
            match job::owner(&run.run_name) {
                Some(owner) => attempts.entry(owner).or_default().push(run.run_id),
                None => violations.push(Violation {
                    task: 0,
                    what: format!("run {} is named `{}`, like no task", run.run_id, run.run_name),
                }),
            }
        }
        for ((task, attempt), runs) in attempts.iter().filter(|(_, runs)| runs.len() > 1) {
            violations.push(Violation {
                task: *task,
                what: format!("attempt {attempt} has {} runs: {runs:?}", runs.len()),
            });
        }
        for run in left.iter().filter(|run| is_alive(run)) {
            let Some((task, attempt)) = job::owner(&run.run_name) else { continue };
            match self.excuse(task, attempt) {
                Leftover::KilledBeforeAnswer => figures.killed_before_answer += 1,
                Leftover::KilledBeforeGivingUp => figures.killed_before_giving_up += 1,
                Leftover::KilledBeforeLooking => figures.killed_before_looking += 1,
                Leftover::LostByTheExecutor => figures.lost_by_the_executor += 1,
                Leftover::Unexcused => violations.push(Violation {
                    task,
                    what: format!(
                        "run {} of attempt {attempt} is left {} and nobody will ever ask for it",
                        run.run_id, run.life_cycle
                    ),
                }),
            }
        }
        violations.sort_by_key(|violation| violation.task);
        (violations, figures)
    }

    /// Why a run of this attempt may be left alive.
    fn excuse(&self, task: u64, attempt: u32) -> Leftover {
        let Some(record) = self.tasks.get(&task) else { return Leftover::Unexcused };
        let was_taken = record.creates(attempt).any(|call| call.outcome.is_ok() && call.stored);
        if was_taken {
            return Leftover::Unexcused;
        }
        // A later attempt looks for runs of earlier ones, unless its own server is killed before it could.
        let mut has_later = false;
        for call in &record.finished.calls {
            if call.verb != Verb::Create || call.attempt <= attempt {
                continue;
            }
            for each in &call.tries {
                match each.ended {
                    Ended::Unsent => {}
                    // Killed before it answered, so perhaps before it looked.
                    Ended::Broken if self.kills.contains_key(&each.replica) => {}
                    Ended::Broken => return Leftover::Unexcused,
                    Ended::TimedOut | Ended::Answered(_) => {
                        if !self.was_killed_soon_after(record, call, each.replica) {
                            return Leftover::Unexcused;
                        }
                        has_later = true;
                    }
                }
            }
        }
        if has_later {
            return Leftover::KilledBeforeLooking;
        }
        let mut answered = false;
        for call in record.creates(attempt) {
            for each in &call.tries {
                match each.ended {
                    Ended::Broken if self.kills.contains_key(&each.replica) => {
                        return Leftover::KilledBeforeAnswer;
                    }
                    // Its server was at it, or was to give it up.
                    Ended::TimedOut | Ended::Answered(_) => {
                        answered |= self.was_killed_soon_after(record, call, each.replica);
                    }
                    Ended::Broken | Ended::Unsent => {}
                }
            }
        }
        let has_lost = record.role.restart_after.is_some()
            || record.creates(attempt).any(|call| call.outcome.is_ok() && !call.stored);
        let was_refused = record.creates(attempt).last().is_some_and(|call| call.outcome.is_err());
        // Aborted before it knew of a run, the executor has nothing to delete.
        let was_aborted = record.finished.end == Some(End::Aborted);
        match (answered, has_lost && (was_refused || was_aborted)) {
            (true, _) => Leftover::KilledBeforeGivingUp,
            (false, true) => Leftover::LostByTheExecutor,
            (false, false) => Leftover::Unexcused,
        }
    }

    /// Whether that replica was killed while it may still have been busy with what comes of the call.
    fn was_killed_soon_after(&self, record: &Record, call: &Traced, replica: SocketAddr) -> bool {
        let busy = record.began + call.began + call.took + self.abandon_grace + GIVING_UP;
        self.kills.get(&replica).is_some_and(|killed| *killed <= busy)
    }

    /// The life of a task, call by call.
    pub(crate) fn trace(&self, task: u64) -> Vec<String> {
        let Some(record) = self.tasks.get(&task) else { return Vec::new() };
        let mut lines = vec![format!("{:?}", record.role)];
        lines.extend(record.finished.calls.iter().map(line));
        lines.push(format!("{:?}, {:?}", record.finished.standing, record.finished.end));
        lines
    }

    /// How many tasks of each kind of executor there were.
    pub(crate) fn of_flavour(&self, flavour: Flavour) -> usize {
        self.tasks.values().filter(|record| record.role.flavour == flavour).count()
    }
}

fn line(call: &Traced) -> String {
    let tries: Vec<String> = call
        .tries
        .iter()
        .map(|each| format!("{}: {:?}", each.replica.port(), each.ended))
        .collect();
    let outcome = match &call.outcome {
        Ok(Outcome::Launched(meta)) => format!("meta {}", String::from_utf8_lossy(meta)),
        Ok(Outcome::Phase(phase, message)) => format!("phase {phase} {message:?}"),
        Ok(Outcome::Deleted) => "deleted".to_owned(),
        Err(fault) => fault.to_string(),
    };
    format!(
        "+{:.3} s {:?} of attempt {} ({:.3} s) [{}] {outcome}{}",
        call.began.as_secs_f64(),
        call.verb,
        call.attempt,
        call.took.as_secs_f64(),
        tries.join(", "),
        if call.stored { "" } else { " (not written down)" },
    )
}
