//! The events and links that Flyte stores for the user (flyte-contract.md#what-users-see).

use crate::report::{Phase, Report};
use flyteidl2::core::TaskLog;
use std::collections::BTreeMap;

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The attempt, from 0.
    pub attempt: u32,
    /// The phase.
    pub phase: Phase,
    /// The version of the phase.
    pub version: u32,
    /// The reason. The UI shows it unless it is empty.
    pub reason: String,
}

/// The stored events and links of a task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    events: Vec<Event>,
    links: BTreeMap<String, TaskLog>,
}

impl History {
    /// Stores a report.
    ///
    /// Of events with the same attempt, phase and version only the first is kept. Links are merged by name; the latest wins.
    pub(crate) fn record(&mut self, attempt: u32, report: &Report) {
        for link in &report.links {
            self.links.insert(link.name.clone(), link.clone());
        }
        let is_known = self.events.iter().any(|event| {
            (event.attempt, event.phase, event.version) == (attempt, report.phase, report.version)
        });
        if !is_known {
            self.events.push(Event {
                attempt,
                phase: report.phase,
                version: report.version,
                reason: report.reason.clone(),
            });
        }
    }

    /// Returns the events in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Returns the reasons that the UI shows.
    pub fn reasons(&self) -> Vec<&str> {
        self.events
            .iter()
            .map(|event| event.reason.as_str())
            .filter(|text| !text.is_empty())
            .collect()
    }

    /// Returns the phases that the UI shows, without repetition.
    pub fn transitions(&self) -> Vec<Phase> {
        let mut phases: Vec<Phase> = self.events.iter().map(|event| event.phase).collect();
        phases.dedup();
        phases
    }

    /// Returns the links, sorted by name.
    pub fn links(&self) -> impl Iterator<Item = &TaskLog> {
        self.links.values()
    }
}
