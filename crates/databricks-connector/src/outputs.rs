//! What work other than Flyte's runtime returns: the declared outputs, filled from the run's own output. Pure.

use std::collections::BTreeMap;

use connector_core::{CreateContext, Error, value};
use flyteidl2::{
    core::{
        Literal, LiteralType, Primitive, Scalar, SimpleType, TypedInterface, literal, literal_type,
        primitive, scalar,
    },
    task::{NamedLiteral, Outputs},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How many outputs may be declared: they travel in the resource meta.
const MAX_OUTPUTS: usize = 100;

/// Declared outputs by name.
pub(crate) type Declared = BTreeMap<String, OutputType>;

/// The types that text can be turned into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OutputType {
    String,
    Integer,
    Float,
    Boolean,
    /// A JSON object.
    Struct,
    /// Any other: nothing can be given for it.
    #[serde(other)]
    Other,
}

/// The outputs that the task declares.
///
/// # Errors
///
/// `InvalidTask` when there are too many.
pub(crate) fn declared(cx: &CreateContext) -> Result<Declared, Error> {
    let declared = cx.template.interface.as_ref().map(declared_of).unwrap_or_default();
    if declared.len() > MAX_OUTPUTS {
        return Err(Error::invalid_task(format!(
            "the task declares {} outputs, more than the {MAX_OUTPUTS} that work without Flyte's runtime may have",
            declared.len()
        )));
    }
    Ok(declared)
}

fn declared_of(interface: &TypedInterface) -> Declared {
    let variables =
        interface.outputs.as_ref().map(|outputs| outputs.variables.as_slice()).unwrap_or_default();
    variables
        .iter()
        .map(|entry| {
            let declared = entry.value.as_ref().and_then(|variable| variable.r#type.as_ref());
            (entry.key.clone(), declared.map_or(OutputType::Other, type_of))
        })
        .collect()
}

fn type_of(declared: &LiteralType) -> OutputType {
    match &declared.r#type {
        Some(literal_type::Type::Simple(simple)) => match SimpleType::try_from(*simple) {
            Ok(SimpleType::String) => OutputType::String,
            Ok(SimpleType::Integer) => OutputType::Integer,
            Ok(SimpleType::Float) => OutputType::Float,
            Ok(SimpleType::Boolean) => OutputType::Boolean,
            Ok(SimpleType::Struct) => OutputType::Struct,
            _ => OutputType::Other,
        },
        _ => OutputType::Other,
    }
}

/// The declared outputs from what the run returned: the text itself for a single output, else a JSON object with a
/// value for each name.
///
/// # Errors
///
/// Which output has no value, and why.
pub(crate) fn from_result(declared: &Declared, result: Option<&str>) -> Result<Outputs, String> {
    let Some(result) = result else {
        let names: Vec<&str> = declared.keys().map(String::as_str).collect();
        return Err(format!("the run returned nothing for the output `{}`", names.join("`, `")));
    };
    let mut literals = Vec::new();
    if let (1, Some((name, kind))) = (declared.len(), declared.first_key_value()) {
        literals.push(named(name, *kind, &read(result, *kind))?);
    } else {
        let Ok(Value::Object(values)) = serde_json::from_str::<Value>(result) else {
            return Err(
                "the task declares several outputs, but the run did not return a JSON object"
                    .to_owned(),
            );
        };
        for (name, kind) in declared {
            let value = values
                .get(name)
                .ok_or_else(|| format!("the run returned nothing for the output `{name}`"))?;
            literals.push(named(name, *kind, value)?);
        }
    }
    Ok(Outputs { literals, ..Outputs::default() })
}

/// Text as the JSON of its type; text that is not stays text.
fn read(text: &str, kind: OutputType) -> Value {
    let as_text = || Value::String(text.to_owned());
    match kind {
        OutputType::String | OutputType::Other => as_text(),
        OutputType::Boolean => {
            text.trim().to_ascii_lowercase().parse().map_or_else(|_invalid| as_text(), Value::Bool)
        }
        OutputType::Integer | OutputType::Float | OutputType::Struct => {
            serde_json::from_str(text.trim()).unwrap_or_else(|_invalid| as_text())
        }
    }
}

