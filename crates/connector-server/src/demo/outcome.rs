//! The result of a scenario, compared with the expected one.

use std::time::Duration;

use flyteidl2::{connector::Resource, core::task_execution::Phase};
use serde_json::{Value, json};

use super::event::{is_terminal, seconds};

/// The result of a scenario.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// The key of the scenario.
    pub(super) task: &'static str,
    pub(super) expected: Expected,
    pub(super) run_id: Option<String>,
    /// The phases that `GetTask` returned, in order, without repetitions.
    pub(super) phases: Vec<Phase>,
    /// The message of the last `GetTask` response.
    pub(super) message: String,
    pub(super) has_run_page: bool,
    pub(super) log: Vec<String>,
    /// Time from `CreateTask` to the terminal phase.
    pub(super) duration: Duration,
    /// Why the scenario stopped early.
    pub(super) failure: Option<String>,
}

/// The expected result of a scenario.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// The last phase.
    pub(super) phase: Phase,
    /// A substring of the last message.
    pub(super) message: &'static str,
    /// A substring of a log line.
    pub(super) log_line: Option<&'static str>,
}

impl Outcome {
    pub(super) fn new(task: &'static str, expected: Expected) -> Self {
        Self {
            task,
            expected,
            run_id: None,
            phases: Vec::new(),
            message: String::new(),
            has_run_page: false,
            log: Vec::new(),
            duration: Duration::ZERO,
            failure: None,
        }
    }

    /// Records a response to `GetTask`.
    pub(super) fn record(&mut self, resource: &Resource) {
        if self.phase() != Some(resource.phase()) {
            self.phases.push(resource.phase());
        }
        self.message.clone_from(&resource.message);
        self.has_run_page |=
            resource.log_links.iter().any(|link| link.name == "Databricks Console");
    }

    /// Returns the last phase.
    pub(super) fn phase(&self) -> Option<Phase> {
        self.phases.last().copied()
    }

    /// Returns why the scenario stopped early, or the first line of the last message.
    pub(super) fn reason(&self) -> &str {
        self.failure.as_deref().or_else(|| self.message.lines().next()).unwrap_or_default()
    }

    /// Returns the differences from the expected result.
    pub(super) fn deviations(&self) -> Vec<String> {
        if let Some(failure) = &self.failure {
            return vec![failure.clone()];
        }
        let Expected { phase, message, log_line } = self.expected;
        let mut deviations = Vec::new();
        if self.phase() != Some(phase) {
            let last = self.phase().map_or("no phase", |phase| phase.as_str_name());
            deviations.push(format!("ended with {last}, expected {}", phase.as_str_name()));
        }
        if !self.phases.is_sorted_by_key(|phase| rank(*phase)) {
            deviations.push(format!("phases out of order: {}", names(&self.phases).join(", ")));
        }
        if !self.message.contains(message) {
            deviations.push(format!("the last message does not contain `{message}`"));
        }
        if !self.has_run_page {
            deviations.push("no response linked the run page".to_owned());
        }
        if let Some(expected) = log_line
            && !self.log.iter().any(|line| line.contains(expected))
        {
            deviations.push(format!("no log line contains `{expected}`"));
        }
        deviations
    }

    /// Returns the outcome as JSON.
    pub(super) fn to_json(&self) -> Value {
        let deviations = self.deviations();
        json!({
            "task": self.task,
            "run_id": self.run_id,
            "phases": names(&self.phases),
            "end": self.phase().map(|phase| phase.as_str_name()),
            "reason": self.reason(),
            "seconds": seconds(self.duration),
            "as_expected": deviations.is_empty(),
            "deviations": deviations,
        })
    }
}

fn names(phases: &[Phase]) -> Vec<&'static str> {
    phases.iter().map(Phase::as_str_name).collect()
}

/// Returns the position of a phase in the order in which phases may follow each other.
fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Queued => 1,
        Phase::WaitingForResources => 2,
        Phase::Initializing => 3,
        Phase::Running => 4,
        terminal if is_terminal(terminal) => 5,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expected = Expected {
        phase: Phase::RetryableFailed,
        message: "ValueError",
        log_line: Some("reading"),
    };

    fn as_expected() -> Outcome {
        Outcome {
            phases: vec![Phase::WaitingForResources, Phase::Running, Phase::RetryableFailed],
            message: "ValueError: no\nTraceback".to_owned(),
            has_run_page: true,
            log: vec!["reading".to_owned()],
            ..Outcome::new("fails", EXPECTED)
        }
    }

    #[test]
    fn expected_result_has_no_deviations() {
        assert_eq!(as_expected().deviations(), Vec::<String>::new());
        assert_eq!(as_expected().reason(), "ValueError: no");
    }

    #[test]
    fn every_deviation_is_listed() {
        let phases = vec![Phase::Running, Phase::Initializing];
        assert_eq!(
            Outcome { phases, ..Outcome::new("fails", EXPECTED) }.deviations(),
            [
                "ended with INITIALIZING, expected RETRYABLE_FAILED",
                "phases out of order: RUNNING, INITIALIZING",
                "the last message does not contain `ValueError`",
                "no response linked the run page",
                "no log line contains `reading`",
            ]
        );
    }

    #[test]
    fn failure_is_the_only_deviation() {
        let outcome = Outcome { failure: Some("it broke".to_owned()), ..as_expected() };
        assert_eq!(outcome.deviations(), ["it broke"]);
        assert_eq!(outcome.reason(), "it broke");
    }
}
