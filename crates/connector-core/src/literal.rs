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

mod json_text;
mod msgpack;
mod rendering;

pub use rendering::{to_json, to_text};

use std::collections::BTreeMap;

use flyteidl2::{
    core::{
        Binary, Literal, LiteralCollection, LiteralMap, LiteralType, Primitive, Scalar, SimpleType,
        TypeStructure, Union, UnionType, VariableMap, Void, literal, literal_type, primitive,
        scalar,
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

/// The smallest number of bytes that one value takes in outputs.
const MIN_VALUE_BYTES: usize = 2;

/// From here on, several integers have the same double.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;

/// A declared type, reduced to those that a literal can be made of from JSON or text. Its JSON form is text such as
/// `integer` or `list<optional<string>>`, for resource meta; an unknown one is read as [`Other`](Self::Other).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
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
    /// A time. A date is midnight, and a time without a zone is one of UTC.
    Datetime,
    /// A JSON object.
    Struct,
    /// A list of values of this type.
    List(Box<Self>),
    /// Values of this type by name.
    Map(Box<Self>),
    /// A value of this type, or none.
    Optional(Box<Self>),
    /// Any other type; no literal can be made of it.
    Other,
}

/// The deepest nesting of a declared type that is read.
const MAX_DEPTH: usize = 10;

impl From<&LiteralType> for ValueType {
    fn from(declared: &LiteralType) -> Self {
        Self::from_declared(declared, MAX_DEPTH)
    }
}

impl ValueType {
    fn from_declared(declared: &LiteralType, depth: usize) -> Self {
        let Some(depth) = depth.checked_sub(1) else { return Self::Other };
        let of = |inner: &LiteralType, wrap: fn(Box<Self>) -> Self| match Self::from_declared(
            inner, depth,
        ) {
            Self::Other => Self::Other,
            inner => wrap(Box::new(inner)),
        };
        match &declared.r#type {
            Some(literal_type::Type::Simple(simple)) => match SimpleType::try_from(*simple) {
                Ok(SimpleType::String) => Self::String,
                Ok(SimpleType::Integer) => Self::Integer,
                Ok(SimpleType::Float) => Self::Float,
                Ok(SimpleType::Boolean) => Self::Boolean,
                Ok(SimpleType::Datetime) => Self::Datetime,
                Ok(SimpleType::Struct) => Self::Struct,
                _ => Self::Other,
            },
            Some(literal_type::Type::CollectionType(inner)) => of(inner, Self::List),
            Some(literal_type::Type::MapValueType(inner)) => of(inner, Self::Map),
            Some(literal_type::Type::UnionType(union)) => match union.variants.as_slice() {
                [inner, none] | [none, inner] if is_none(none) && !is_none(inner) => {
                    match of(inner, Self::Optional) {
                        // Flyte finds the variant of a literal by the name of its transformer.
                        Self::Optional(known)
                            if tag_of(inner).is_none() || known.tag() == tag_of(inner) =>
                        {
                            Self::Optional(known)
                        }
                        _ => Self::Other,
                    }
                }
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }

    /// Returns the name of Flyte's transformer of the type. `None` if it has several.
    fn tag(&self) -> Option<&'static str> {
        Some(match self {
            Self::String => "str",
            Self::Integer => "int",
            Self::Float => "float",
            Self::Boolean => "bool",
            Self::Datetime => "datetime",
            Self::List(_) => "Typed List",
            Self::Map(_) => "Typed Dict",
            Self::Struct | Self::Optional(_) | Self::Other => return None,
        })
    }

    /// Returns the type of a literal as Flyte declares it.
    fn declared(&self) -> LiteralType {
        let simple = |simple: SimpleType| literal_type::Type::Simple(simple.into());
        let declared = match self {
            Self::String => simple(SimpleType::String),
            Self::Integer => simple(SimpleType::Integer),
            Self::Float => simple(SimpleType::Float),
            Self::Boolean => simple(SimpleType::Boolean),
            Self::Datetime => simple(SimpleType::Datetime),
            Self::Struct => simple(SimpleType::Struct),
            Self::List(inner) => literal_type::Type::CollectionType(Box::new(inner.declared())),
            Self::Map(inner) => literal_type::Type::MapValueType(Box::new(inner.declared())),
            Self::Optional(inner) => {
                let variants = vec![with_tag(inner.declared(), inner.tag()), none_type()];
                literal_type::Type::UnionType(UnionType { variants })
            }
            Self::Other => simple(SimpleType::None),
        };
        LiteralType { r#type: Some(declared), ..LiteralType::default() }
    }

    /// Whether a value of this type may be missing.
    pub fn is_optional(&self) -> bool {
        matches!(self, Self::Optional(_))
    }
}

fn is_none(declared: &LiteralType) -> bool {
    matches!(declared.r#type, Some(literal_type::Type::Simple(simple)) if simple == i32::from(SimpleType::None))
}

fn tag_of(declared: &LiteralType) -> Option<&str> {
    declared.structure.as_ref().map(|structure| structure.tag.as_str())
}

fn with_tag(declared: LiteralType, tag: Option<&str>) -> LiteralType {
    let structure =
        tag.map(|tag| TypeStructure { tag: tag.to_owned(), ..TypeStructure::default() });
    LiteralType { structure, ..declared }
}

fn none_type() -> LiteralType {
    with_tag(ValueType::Other.declared(), Some("none"))
}

impl From<ValueType> for String {
    fn from(declared: ValueType) -> Self {
        match declared {
            ValueType::String => "string".to_owned(),
            ValueType::Integer => "integer".to_owned(),
            ValueType::Float => "float".to_owned(),
            ValueType::Boolean => "boolean".to_owned(),
            ValueType::Datetime => "datetime".to_owned(),
            ValueType::Struct => "struct".to_owned(),
            ValueType::List(inner) => format!("list<{}>", Self::from(*inner)),
            ValueType::Map(inner) => format!("map<{}>", Self::from(*inner)),
            ValueType::Optional(inner) => format!("optional<{}>", Self::from(*inner)),
            ValueType::Other => "other".to_owned(),
        }
    }
}

impl From<String> for ValueType {
    fn from(text: String) -> Self {
        fn parse(text: &str, depth: usize) -> Option<ValueType> {
            let depth = depth.checked_sub(1)?;
            let inner = |start: &str| text.strip_prefix(start)?.strip_suffix('>');
            if let Some(text) = inner("list<") {
                return Some(ValueType::List(Box::new(parse(text, depth)?)));
            }
            if let Some(text) = inner("map<") {
                return Some(ValueType::Map(Box::new(parse(text, depth)?)));
            }
            if let Some(text) = inner("optional<") {
                return Some(ValueType::Optional(Box::new(parse(text, depth)?)));
            }
            Some(match text {
                "string" => ValueType::String,
                "integer" => ValueType::Integer,
                "float" => ValueType::Float,
                "boolean" => ValueType::Boolean,
                "datetime" => ValueType::Datetime,
                "struct" => ValueType::Struct,
                _ => return None,
            })
        }
        parse(&text, MAX_DEPTH).unwrap_or(Self::Other)
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
    /// The JSON for the outputs has more values than fit into their largest size.
    #[error(
        "the result has more values than fit into {MAX_OUTPUTS_BYTES} bytes. Write it to storage and return its URL"
    )]
    TooManyValues,
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
    if json_text::values(text) > MAX_OUTPUTS_BYTES / MIN_VALUE_BYTES
        && !declared.values().all(|declared| *declared == ValueType::String)
    {
        return Err(OutputsError::TooManyValues);
    }
    if let (1, Some((name, declared))) = (declared.len(), declared.first_key_value()) {
        let literal = from_text(declared, text);
        let literal = literal.ok_or_else(|| OutputsError::WrongType(name.clone()))?;
        return outputs([(name.clone(), literal)]);
    }
    match json_text::parse(text) {
        Some(Value::Object(values)) => outputs_from_json(declared, &values),
        _ => Err(OutputsError::NotAnObject),
    }
}

/// Converts a result with a value per name to the declared outputs. Further values are ignored, and an optional one may be
/// missing.
///
/// # Errors
///
/// [`OutputsError`].
pub fn outputs_from_json(
    declared: &BTreeMap<String, ValueType>,
    values: &Map<String, Value>,
) -> Result<Outputs, OutputsError> {
    let literals = declared.iter().map(|(name, declared)| {
        let value = match values.get(name) {
            Some(value) => value,
            None if declared.is_optional() => &Value::Null,
            None => return Err(OutputsError::Missing(name.clone())),
        };
        let literal = from_json(declared, value);
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

/// Converts a JSON value to a literal of the declared type. `None` if it has another type.
///
/// An integer is also a float, and a string may contain the text of any type: see [`from_text`]. An object with numbers
/// that a `Struct` cannot hold exactly, or at all, becomes `MessagePack`, as Flyte's SDK writes objects.
pub fn from_json(declared: &ValueType, value: &Value) -> Option<Literal> {
    let scalar = match (declared, value) {
        (ValueType::Optional(_), Value::Null) => optional(None, &none_type()),
        (ValueType::Optional(inner), value) => {
            let declared = with_tag(inner.declared(), inner.tag());
            optional(Some(from_json(inner, value)?), &declared)
        }
        (declared, Value::String(text)) if json_text::non_finite(text).is_some() => {
            let number = json_text::non_finite(text).filter(|_| *declared == ValueType::Float)?;
            primitive(primitive::Value::FloatValue(number))
        }
        (ValueType::String, Value::String(text)) => {
            primitive(primitive::Value::StringValue(text.clone()))
        }
        (ValueType::Integer, Value::Number(number)) => {
            primitive(primitive::Value::Integer(exact_integer(number)?))
        }
        (ValueType::Float, Value::Number(number)) => {
            primitive(primitive::Value::FloatValue(number.as_f64()?))
        }
        (ValueType::Boolean, Value::Bool(flag)) => primitive(primitive::Value::Boolean(*flag)),
        (ValueType::Struct, Value::Object(object)) => object_scalar(object),
        (ValueType::List(inner), Value::Array(values)) => {
            let literals = values.iter().map(|value| from_json(inner, value));
            let literals = literals.collect::<Option<Vec<_>>>()?;
            return Some(literal(literal::Value::Collection(LiteralCollection { literals })));
        }
        (ValueType::Map(inner), Value::Object(values)) => {
            let literals = values.iter().map(|(key, value)| {
                let literal = from_json(inner, value)?;
                Some((key.clone(), literal))
            });
            let literals = literals.collect::<Option<_>>()?;
            return Some(literal(literal::Value::Map(LiteralMap { literals })));
        }
        (_, Value::String(text)) => return from_text(declared, text),
        _ => return None,
    };
    Some(literal(literal::Value::Scalar(Box::new(Scalar { value: Some(scalar) }))))
}

fn literal(value: literal::Value) -> Literal {
    Literal { value: Some(value), ..Literal::default() }
}

fn primitive(value: primitive::Value) -> scalar::Value {
    scalar::Value::Primitive(Primitive { value: Some(value) })
}

fn optional(value: Option<Literal>, declared: &LiteralType) -> scalar::Value {
    let value = value.unwrap_or_else(|| {
        let none = Scalar { value: Some(scalar::Value::NoneType(Void {})) };
        literal(literal::Value::Scalar(Box::new(none)))
    });
    let union = Union { value: Some(Box::new(value)), r#type: Some(declared.clone()) };
    scalar::Value::Union(Box::new(union))
}

/// Returns an integral number exactly. `None` for a fraction, and for a double that several integers round to.
fn exact_integer(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let double = number.as_f64().filter(|double| double.fract() == 0.0)?;
        #[expect(clippy::cast_possible_truncation, reason = "integral and below 2^53")]
        (double.abs() < EXACT_INTEGERS).then_some(double as i64)
    })
}

fn object_scalar(object: &Map<String, Value>) -> scalar::Value {
    if object.values().all(fits_struct) {
        return scalar::Value::Generic(value::struct_from_json(object));
    }
    let value = msgpack::encode(&Value::Object(object.clone()));
    scalar::Value::Binary(Binary { value, tag: "msgpack".to_owned() })
}

/// True if a `Struct`, whose numbers are finite doubles, holds the value exactly.
fn fits_struct(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.is_f64() || number.as_i64().is_some_and(|n| n.unsigned_abs() <= 1 << 53)
        }
        Value::String(text) => json_text::non_finite(text).is_none(),
        Value::Array(values) => values.iter().all(fits_struct),
        Value::Object(values) => values.values().all(fits_struct),
        Value::Null | Value::Bool(_) => true,
    }
}

/// Converts text to a literal of the declared type. `None` if it does not have the type.
///
/// A string is the text unchanged. Other types may have white space around them: `true` and `false` in any case; integers
/// with a sign and a fraction of zeros; floats as JSON, `NaN`, `Infinity` and `inf` in any case; times as RFC 3339, with or
/// without a zone, and dates; lists, maps and objects as JSON, with `NaN` and `Infinity` as Python writes them. An optional
/// value is none if the text is empty, `null` or `None`; an optional string is the text.
pub fn from_text(declared: &ValueType, text: &str) -> Option<Literal> {
    let trimmed = text.trim();
    let value = match declared {
        ValueType::String => primitive(primitive::Value::StringValue(text.to_owned())),
        ValueType::Boolean => {
            primitive(primitive::Value::Boolean(trimmed.to_ascii_lowercase().parse().ok()?))
        }
        ValueType::Integer => primitive(primitive::Value::Integer(integer(trimmed)?)),
        ValueType::Float => primitive(primitive::Value::FloatValue(float(trimmed)?)),
        ValueType::Datetime => primitive(primitive::Value::Datetime(time(trimmed)?)),
        ValueType::Optional(inner) if **inner != ValueType::String => {
            let value = match trimmed {
                "" | "null" | "None" => Value::Null,
                _ => Value::from(text),
            };
            return from_json(declared, &value);
        }
        ValueType::Optional(_) => return from_json(declared, &Value::from(text)),
        ValueType::Struct | ValueType::List(_) | ValueType::Map(_) => {
            // A string would be converted endlessly.
            let value = json_text::parse(trimmed).filter(|value| !value.is_string())?;
            return from_json(declared, &value);
        }
        ValueType::Other => return None,
    };
    Some(literal(literal::Value::Scalar(Box::new(Scalar { value: Some(value) }))))
}

fn integer(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    fraction.bytes().all(|digit| digit == b'0').then(|| whole.parse().ok())?
}

/// Parses a float. `None` for a finite number that is too large.
fn float(text: &str) -> Option<f64> {
    let is_name = text.to_ascii_lowercase().contains("inf");
    text.parse().ok().filter(|number: &f64| is_name || !number.is_infinite())
}

/// Parses a time or a date.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}
