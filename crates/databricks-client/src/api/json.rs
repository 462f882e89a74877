//! Lenient deserialization of fields in responses, and the content of files.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, de};

use crate::{Error, ErrorKind};

/// Deserializes a 64-bit integer from a JSON number or a decimal string (databricks-api.md#common-rules). Never
/// converts through a double.
pub(super) fn int64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    struct Visitor;

    impl de::Visitor<'_> for Visitor {
        type Value = i64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a 64-bit integer, as a number or as a decimal string")
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<i64, E> {
            Ok(number)
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<i64, E> {
            i64::try_from(number).map_err(|_invalid| E::custom("the integer exceeds 64 bits"))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<i64, E> {
            text.parse().map_err(|_invalid| E::custom("not a decimal integer"))
        }
    }

    deserializer.deserialize_any(Visitor)
}

/// Deserializes an integer that may be absent or null.
pub(super) fn optional_int64<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    struct Int64(#[serde(deserialize_with = "int64")] i64);
    Ok(Option::<Int64>::deserialize(deserializer)?.map(|Int64(number)| number))
}

/// Deserializes a value that may be null, as if it were absent.
pub(super) fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Deserializes a value of unknown form as none, so that it does not hide the rest of the response.
pub(super) fn known_or_none<'de, D: Deserializer<'de>, T: de::DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

/// Decodes the content of a file, which is base64.
pub(super) fn file_content(text: &str) -> Result<Bytes, Error> {
    STANDARD.decode(text).map(Bytes::from).map_err(|invalid| {
        Error::new(ErrorKind::Decode, "the content of the file is not base64").with_source(invalid)
    })
}
