//! The invariants of a soak, checked at its end.

#[cfg(test)]
mod tests;

use crate::scenario::{ExecutorKind, RunOutcome, TaskScenario};
use crate::task_requests;
use databricks_emulator::RunSummary;
use flyte_executor_model::{CallOutput, End, Finished, Method, TaskStatus, TracedCall, TryOutcome};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long after its response and the grace period a replica may still be cancelling abandoned runs: it tries five times.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(40);

/// A violated invariant.
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

/// A finished task.
#[derive(Debug, Clone)]
pub(crate) struct TaskRecord {
    pub(crate) scenario: TaskScenario,
    pub(crate) began: Instant,
    pub(crate) finished: Finished,
}

/// Why a run may remain active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeftoverReason {
    /// Its server was killed between submit and response, and so was the server of any later attempt.
    KilledBeforeResponse,
    /// Its server had responded with an error and was killed before it cancelled the run. There was no later attempt.
    KilledBeforeCancelling,
    /// The server of a later attempt was killed before it searched for the run.
    KilledBeforeSearch,
    /// The executor lost the response of its create; then the repeated create failed, or the user aborted the task. There was no
    /// later attempt.
    LostByExecutor,
    /// No valid reason: a violation.
    None,
}

/// The recorded tasks, runs and kills.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    pub(crate) tasks: BTreeMap<u64, TaskRecord>,
    /// Terminated runs, which are deleted from the workspace.
    pub(crate) terminated_runs: Vec<RunSummary>,
    /// When each replica was killed.
    pub(crate) kills: HashMap<SocketAddr, Instant>,
    pub(crate) abandon_grace: Duration,
}

/// Counts of runs, and of active ones by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RunCounts {
    pub(crate) all: usize,
    pub(crate) killed_before_response: usize,
    pub(crate) killed_before_cancelling: usize,
    pub(crate) killed_before_search: usize,
    pub(crate) lost_by_executor: usize,
}

/// True if the run is active and not cancelled.
pub(crate) fn is_active(run: &RunSummary) -> bool {
    const ACTIVE: [&str; 6] =
        ["QUEUED", "BLOCKED", "PENDING", "RUNNING", "WAITING_FOR_RETRY", "TERMINATING"];
    !run.cancelled && ACTIVE.contains(&run.life_cycle.as_str())
}

impl TaskRecord {
    /// True if the task failed because all its creates failed.
    pub(crate) fn failed_to_create(&self) -> bool {
        matches!(&self.finished.end, Some(End::Failure(error)) if error.message.starts_with("failed to create task"))
    }

    /// True if the executor lost the error of a create, repeated the create, and got the run that the first server then
    /// cancelled. A connector cannot detect this race.
    pub(crate) fn lost_an_error(&self) -> bool {
        let was_cancelled = matches!(&self.finished.end, Some(End::Failure(error)) if error.message.contains("USER_CANCELED"));
        was_cancelled
            && self.creates(self.finished.attempt).any(|call| call.outcome.is_err() && !call.stored)
    }

    /// Returns the violated invariant of the finished task, if any.
    fn violation(&self) -> Option<String> {
        let Finished { status, end, attempt, .. } = &self.finished;
        match status {
            TaskStatus::Collected => {}
            TaskStatus::Frozen => return Some("is frozen in a non-terminal phase".to_owned()),
            TaskStatus::Active | TaskStatus::Ended => {
                return Some("did not finish in time".to_owned());
            }
        }
        let outcome = self.scenario.outcome(*attempt);
        match end {
            Some(End::Success) if outcome == RunOutcome::Success => None,
            Some(End::Success) => Some(format!("succeeded, but its run was {outcome:?}")),
            Some(End::Aborted) if self.scenario.abort_after.is_some() => None,
            Some(End::Aborted) => Some("was aborted unexpectedly".to_owned()),
            Some(End::Failure(_)) if self.failed_to_create() || self.lost_an_error() => None,
            Some(End::Failure(error)) if outcome == RunOutcome::Success => {
                Some(format!("failed, but its run succeeded: {}: {}", error.code, error.message))
            }
            Some(End::Failure(error)) if !error.message.starts_with("failed to run the job") => {
                Some(format!("failed unexpectedly: {}: {}", error.code, error.message))
            }
            Some(End::Failure(_)) => None,
            None => Some("was collected without an end".to_owned()),
        }
    }

    fn creates(&self, attempt: u32) -> impl Iterator<Item = &TracedCall> {
        self.finished
            .calls
            .iter()
            .filter(move |call| call.method == Method::Create && call.attempt == attempt)
    }
}

