//! Converts between Flyte's literals and JSON or text, by the types that a task's interface declares. Pure.
//!
//! Literals are the values of inputs and outputs. A connector passes inputs on with [`to_json`] or [`to_text`], and fills
//! the declared outputs of a task from the result of its work with [`outputs_from_text`] or [`outputs_from_json`].
//!
//! ```
//! use connector_core::{
//!     flyteidl2::core::{LiteralType, SimpleType, Variable, VariableEntry, VariableMap, literal_type},
//!     literal::{self, ValueType},
//! };
//!
//! let integer = literal_type::Type::Simple(SimpleType::Integer.into());
//! let declared_type = LiteralType { r#type: Some(integer), ..LiteralType::default() };
//! let variable = Variable { r#type: Some(declared_type), ..Variable::default() };
//! let interface =
//!     VariableMap { variables: vec![VariableEntry { key: "rows".to_owned(), value: Some(variable) }] };
//!
//! let declared = literal::declared(&interface);
//! assert_eq!(declared["rows"], ValueType::Integer);
//! let outputs = literal::outputs_from_text(&declared, "385")?;
//! assert_eq!(outputs.literals[0].name, "rows");
//! assert_eq!(literal::to_json(outputs.literals[0].value.as_ref().unwrap()), Some(385.into()));
//! # Ok::<(), literal::OutputsError>(())
//! ```

use std::collections::BTreeMap;

use flyteidl2::{
    core::{
        Literal, LiteralType, Primitive, Scalar, SimpleType, VariableMap, literal, literal_type,
        primitive, scalar,
    },
    task::{NamedLiteral, Outputs},
};
use prost::Message as _;
use prost_types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::value;

/// The largest outputs that a connector may send to Flyte, in bytes. Flyte rejects messages over 4 MiB, and a response
/// holds more than outputs (flyte-contract.md#connection).
pub const MAX_OUTPUTS_BYTES: usize = 3 * 1024 * 1024;

/// A declared type, reduced to those that a literal can be made of from JSON or text. Its JSON form is lower case, for
/// resource meta; an unknown one is read as [`Other`](Self::Other).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ValueType {
    /// A string.
    String,
    /// A 64-bit integer.
    Integer,
    /// A 64-bit float.
    Float,
    /// A boolean.
    Boolean,
    /// A JSON object.
    Struct,
    /// Any other type; no literal can be made of it.
    #[serde(other)]
    Other,
}

impl From<&LiteralType> for ValueType {
    fn from(declared: &LiteralType) -> Self {
        let Some(literal_type::Type::Simple(simple)) = declared.r#type else { return Self::Other };
        match SimpleType::try_from(simple) {
            Ok(SimpleType::String) => Self::String,
            Ok(SimpleType::Integer) => Self::Integer,
            Ok(SimpleType::Float) => Self::Float,
            Ok(SimpleType::Boolean) => Self::Boolean,
            Ok(SimpleType::Struct) => Self::Struct,
            _ => Self::Other,
        }
    }
}

/// Returns the declared types by name, of the inputs or of the outputs of an interface.
pub fn declared(variables: &VariableMap) -> BTreeMap<String, ValueType> {
    let declared = variables.variables.iter().map(|entry| {
        let declared = entry.value.as_ref().and_then(|variable| variable.r#type.as_ref());
        (entry.key.clone(), declared.map_or(ValueType::Other, ValueType::from))
    });
    declared.collect()
}

/// A result does not fit the declared outputs. The message names the output and omits the value, which may be large or
/// secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutputsError {
    /// Several outputs are declared, and the result is not a JSON object with a value per name.
    #[error("the task declares several outputs, but the result is not a JSON object")]
    NotAnObject,
    /// The output of this name has no value.
    #[error("the result has no value for the output `{0}`")]
    Missing(String),
    /// The value for the output of this name has another type than declared.
    #[error("the value for the output `{0}` has the wrong type")]
    WrongType(String),
    /// The outputs have this size in bytes, which exceeds [`MAX_OUTPUTS_BYTES`].
    #[error(
        "the result has {0} bytes; the limit is {MAX_OUTPUTS_BYTES}. Write it to storage and return its URL"
    )]
    TooLarge(usize),
}

