//! Readers for JSON that a user wrote. Their errors name the field and never repeat its value, which may be a secret.

use connector_core::Error;
use serde_json::{Map, Value};

/// Returns the value as an object.
pub(crate) fn object(value: Value, field: &str) -> Result<Map<String, Value>, Error> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(wrong_type(field, "an object", &other)),
    }
}

/// Returns the value as an object; null and absent give an empty one.
pub(crate) fn optional_object(
    value: Option<Value>,
    field: &str,
) -> Result<Map<String, Value>, Error> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(value) => object(value, field),
    }
}

/// Returns the value as trimmed text; null, absent and blank give `None`.
pub(crate) fn optional_text(value: Option<Value>, field: &str) -> Result<Option<String>, Error> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
        }
        Some(other) => Err(wrong_type(field, "a string", &other)),
    }
}

/// True unless the value is null, `{}`, `[]` or blank text.
pub(crate) fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(object) => !object.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.trim().is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// True if the object has a value under this key that [`is_set`].
pub(crate) fn has(object: &Map<String, Value>, key: &str) -> bool {
    object.get(key).is_some_and(is_set)
}

/// Removes the value under this key and returns it if it [`is_set`].
pub(crate) fn take_set(object: &mut Map<String, Value>, key: &str) -> Option<Value> {
    object.remove(key).filter(is_set)
}

/// Returns the value as a map of strings. Scalars become text, because the API takes only strings in such maps
/// (databricks-api.md#task-types).
pub(crate) fn text_map(value: Option<Value>, field: &str) -> Result<Map<String, Value>, Error> {
    optional_object(value, field)?
        .into_iter()
        .map(|(key, value)| {
            let text = match value {
                Value::String(text) => text,
                Value::Bool(flag) => flag.to_string(),
                Value::Number(number) => number.to_string(),
                Value::Null => String::new(),
                other => return Err(wrong_type(&format!("{field}.{key}"), "a string", &other)),
            };
            Ok((key, Value::String(text)))
        })
        .collect()
}

/// The error for a field of the wrong type.
pub(crate) fn wrong_type(field: &str, expected: &str, actual: &Value) -> Error {
    Error::invalid_task(format!("`{field}` must be {expected}, but is {}", type_name(actual)))
}

/// Returns the name of the value's type with its article.
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