fn named(name: &str, kind: OutputType, value: &Value) -> Result<NamedLiteral, String> {
    let primitive = |value| scalar::Value::Primitive(Primitive { value: Some(value) });
    let scalar = match (kind, value) {
        (OutputType::String, Value::String(text)) => {
            Some(primitive(primitive::Value::StringValue(text.clone())))
        }
        (OutputType::Integer, value) => {
            value.as_i64().map(|number| primitive(primitive::Value::Integer(number)))
        }
        (OutputType::Float, value) => {
            value.as_f64().map(|number| primitive(primitive::Value::FloatValue(number)))
        }
        (OutputType::Boolean, Value::Bool(flag)) => {
            Some(primitive(primitive::Value::Boolean(*flag)))
        }
        (OutputType::Struct, Value::Object(object)) => {
            Some(scalar::Value::Generic(value::struct_from_json(object)))
        }
        _ => None,
    };
    // The value itself is not repeated: it may be large, or secret.
    let scalar = scalar.ok_or_else(|| {
        format!("what the run returned for the output `{name}` is not of its type")
    })?;
    Ok(NamedLiteral {
        name: name.to_owned(),
        value: Some(Literal {
            value: Some(literal::Value::Scalar(Box::new(Scalar { value: Some(scalar) }))),
            ..Literal::default()
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(outputs: &[(&str, OutputType)]) -> Declared {
        outputs.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()
    }

    fn scalars(outputs: &Outputs) -> Vec<(String, Option<scalar::Value>)> {
        outputs
            .literals
            .iter()
            .map(|literal| {
                let value = literal.value.clone().and_then(|literal| literal.value);
                let Some(literal::Value::Scalar(scalar)) = value else { panic!("not a scalar") };
                (literal.name.clone(), scalar.value)
            })
            .collect()
    }

    fn one(kind: OutputType, text: &str) -> Option<primitive::Value> {
        let outputs = from_result(&declared(&[("o0", kind)]), Some(text)).ok()?;
        match scalars(&outputs).remove(0).1 {
            Some(scalar::Value::Primitive(primitive)) => primitive.value,
            _ => None,
        }
    }

    #[test]
    fn a_single_output_is_the_text_itself() {
        assert_eq!(
            one(OutputType::String, " 7 "),
            Some(primitive::Value::StringValue(" 7 ".to_owned()))
        );
        assert_eq!(one(OutputType::Integer, " 7\n"), Some(primitive::Value::Integer(7)));
        assert_eq!(
            one(OutputType::Integer, "9007199254740993"),
            Some(primitive::Value::Integer(9_007_199_254_740_993))
        );
        assert_eq!(one(OutputType::Float, "7"), Some(primitive::Value::FloatValue(7.0)));
        assert_eq!(one(OutputType::Boolean, "True"), Some(primitive::Value::Boolean(true)));
        for (kind, text) in [
            (OutputType::Integer, "7.5"),
            (OutputType::Integer, "x"),
            (OutputType::Boolean, "1"),
            (OutputType::Struct, "[]"),
            (OutputType::Other, "x"),
        ] {
            assert!(
                from_result(&declared(&[("o0", kind)]), Some(text)).is_err(),
                "{kind:?} {text}"
            );
        }
    }

    #[test]
    fn several_outputs_come_from_a_json_object() {
        let wanted = declared(&[("a", OutputType::Integer), ("b", OutputType::Struct)]);
        let outputs =
            from_result(&wanted, Some(r#"{"a": 1, "b": {"c": true}, "more": 0}"#)).unwrap();
        assert_eq!(
            scalars(&outputs).into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert!(from_result(&wanted, Some(r#"{"a": 1}"#)).unwrap_err().contains("`b`"));
        assert!(from_result(&wanted, Some("7")).unwrap_err().contains("JSON object"));
        assert!(from_result(&wanted, None).unwrap_err().contains("`a`, `b`"));
    }

    #[test]
    fn an_unknown_type_in_stored_meta_is_read() {
        let stored: Declared =
            serde_json::from_str(r#"{"a": "integer", "b": "hologram"}"#).unwrap();
        assert_eq!(stored, declared(&[("a", OutputType::Integer), ("b", OutputType::Other)]));
    }
}
