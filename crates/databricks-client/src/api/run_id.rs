//! Run ids.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::json::{self, Json, Read};

/// The id of a run or of a task run: a positive 64-bit integer. Deserialized from a JSON number or a decimal string,
/// serialized as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(i64);

/// The text or number is not a run id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a run id; expected a positive decimal number of at most 64 bits")]
pub struct InvalidRunId;

impl RunId {
    /// Returns the number.
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

/// A positive number or decimal string. Databricks sends 0 for a task that has not started.
impl Read for RunId {
    fn read(json: Json<'_>) -> Option<Self> {
        json.read::<i64>().and_then(|number| Self::try_from(number).ok())
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_id_consists_of_decimal_digits() {
        assert_eq!("9007199254740993".parse::<RunId>().map(RunId::get), Ok(9_007_199_254_740_993));
        for text in
            ["", "0", "-1", "+1", " 1", "1.0", "1e3", "0x1", "9223372036854775808", "x", "１"]
        {
            assert_eq!(text.parse::<RunId>(), Err(InvalidRunId), "{text}");
        }
    }

    #[test]
    fn run_id_is_deserialized_from_numbers_and_strings_and_serialized_as_a_number() {
        for json in ["9223372036854775807", r#""9223372036854775807""#] {
            let id: RunId = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&id).unwrap(), "9223372036854775807");
        }
        for json in
            ["1.0", "1e3", "0", "-1", r#""1.0""#, r#""""#, "9223372036854775808", "null", "[]"]
        {
            assert!(serde_json::from_str::<RunId>(json).is_err(), "{json}");
        }
    }
}