/// Converts a result in text to the declared outputs: the value of a single output (see [`from_text`]), or a JSON object
/// with a value per name if there are several. Further values in the object are ignored.
///
/// # Errors
///
/// [`OutputsError`].
pub fn outputs_from_text(
    declared: &BTreeMap<String, ValueType>,
    text: &str,
) -> Result<Outputs, OutputsError> {
    if let (1, Some((name, declared))) = (declared.len(), declared.first_key_value()) {
        let literal = from_text(*declared, text);
        let literal = literal.ok_or_else(|| OutputsError::WrongType(name.clone()))?;
        return outputs([(name.clone(), literal)]);
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(values)) => outputs_from_json(declared, &values),
        _ => Err(OutputsError::NotAnObject),
    }
}

/// Converts a result with a value per name to the declared outputs. Further values are ignored.
///
/// # Errors
///
/// [`OutputsError`].
pub fn outputs_from_json(
    declared: &BTreeMap<String, ValueType>,
    values: &Map<String, Value>,
) -> Result<Outputs, OutputsError> {
    let literals = declared.iter().map(|(name, declared)| {
        let value = values.get(name).ok_or_else(|| OutputsError::Missing(name.clone()))?;
        let literal = from_json(*declared, value);
        Ok((name.clone(), literal.ok_or_else(|| OutputsError::WrongType(name.clone()))?))
    });
    outputs(literals.collect::<Result<Vec<_>, _>>()?)
}

/// Assembles outputs from literals by name.
///
/// # Errors
///
/// [`OutputsError::TooLarge`].
pub fn outputs(
    literals: impl IntoIterator<Item = (String, Literal)>,
) -> Result<Outputs, OutputsError> {
    let named = |(name, literal)| NamedLiteral { name, value: Some(literal) };
    let outputs =
        Outputs { literals: literals.into_iter().map(named).collect(), ..Outputs::default() };
    let size = outputs.encoded_len();
    if size > MAX_OUTPUTS_BYTES { Err(OutputsError::TooLarge(size)) } else { Ok(outputs) }
}

/// Converts a JSON value to a literal of the declared type. `None` if it has another type; an integer is also a float.
/// Integers beyond 2^53 inside an object lose precision.
pub fn from_json(declared: ValueType, value: &Value) -> Option<Literal> {
    let value = match (declared, value) {
        (ValueType::String, Value::String(text)) => {
            primitive(primitive::Value::StringValue(text.clone()))
        }
        (ValueType::Integer, value) => primitive(primitive::Value::Integer(value.as_i64()?)),
        (ValueType::Float, value) => primitive(primitive::Value::FloatValue(value.as_f64()?)),
        (ValueType::Boolean, Value::Bool(flag)) => primitive(primitive::Value::Boolean(*flag)),
        (ValueType::Struct, Value::Object(object)) => {
            scalar::Value::Generic(value::struct_from_json(object))
        }
        _ => return None,
    };
    let scalar = Scalar { value: Some(value) };
    Some(Literal { value: Some(literal::Value::Scalar(Box::new(scalar))), ..Literal::default() })
}

fn primitive(value: primitive::Value) -> scalar::Value {
    scalar::Value::Primitive(Primitive { value: Some(value) })
}

/// Converts text to a literal of the declared type. `None` if it does not have the type.
///
/// A string is the text unchanged. Any other type is JSON, with white space around it; `true` and `false` may have any
/// case.
pub fn from_text(declared: ValueType, text: &str) -> Option<Literal> {
    let trimmed = text.trim();
    let value = match declared {
        ValueType::String => Value::from(text),
        ValueType::Boolean => Value::Bool(trimmed.to_ascii_lowercase().parse().ok()?),
        ValueType::Float => {
            // Checks the syntax only: serde_json reads some floats inexactly.
            serde_json::from_str::<Number>(trimmed).ok()?;
            Value::Number(Number::from_f64(trimmed.parse().ok()?)?)
        }
        ValueType::Integer | ValueType::Struct => serde_json::from_str(trimmed).ok()?,
        ValueType::Other => return None,
    };
    from_json(declared, &value)
}

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
