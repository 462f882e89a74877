//! Each field by itself: is it there, and has it its JSON type.

use super::present;
use crate::refusal::{Refusal, invalid};
use crate::schema::{Field, Shape};
use serde_json::{Map, Value};

/// Checks every described field of the object at this path. Keys that are not described are collected.
pub(super) fn check_object(
    fields: &[Field],
    object: &Map<String, Value>,
    path: &str,
    ignored: &mut Vec<String>,
) -> Result<(), Refusal> {
    for field in fields {
        let path = join(path, field.name);
        match present(object, field.name) {
            Some(value) => check(field.shape, value, &path, ignored)?,
            None if field.required => return Err(missing(&path, field.shape)),
            None => {}
        }
    }
    let unknown = object.keys().filter(|key| fields.iter().all(|field| field.name != *key));
    ignored.extend(unknown.map(|key| join(path, key)));
    Ok(())
}

fn check(
    shape: Shape,
    value: &Value,
    path: &str,
    ignored: &mut Vec<String>,
) -> Result<(), Refusal> {
    match (shape, value) {
        (Shape::Open, Value::Object(_))
        | (Shape::Text, Value::String(_))
        | (Shape::Bool, Value::Bool(_)) => Ok(()),
        (Shape::Int, Value::Number(number)) if number.is_i64() => Ok(()),
        (Shape::Int, Value::Number(number)) => Err(invalid(format!(
            "Field {path} must be a 64-bit integer without a decimal point or exponent, found {number}."
        ))),
        (Shape::OneOf(values), Value::String(text)) if values.contains(&text.as_str()) => Ok(()),
        (Shape::OneOf(values), Value::String(_)) => Err(not_one_of(path, values)),
        (Shape::Object(fields), Value::Object(object)) => {
            check_object(fields, object, path, ignored)
        }
        (Shape::TextMap, Value::Object(map)) => map
            .iter()
            .try_for_each(|(key, value)| check(Shape::Text, value, &join(path, key), ignored)),
        (Shape::List(element), Value::Array(list)) => check_list(*element, list, path, ignored),
        (Shape::ListUpTo(limit, element), Value::Array(list)) if list.len() <= limit => {
            check_list(*element, list, path, ignored)
        }
        (Shape::ListUpTo(limit, _), Value::Array(list)) => Err(invalid(format!(
            "Field {path} has {} elements; at most {limit} are allowed.",
            list.len()
        ))),
        (shape, value) => {
            Err(invalid(format!("Field {path} must be {}, found {}.", wanted(shape), found(value))))
        }
    }
}

fn check_list(
    shape: Shape,
    list: &[Value],
    path: &str,
    ignored: &mut Vec<String>,
) -> Result<(), Refusal> {
    let mut elements = list.iter().enumerate();
    elements
        .try_for_each(|(index, value)| check(shape, value, &format!("{path}[{index}]"), ignored))
}

/// The path of a key inside the object at a path.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn missing(path: &str, shape: Shape) -> Refusal {
    match shape {
        Shape::OneOf(values) => invalid(format!(
            "Missing required field: {path}. Valid values are: {}.",
            values.join(", ")
        )),
        _ => invalid(format!("Missing required field: {path}.")),
    }
}

fn not_one_of(path: &str, values: &[&str]) -> Refusal {
    invalid(format!("Field {path} has an unknown value. Valid values are: {}.", values.join(", ")))
}

fn wanted(shape: Shape) -> &'static str {
    match shape {
        Shape::Open | Shape::Object(_) => "an object",
        Shape::Text | Shape::OneOf(_) => "a string",
        Shape::Bool => "a boolean",
        Shape::Int => "a 64-bit integer",
        Shape::TextMap => "an object of strings",
        Shape::List(_) | Shape::ListUpTo(..) => "an array",
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
