//! Checks that required fields are present and that every field has its JSON type.

use super::present;
use crate::api::error::{ApiError, invalid, reject};
use crate::jobs::validation::schema::{FieldType, Fields, contains, each};
use serde_json::{Map, Value};

/// Checks the fields of the object at this path, and collects unknown keys in `ignored`.
pub(super) fn check_object(
    fields: Fields,
    object: &Map<String, Value>,
    path: &str,
    ignored: &mut Vec<String>,
) -> Result<(), ApiError> {
    for field in each(fields) {
        let path = join(path, field.name);
        match present(object, field.name) {
            Some(value) => check(field.kind, value, &path, ignored)?,
            None if field.required => return Err(missing(&path, field.kind)),
            None => {}
        }
    }
    let unknown = object.keys().filter(|key| !contains(fields, key));
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
        (FieldType::Int, Value::Number(number)) => reject!(
            "Field {path} must be a 64-bit integer without a decimal point or exponent, found {number}."
        ),
        (FieldType::OneOf(known), Value::String(text))
            if known.split(' ').any(|one| one == text) =>
        {
            Ok(())
        }
        (FieldType::OneOf(known), Value::String(_)) => {
            let known = known.replace(' ', ", ");
            reject!("Field {path} has an unknown value. Valid values are: {known}.")
        }
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
        (FieldType::ListUpTo(limit, _), Value::Array(list)) => {
            reject!("Field {path} has {} elements; at most {limit} are allowed.", list.len())
        }
        (field_type, value) => {
            reject!("Field {path} must be {}, found {}.", expected(field_type), found(value))
        }
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
    let hint = match field_type {
        FieldType::OneOf(known) => format!(" Valid values are: {}.", known.replace(' ', ", ")),
        _ => String::new(),
    };
    invalid(format!("Missing required field: {path}.{hint}"))
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
