//! Parses and validates the body of `POST sql/statements` (databricks-api.md#sql-statements).

use super::parameter_markers::parameter_markers;
use super::{BoundParameters, MAX_TEXT};
use crate::api::error::{ApiError, invalid, reject};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A valid request.
#[derive(Debug, Clone)]
pub(super) struct ExecuteRequest {
    pub(super) statement: String,
    pub(super) warehouse_id: String,
    pub(super) parameters: BoundParameters,
    /// Whether the response waits for the statement to finish.
    pub(super) waits: bool,
    /// Whether the statement is cancelled if it has not finished by then.
    pub(super) cancel_on_timeout: bool,
    /// Whether the disposition is `EXTERNAL_LINKS` instead of `INLINE`.
    pub(super) external_links: bool,
    pub(super) row_limit: Option<usize>,
}

impl ExecuteRequest {
    pub(super) fn parse(body: &Map<String, Value>) -> Result<Self, ApiError> {
        let statement = required(body, "statement")?;
        if statement.len() > MAX_TEXT {
            return reject!("The statement is longer than {MAX_TEXT} bytes.");
        }
        let disposition = one_of(body, "disposition", &["INLINE", "EXTERNAL_LINKS"])?;
        let external_links = disposition == "EXTERNAL_LINKS";
        let format = one_of(body, "format", &["JSON_ARRAY", "ARROW_STREAM", "CSV"])?;
        if format != "JSON_ARRAY" {
            return Err(invalid(if external_links {
                format!("The emulator has no results in format {format}.")
            } else {
                format!("Format {format} needs disposition EXTERNAL_LINKS.")
            }));
        }
        let on_wait_timeout = one_of(body, "on_wait_timeout", &["CONTINUE", "CANCEL"])?;
        for limit in ["row_limit", "byte_limit"] {
            if body.get(limit).is_some_and(|value| value.as_u64().is_none_or(|limit| limit == 0)) {
                return reject!("Field {limit} must be a positive integer.");
            }
        }
        let row_limit = body.get("row_limit").and_then(Value::as_u64);
        Ok(Self {
            statement: statement.to_owned(),
            warehouse_id: required(body, "warehouse_id")?.to_owned(),
            parameters: parameters(body)?,
            waits: waits(body)?,
            cancel_on_timeout: on_wait_timeout == "CANCEL",
            external_links,
            row_limit: row_limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        })
    }

    /// Returns a parameter marker without a parameter.
    pub(super) fn unbound_marker(&self) -> Option<String> {
        parameter_markers(&self.statement)
            .into_iter()
            .find(|name| !self.parameters.contains_key(name))
    }
}

fn required<'a>(body: &'a Map<String, Value>, field: &str) -> Result<&'a str, ApiError> {
    match body.get(field) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text),
        None | Some(Value::Null | Value::String(_)) => {
            reject!("Missing required field: {field}.")
        }
        Some(_) => reject!("Field {field} must be a string."),
    }
}

/// Returns the value of an enum field. The first known value is the default.
fn one_of<'a>(
    body: &Map<String, Value>,
    field: &str,
    known: &[&'a str],
) -> Result<&'a str, ApiError> {
    let value = match body.get(field) {
        None | Some(Value::Null) => known.first().copied(),
        Some(value) => known.iter().copied().find(|known| value.as_str() == Some(known)),
    };
    value.ok_or_else(|| invalid(format!("Field {field} must be one of {}.", known.join(", "))))
}

/// Returns false for `wait_timeout` `0s`. Other valid values are `5s` to `50s`.
fn waits(body: &Map<String, Value>) -> Result<bool, ApiError> {
    let seconds = match body.get("wait_timeout") {
        None | Some(Value::Null) => return Ok(true),
        Some(value) => value.as_str().and_then(|text| text.strip_suffix('s')?.parse::<u32>().ok()),
    };
    match seconds {
        Some(0) => Ok(false),
        Some(5..=50) => Ok(true),
        _ => Err(invalid("Field wait_timeout must be 0s, or from 5s to 50s.")),
    }
}

fn parameters(body: &Map<String, Value>) -> Result<BoundParameters, ApiError> {
    let list = match body.get("parameters") {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(invalid("Field parameters must be a list.")),
    };
    let mut bound = BTreeMap::new();
    for parameter in list {
        let object =
            parameter.as_object().ok_or_else(|| invalid("A parameter must be an object."))?;
        let name = required(object, "name")?;
        let value = match object.get("value") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.as_str()),
            Some(_) => {
                return reject!("The value of parameter {name} must be a string.");
            }
        };
        let kind = match object.get("type") {
            None | Some(Value::Null) => "STRING",
            Some(kind) => kind.as_str().unwrap_or_default(),
        };
        check_cast(name, kind, value)?;
        if bound.insert(name.to_owned(), value.map(ToOwned::to_owned)).is_some() {
            return reject!("Parameter {name} is given twice.");
        }
    }
    Ok(bound)
}

/// Rejects unknown types, and numbers and booleans that cannot be cast to their type.
fn check_cast(name: &str, kind: &str, value: Option<&str>) -> Result<(), ApiError> {
    let upper = kind.to_ascii_uppercase();
    let (base, _) = upper.split_once('(').unwrap_or((&upper, ""));
    let is_valid = |value: &str| match base.trim() {
        "STRING" | "VARCHAR" | "CHAR" | "BINARY" | "VOID" => Some(true),
        "DATE" | "TIMESTAMP" | "TIMESTAMP_NTZ" | "INTERVAL" => Some(!value.trim().is_empty()),
        "BIGINT" | "LONG" => Some(value.trim().parse::<i64>().is_ok()),
        "INT" | "INTEGER" => Some(value.trim().parse::<i32>().is_ok()),
        "SMALLINT" | "SHORT" => Some(value.trim().parse::<i16>().is_ok()),
        "TINYINT" | "BYTE" => Some(value.trim().parse::<i8>().is_ok()),
        "DOUBLE" | "FLOAT" | "REAL" | "DECIMAL" | "DEC" | "NUMERIC" => {
            Some(value.trim().parse::<f64>().is_ok())
        }
        "BOOLEAN" => Some(["true", "false"].contains(&value.trim().to_ascii_lowercase().as_str())),
        _ => None,
    };
    match is_valid(value.unwrap_or("0")) {
        None => reject!("The type {kind} of parameter {name} is unknown."),
        Some(false) if value.is_some() => {
            reject!("The value of parameter {name} cannot be cast to {kind}.")
        }
        Some(_) => Ok(()),
    }
}
