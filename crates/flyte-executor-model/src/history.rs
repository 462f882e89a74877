//! What of all the reports is kept for the user (FC §1.6).

use crate::report::{Phase, Report};
use flyteidl2::core::TaskLog;
use std::collections::BTreeMap;

/// An event that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Of which attempt, from 0.
    pub attempt: u32,
    /// Its phase.
    pub phase: Phase,
    /// The version of the phase.
    pub version: u32,
    /// The reason; the UI shows it when it is not empty.
    pub reason: String,
}

/// The stored events and links of a task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    events: Vec<Event>,
    links: BTreeMap<String, TaskLog>,
}

impl History {
    /// Takes a report in. The first event of an attempt, a phase and a version stays; later ones are dropped. Links are
    /// merged by name, and the latest wins.
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

    /// The events, in the order they came.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The reasons that the UI shows.
    pub fn reasons(&self) -> Vec<&str> {
        self.events
            .iter()
            .map(|event| event.reason.as_str())
            .filter(|text| !text.is_empty())
            .collect()
    }

    /// The phases that the UI shows, without repetition.
    pub fn transitions(&self) -> Vec<Phase> {
        let mut phases: Vec<Phase> = self.events.iter().map(|event| event.phase).collect();
        phases.dedup();
        phases
    }

    /// The links, by name.
    pub fn links(&self) -> impl Iterator<Item = &TaskLog> {
        self.links.values()
    }
}
