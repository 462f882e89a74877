//! Reads JSON that a user wrote, with errors that name the field.

use connector_core::Error;
use serde_json::{Map, Value};

/// The value as an object.
pub(crate) fn object(value: Value, field: &str) -> Result<Map<String, Value>, Error> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(wrong(field, "an object", &other)),
    }
}

/// The value as an object; null and absent are empty.
pub(crate) fn optional_object(
    value: Option<Value>,
    field: &str,
) -> Result<Map<String, Value>, Error> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(value) => object(value, field),
    }
}

/// The value as text; null, absent and blank are none.
pub(crate) fn optional_text(value: Option<Value>, field: &str) -> Result<Option<String>, Error> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
        }
        Some(other) => Err(wrong(field, "a string", &other)),
    }
}

/// Whether the user wrote something there: null, `{}`, `[]` and "" are nothing.
pub(crate) fn is_given(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(object) => !object.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.trim().is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// Takes what the user wrote under this key; null and empty values count as nothing.
pub(crate) fn take_given(object: &mut Map<String, Value>, key: &str) -> Option<Value> {
    object.remove(key).filter(is_given)
}

/// A map of strings: scalars become text, because the API takes strings alone there (DA §1.2 `spark_conf`).
pub(crate) fn text_map(value: Option<Value>, field: &str) -> Result<Map<String, Value>, Error> {
    optional_object(value, field)?
        .into_iter()
        .map(|(key, value)| {
            let text = match value {
                Value::String(text) => text,
                Value::Bool(flag) => flag.to_string(),
                Value::Number(number) => number.to_string(),
                Value::Null => String::new(),
                other => return Err(wrong(&format!("{field}.{key}"), "a string", &other)),
            };
            Ok((key, Value::String(text)))
        })
        .collect()
}

/// The field holds something of another type. The value itself is not repeated: it may be a secret.
pub(crate) fn wrong(field: &str, wanted: &str, got: &Value) -> Error {
    Error::invalid_task(format!("`{field}` must be {wanted}, but is {}", type_name(got)))
}

/// What kind of value it is, for people.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
