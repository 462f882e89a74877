//! How far the log of a run is read: what a token carries. It holds positions and nothing else; which files they are in
//! is told anew by the run itself (ADR 0009). Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{place::Place, rotation::Position};

/// How far a whole log is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The attempt to go on with, by its run id.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<i64>,
    /// Whether the first line is told, which says that there is a run.
    #[serde(rename = "b", default)]
    pub(super) begun: bool,
    /// The attempts of tasks of which something is told, by their run ids.
    #[serde(rename = "u", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) attempts: BTreeMap<i64, Attempt>,
}

/// How far one attempt of one task is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attempt {
    /// Which of its own events are told, as bits of [`super::events::Mark`].
    #[serde(rename = "m", default, skip_serializing_if = "is_default")]
    pub(super) marks: u16,
    /// Which events of its cluster are told.
    #[serde(rename = "c", default, skip_serializing_if = "is_default")]
    pub(super) cluster: Clock,
    /// What is being read.
    #[serde(rename = "s", default, skip_serializing_if = "is_default")]
    pub(super) stage: Stage,
}

/// What is being read of an attempt, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Nothing yet.
    #[default]
    #[serde(rename = "w")]
    Waiting,
    /// What its cluster delivers.
    #[serde(rename = "d")]
    Delivered {
        #[serde(rename = "o", default)]
        stdout: Position,
        #[serde(rename = "e", default)]
        stderr: Position,
        /// Whether stderr comes first next.
        #[serde(rename = "t", default)]
        stderr_first: bool,
    },
    /// What `get-output` tells.
    #[serde(rename = "o")]
    Output(Place),
    /// Its output is told; its error and the trace come next, so many bytes are told.
    #[serde(rename = "f")]
    Failure(u64),
    /// All of it is told.
    #[serde(rename = "z")]
    Told,
}

impl Stage {
    /// Whether all that the work wrote is told.
    pub(super) fn is_past_output(&self) -> bool {
        matches!(self, Self::Failure(_) | Self::Told)
    }
}

/// How far a list of events is told that are sorted by time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Clock {
    /// The time of the last event that is told, in milliseconds since the epoch.
    #[serde(rename = "t")]
    pub(super) time: i64,
    /// How many of that very time are told.
    #[serde(rename = "n")]
    pub(super) count: u32,
}

impl Clock {
    /// Whether an event of that time, which is the `index`th of its time, is told.
    pub(super) fn has_told(self, time: i64, index: u32) -> bool {
        time < self.time || (time == self.time && index < self.count)
    }

    /// The same after an event of that time.
    #[must_use]
    pub(super) fn after(self, time: i64) -> Self {
        let count = if time == self.time { self.count.saturating_add(1) } else { 1 };
        Self { time, count }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
