//! What Flyte learns with the first message of a run, because the answer to CreateTask has no message.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use databricks_client::{Host, RunId};

/// The maximum number of runs that wait for their first message.
const MAX_WAITING: usize = 10_000;

/// Notes about new runs, in memory only: a replica that did not create a run has none.
#[derive(Debug, Default)]
pub(crate) struct FirstMessages(Mutex<HashMap<(Host, RunId), String>>);

impl FirstMessages {
    /// Keeps the note for the first message of the run.
    pub(crate) fn insert(&self, run: (Host, RunId), note: String) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MAX_WAITING {
            waiting.clear();
        }
        waiting.insert(run, note);
    }

    /// Returns the message with the note of the run, once.
    pub(crate) fn add_note(&self, run: &(Host, RunId), message: String) -> String {
        let note = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(run);
        match note {
            Some(note) if message.is_empty() => note,
            Some(note) => format!("{message}\n{note}"),
            None => message,
        }
    }
}
