//! The id of a run.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::int64;

/// The id of a run or of a task run: a positive 64-bit integer. Read from a JSON number or a decimal string, written
/// as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(i64);

/// The text or number is no run id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a run id is a positive decimal number of at most 64 bits")]
pub struct InvalidRunId;

impl RunId {
    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for RunId {
    type Error = InvalidRunId;

    fn try_from(number: i64) -> Result<Self, InvalidRunId> {
        if number > 0 { Ok(Self(number)) } else { Err(InvalidRunId) }
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(text: &str) -> Result<Self, InvalidRunId> {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidRunId);
        }
        text.parse::<i64>().map_err(|_invalid| InvalidRunId).and_then(Self::try_from)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        int64::required(deserializer)
            .and_then(|number| Self::try_from(number).map_err(de::Error::custom))
    }
}
