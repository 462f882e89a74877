//! What became of a scene, and whether it is what was expected.

use std::time::Duration;

use flyteidl2::core::task_execution::Phase;
use serde_json::{Value, json};

use super::answer::seconds;

/// What became of a scene.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    pub(super) run_id: Option<String>,
    /// Every phase that `GetTask` answered, in order, each once in a row.
    pub(super) phases: Vec<Phase>,
    /// The message of the last answer.
    pub(super) message: String,
    pub(super) has_run_page: bool,
    pub(super) log: Vec<String>,
    pub(super) took: Duration,
    /// Why the scene was broken off, if it was.
    pub(super) trouble: Option<String>,
}

/// What a scene has to come to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub(super) end: Phase,
    /// A part of the last message.
    pub(super) message: &'static str,
    /// A part of a line of the log.
    pub(super) log: Option<&'static str>,
}

impl Outcome {
    /// The last phase that was answered.
    pub(super) fn end(&self) -> Option<Phase> {
        self.phases.last().copied()
    }

    /// The first line of the last message, or the trouble.
    pub(super) fn reason(&self) -> &str {
        self.trouble.as_deref().or_else(|| self.message.lines().next()).unwrap_or_default()
    }

    /// In what it differs from what was expected; nothing if it does not.
    pub(super) fn deviations(&self, expected: Expected) -> Vec<String> {
        if let Some(trouble) = &self.trouble {
            return vec![trouble.clone()];
        }
        let mut deviations = Vec::new();
        if self.end() != Some(expected.end) {
            let end = self.end().map_or("no phase at all", |phase| phase.as_str_name());
            deviations.push(format!("ended with {end}, not with {}", expected.end.as_str_name()));
        }
        if !self.phases.is_sorted_by_key(|phase| rank(*phase)) {
            deviations.push(format!("went backwards: {}", names(&self.phases).join(", ")));
        }
        if !self.message.contains(expected.message) {
            deviations.push(format!("its last message does not say `{}`", expected.message));
        }
        if !self.has_run_page {
            deviations.push("no answer had a link to the run's page".to_owned());
        }
        if let Some(wanted) = expected.log
            && !self.log.iter().any(|line| line.contains(wanted))
        {
            deviations.push(format!("no line of its log says `{wanted}`"));
        }
        deviations
    }

    /// The outcome for programs.
    pub(super) fn to_json(&self, task: &str, deviations: &[String]) -> Value {
        json!({
            "task": task,
            "run_id": self.run_id,
            "phases": names(&self.phases),
            "end": self.end().map(|phase| phase.as_str_name()),
            "reason": self.reason(),
            "seconds": seconds(self.took),
            "as_expected": deviations.is_empty(),
            "deviations": deviations,
        })
    }
}

/// The phases by name.
pub(super) fn names(phases: &[Phase]) -> Vec<&'static str> {
    phases.iter().map(Phase::as_str_name).collect()
}

/// Where in a life a phase belongs.
fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Undefined => 0,
        Phase::Queued => 1,
        Phase::WaitingForResources => 2,
        Phase::Initializing => 3,
        Phase::Running => 4,
        Phase::Succeeded | Phase::Aborted | Phase::Failed | Phase::RetryableFailed => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expected =
        Expected { end: Phase::RetryableFailed, message: "ValueError", log: Some("reading") };

    fn as_expected() -> Outcome {
        Outcome {
            phases: vec![Phase::WaitingForResources, Phase::Running, Phase::RetryableFailed],
            message: "ValueError: no\nTraceback".to_owned(),
            has_run_page: true,
            log: vec!["reading".to_owned()],
            ..Outcome::default()
        }
    }

    #[test]
    fn what_was_expected_has_no_deviations() {
        assert_eq!(as_expected().deviations(EXPECTED), Vec::<String>::new());
        assert_eq!(as_expected().reason(), "ValueError: no");
    }

    #[test]
    fn every_difference_is_named() {
        let outcome =
            Outcome { phases: vec![Phase::Running, Phase::Initializing], ..Outcome::default() };
        assert_eq!(
            outcome.deviations(EXPECTED),
            [
                "ended with INITIALIZING, not with RETRYABLE_FAILED",
                "went backwards: RUNNING, INITIALIZING",
                "its last message does not say `ValueError`",
                "no answer had a link to the run's page",
                "no line of its log says `reading`",
            ]
        );
    }

    #[test]
    fn trouble_is_told_alone() {
        let outcome = Outcome { trouble: Some("it broke".to_owned()), ..as_expected() };
        assert_eq!(outcome.deviations(EXPECTED), ["it broke"]);
        assert_eq!(outcome.reason(), "it broke");
    }
}
