//! How far a log has been read: the content of a page token (docs/adr/0009-log-tokens.md). Pure.
//!
//! A cursor holds positions only. Each page reads the run again to find the files that they refer
//! to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{position::Position, rotation::StreamCursor};

/// How far the log of a run has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Run id of the attempt to continue with.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<i64>,
    /// Whether the first line, which reports the submission, has been written.
    #[serde(rename = "b", default)]
    pub(super) begun: bool,
    /// How often not all tasks of the ended run could be read.
    #[serde(rename = "x", default, skip_serializing_if = "is_default")]
    pub(super) incomplete: u8,
    /// The attempts that have been read in part, by run id.
    #[serde(rename = "u", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) attempts: BTreeMap<i64, AttemptCursor>,
}

/// How far one attempt of a task has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AttemptCursor {
    /// Which one-time lines have been written, as bits of [`super::events::OneTimeLine`].
    #[serde(rename = "m", default, skip_serializing_if = "is_default")]
    pub(super) written: u16,
    /// How far the events of its cluster have been read.
    #[serde(rename = "c", default, skip_serializing_if = "is_default")]
    pub(super) cluster_events: EventCursor,
    /// How often in a row its output could not be read.
    #[serde(rename = "x", default, skip_serializing_if = "is_default")]
    pub(super) unreadable: u8,
    /// The source that is being read.
    #[serde(rename = "s", default, skip_serializing_if = "is_default")]
    pub(super) source: LogSource,
}

/// The source being read, in reading order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LogSource {
    /// Not chosen yet.
    #[default]
    #[serde(rename = "w")]
    Undecided,
    /// The files that the attempt's cluster delivers.
    #[serde(rename = "d")]
    DeliveredLogs {
        #[serde(rename = "o", default)]
        stdout: StreamCursor,
        #[serde(rename = "e", default)]
        stderr: StreamCursor,
        /// Whether stderr is read first on the next page.
        #[serde(rename = "t", default)]
        stderr_first: bool,
    },
    /// The output of `runs/get-output`.
    #[serde(rename = "o")]
    RunOutput(Position),
    /// The error message and stack trace, read up to this byte; all output has been read.
    #[serde(rename = "f")]
    Error(u64),
    /// Nothing is left.
    #[serde(rename = "z")]
    Done,
}

impl LogSource {
    /// True if all output of the attempt has been read.
    pub(super) fn is_past_output(&self) -> bool {
        matches!(self, Self::Error(_) | Self::Done)
    }
}

/// How far a list of events, sorted by time, has been read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EventCursor {
    /// The time of the last event read, in milliseconds since the epoch.
    #[serde(rename = "t")]
    pub(super) time: i64,
    /// How many events of that time have been read.
    #[serde(rename = "n")]
    pub(super) count: u32,
}

impl EventCursor {
    /// True if the event of that time, the `index`th of its time, has been read.
    pub(super) fn is_past(self, time: i64, index: u32) -> bool {
        time < self.time || (time == self.time && index < self.count)
    }

    /// Returns the cursor after an event of that time.
    #[must_use]
    pub(super) fn after(self, time: i64) -> Self {
        let count = if time == self.time { self.count.saturating_add(1) } else { 1 };
        Self { time, count }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
