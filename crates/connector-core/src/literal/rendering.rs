//! Literals to JSON and to text.

use flyteidl2::core::{Literal, literal, primitive, scalar};
use prost_types::Timestamp;
use serde_json::{Map, Number, Value};

use crate::value;

/// Converts a literal to JSON. `None` for what JSON or the literal cannot express: floats that are not finite, durations,
/// binary values, and literals without a value.
///
/// A time is text as in [`to_text`], a file or folder its URL, a missing value of an optional type null. Lists, maps,
/// objects and the values of unions are converted by their content.
pub fn to_json(literal: &Literal) -> Option<Value> {
    match literal.value.as_ref()? {
        literal::Value::Scalar(scalar) => match scalar.value.as_ref()? {
            scalar::Value::Primitive(primitive) => match primitive.value.as_ref()? {
                primitive::Value::Integer(number) => Some(Value::from(*number)),
                primitive::Value::FloatValue(number) => {
                    Number::from_f64(*number).map(Value::Number)
                }
                primitive::Value::Boolean(flag) => Some(Value::Bool(*flag)),
                other => text_of_primitive(other).map(Value::String),
            },
            scalar::Value::Generic(object) => {
                value::json_from_struct(object).ok().map(Value::Object)
            }
            scalar::Value::Union(union) => to_json(union.value.as_ref()?),
            scalar::Value::NoneType(_) => Some(Value::Null),
            scalar::Value::StructuredDataset(dataset) => Some(Value::from(dataset.uri.as_str())),
            other => url_of(other).map(Value::from),
        },
        literal::Value::Collection(list) => list.literals.iter().map(to_json).collect(),
        literal::Value::Map(map) => {
            let entry = |(key, value): (&String, &Literal)| Some((key.clone(), to_json(value)?));
            map.literals.iter().map(entry).collect::<Option<Map<_, _>>>().map(Value::Object)
        }
        literal::Value::OffloadedMetadata(_) => None,
    }
}

/// Converts a literal to the text that Flyte writes for it into the arguments of containers: numbers, strings, booleans,
/// times, the URLs of files and folders, and lists of these.
///
/// `None` for any other literal. Durations have no text, because it differs between releases of Flyte.
pub fn to_text(literal: &Literal) -> Option<String> {
    match literal.value.as_ref()? {
        literal::Value::Scalar(scalar) => match scalar.value.as_ref()? {
            scalar::Value::Primitive(primitive) => text_of_primitive(primitive.value.as_ref()?),
            other => url_of(other).map(str::to_owned),
        },
        literal::Value::Collection(collection) => {
            let texts: Option<Vec<String>> = collection.literals.iter().map(to_text).collect();
            Some(format!("[{}]", texts?.join(",")))
        }
        _ => None,
    }
}

fn url_of(scalar: &scalar::Value) -> Option<&str> {
    match scalar {
        scalar::Value::Blob(blob) => Some(&blob.uri),
        scalar::Value::Schema(schema) => Some(&schema.uri),
        _ => None,
    }
}

fn text_of_primitive(primitive: &primitive::Value) -> Option<String> {
    match primitive {
        primitive::Value::Integer(number) => Some(number.to_string()),
        primitive::Value::FloatValue(number) => Some(text_of_float(*number)),
        primitive::Value::StringValue(text) => Some(text.clone()),
        primitive::Value::Boolean(flag) => Some(flag.to_string()),
        primitive::Value::Datetime(time) => Some(text_of_time(time)),
        primitive::Value::Duration(_) => None,
    }
}

/// Formats a float as Go does: the shortest digits that identify it, with an exponent of at least two digits when the
/// exponent is below -4 or above 20.
fn text_of_float(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..21).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => number.to_string(),
    }
}

/// Formats a time as RFC 3339 in UTC without trailing zeros.
fn text_of_time(time: &Timestamp) -> String {
    let text = time.to_string();
    match text.strip_suffix('Z') {
        Some(text) if text.contains('.') => {
            format!("{}Z", text.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}