impl Observations {
    /// Returns all violations and the run counts. `left` are the runs that the workspace still has.
    pub(crate) fn check(&self, left: &[RunSummary]) -> (Vec<Violation>, RunCounts) {
        let mut violations: Vec<Violation> = self
            .tasks
            .iter()
            .filter_map(|(task, record)| Some(Violation { task: *task, what: record.violation()? }))
            .collect();
        let mut counts =
            RunCounts { all: self.terminated_runs.len() + left.len(), ..RunCounts::default() };
        let mut attempts: HashMap<(u64, u32), Vec<i64>> = HashMap::new();
        for run in self.terminated_runs.iter().chain(left) {
            match task_requests::task_of(&run.run_name) {
                Some(owner) => attempts.entry(owner).or_default().push(run.run_id),
                None => violations.push(Violation {
                    task: 0,
                    what: format!(
                        "run {} has name `{}`, which belongs to no task",
                        run.run_id, run.run_name
                    ),
                }),
            }
        }
        for ((task, attempt), runs) in attempts.iter().filter(|(_, runs)| runs.len() > 1) {
            violations.push(Violation {
                task: *task,
                what: format!("attempt {attempt} has {} runs: {runs:?}", runs.len()),
            });
        }
        for run in left.iter().filter(|run| is_active(run)) {
            let Some((task, attempt)) = task_requests::task_of(&run.run_name) else { continue };
            match self.leftover_reason(task, attempt) {
                LeftoverReason::KilledBeforeResponse => counts.killed_before_response += 1,
                LeftoverReason::KilledBeforeCancelling => counts.killed_before_cancelling += 1,
                LeftoverReason::KilledBeforeSearch => counts.killed_before_search += 1,
                LeftoverReason::LostByExecutor => counts.lost_by_executor += 1,
                LeftoverReason::None => violations.push(Violation {
                    task,
                    what: format!(
                        "run {} of attempt {attempt} remains {} and no server will cancel it",
                        run.run_id, run.life_cycle
                    ),
                }),
            }
        }
        violations.sort_by_key(|violation| violation.task);
        (violations, counts)
    }

    /// Returns why a run of this attempt may remain active.
    fn leftover_reason(&self, task: u64, attempt: u32) -> LeftoverReason {
        let Some(record) = self.tasks.get(&task) else { return LeftoverReason::None };
        let was_taken = record.creates(attempt).any(|call| call.outcome.is_ok() && call.stored);
        if was_taken {
            return LeftoverReason::None;
        }
        // A later attempt searches for runs of earlier ones, unless its server is killed first.
        let mut has_later = false;
        for call in &record.finished.calls {
            if call.method != Method::Create || call.attempt <= attempt {
                continue;
            }
            for attempted in &call.tries {
                match attempted.outcome {
                    TryOutcome::Unsent => {}
                    // Killed before it responded, so perhaps before it searched.
                    TryOutcome::Broken if self.kills.contains_key(&attempted.replica) => {}
                    TryOutcome::Broken => return LeftoverReason::None,
                    TryOutcome::TimedOut | TryOutcome::Responded(_) => {
                        if !self.was_killed_soon_after(record, call, attempted.replica) {
                            return LeftoverReason::None;
                        }
                        has_later = true;
                    }
                }
            }
        }
        if has_later {
            return LeftoverReason::KilledBeforeSearch;
        }
        let mut responded = false;
        for call in record.creates(attempt) {
            for attempted in &call.tries {
                match attempted.outcome {
                    TryOutcome::Broken if self.kills.contains_key(&attempted.replica) => {
                        return LeftoverReason::KilledBeforeResponse;
                    }
                    // Its server was still executing the create, or was about to cancel the run.
                    TryOutcome::TimedOut | TryOutcome::Responded(_) => {
                        responded |= self.was_killed_soon_after(record, call, attempted.replica);
                    }
                    TryOutcome::Broken | TryOutcome::Unsent => {}
                }
            }
        }
        let has_lost = record.scenario.restart_after.is_some()
            || record.creates(attempt).any(|call| call.outcome.is_ok() && !call.stored);
        let has_failed = record.creates(attempt).last().is_some_and(|call| call.outcome.is_err());
        // If the task was aborted before the executor knew the run, it sent no delete.
        let was_aborted = record.finished.end == Some(End::Aborted);
        match (responded, has_lost && (has_failed || was_aborted)) {
            (true, _) => LeftoverReason::KilledBeforeCancelling,
            (false, true) => LeftoverReason::LostByExecutor,
            (false, false) => LeftoverReason::None,
        }
    }

    /// True if the replica was killed while it may still have been handling the call's consequences.
    fn was_killed_soon_after(
        &self,
        record: &TaskRecord,
        call: &TracedCall,
        replica: SocketAddr,
    ) -> bool {
        let busy = record.began + call.began + call.took + self.abandon_grace + CANCEL_TIMEOUT;
        self.kills.get(&replica).is_some_and(|killed| *killed <= busy)
    }

    /// Returns the calls of a task, one per line.
    pub(crate) fn trace(&self, task: u64) -> Vec<String> {
        let Some(record) = self.tasks.get(&task) else { return Vec::new() };
        let mut lines = vec![format!("{:?}", record.scenario)];
        lines.extend(record.finished.calls.iter().map(line));
        lines.push(format!("{:?}, {:?}", record.finished.status, record.finished.end));
        lines
    }

    /// Returns the number of tasks with this executor.
    pub(crate) fn count_by_executor(&self, executor_kind: ExecutorKind) -> usize {
        self.tasks.values().filter(|record| record.scenario.executor_kind == executor_kind).count()
    }
}

fn line(call: &TracedCall) -> String {
    let tries: Vec<String> = call
        .tries
        .iter()
        .map(|attempted| format!("{}: {:?}", attempted.replica.port(), attempted.outcome))
        .collect();
    let outcome = match &call.outcome {
        Ok(CallOutput::Launched(meta)) => format!("meta {}", String::from_utf8_lossy(meta)),
        Ok(CallOutput::Phase(phase, message)) => format!("phase {phase} {message:?}"),
        Ok(CallOutput::Deleted) => "deleted".to_owned(),
        Err(fault) => fault.to_string(),
    };
    format!(
        "+{:.3} s {:?} of attempt {} ({:.3} s) [{}] {outcome}{}",
        call.began.as_secs_f64(),
        call.method,
        call.attempt,
        call.took.as_secs_f64(),
        tries.join(", "),
        if call.stored { "" } else { " (not persisted)" },
    )
}
