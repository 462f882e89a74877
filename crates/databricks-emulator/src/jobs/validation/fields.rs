//! Checks that required fields are present and that every field has its JSON type.

use super::present;
use crate::api::error::{ApiError, invalid};
use crate::jobs::validation::schema::{Field, FieldType};
use serde_json::{Map, Value};

/// Checks the fields of the object at this path, and collects unknown keys in `ignored`.
pub(super) fn check_object(
    fields: &[Field],
    object: &Map<String, Value>,
    path: &str,
    ignored: &mut Vec<String>,
) -> Result<(), ApiError> {
    for field in fields {
        let path = join(path, field.name);
        match present(object, field.name) {
            Some(value) => check(field.kind, value, &path, ignored)?,
            None if field.required => return Err(missing(&path, field.kind)),
            None => {}
        }
    }
    let unknown = object.keys().filter(|key| fields.iter().all(|field| field.name != *key));
    ignored.extend(unknown.map(|key| join(path, key)));
    Ok(())
}

fn check(
    field_type: FieldType,
    value: &Value,
    path: &str,
    ignored: &mut Vec<String>,
) -> Result<(), ApiError> {
    match (field_type, value) {
        (FieldType::Open, Value::Object(_))
        | (FieldType::Text, Value::String(_))
        | (FieldType::Bool, Value::Bool(_)) => Ok(()),
        (FieldType::Int, Value::Number(number)) if number.is_i64() => Ok(()),
        (FieldType::Int, Value::Number(number)) => Err(invalid(format!(
            "Field {path} must be a 64-bit integer without a decimal point or exponent, found {number}."
        ))),
        (FieldType::OneOf(values), Value::String(text)) if values.contains(&text.as_str()) => {
            Ok(())
        }
        (FieldType::OneOf(values), Value::String(_)) => Err(not_one_of(path, values)),
        (FieldType::Object(fields), Value::Object(object)) => {
            check_object(fields, object, path, ignored)
        }
        (FieldType::TextMap, Value::Object(map)) => map
            .iter()
            .try_for_each(|(key, value)| check(FieldType::Text, value, &join(path, key), ignored)),
        (FieldType::List(element), Value::Array(list)) => check_list(*element, list, path, ignored),
        (FieldType::ListUpTo(limit, element), Value::Array(list)) if list.len() <= limit => {
            check_list(*element, list, path, ignored)
        }
        (FieldType::ListUpTo(limit, _), Value::Array(list)) => Err(invalid(format!(
            "Field {path} has {} elements; at most {limit} are allowed.",
            list.len()
        ))),
        (field_type, value) => Err(invalid(format!(
            "Field {path} must be {}, found {}.",
            expected(field_type),
            found(value)
        ))),
    }
}

fn check_list(
    field_type: FieldType,
    list: &[Value],
    path: &str,
    ignored: &mut Vec<String>,
) -> Result<(), ApiError> {
    let mut elements = list.iter().enumerate();
    elements.try_for_each(|(index, value)| {
        check(field_type, value, &format!("{path}[{index}]"), ignored)
    })
}

/// Returns the path of a key in the object at `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn missing(path: &str, field_type: FieldType) -> ApiError {
    match field_type {
        FieldType::OneOf(values) => invalid(format!(
            "Missing required field: {path}. Valid values are: {}.",
            values.join(", ")
        )),
        _ => invalid(format!("Missing required field: {path}.")),
    }
}

fn not_one_of(path: &str, values: &[&str]) -> ApiError {
    invalid(format!("Field {path} has an unknown value. Valid values are: {}.", values.join(", ")))
}

fn expected(field_type: FieldType) -> &'static str {
    match field_type {
        FieldType::Open | FieldType::Object(_) => "an object",
        FieldType::Text | FieldType::OneOf(_) => "a string",
        FieldType::Bool => "a boolean",
        FieldType::Int => "a 64-bit integer",
        FieldType::TextMap => "an object of strings",
        FieldType::List(_) | FieldType::ListUpTo(..) => "an array",
    }
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
