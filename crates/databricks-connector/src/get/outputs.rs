//! What work other than Flyte's runtime returns: the declared outputs, filled from the run's own output. Pure.

mod returned;

use std::collections::BTreeMap;

use connector_core::{CreateContext, Error, value};
use flyteidl2::{
    core::{
        Literal, LiteralType, Primitive, Scalar, SimpleType, TypedInterface, literal, literal_type,
        primitive, scalar,
    },
    task::{NamedLiteral, Outputs},
};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use returned::{Column, Returned, Task, last_task, of_output};

/// How many outputs may be declared: they travel in the resource meta.
const MAX_OUTPUTS: usize = 100;

/// How long their names may be together, in bytes, for the same reason.
const MAX_NAME_BYTES: usize = 10_000;

/// The largest outputs that Flyte is told, in bytes: it refuses answers of 4 MiB, and an answer holds more than outputs
/// (FC §1.2).
const MAX_BYTES: usize = 3 * 1024 * 1024;

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
    let size: usize = declared.keys().map(String::len).sum();
    if size > MAX_NAME_BYTES {
        return Err(Error::invalid_task(format!(
            "the names of the task's outputs have {size} bytes, more than the {MAX_NAME_BYTES} that work without Flyte's \
             runtime may have"
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

/// The declared outputs from what the run returned.
///
/// Text is the value of a single output, and else a JSON object with a value for each name. Of a row each output takes
/// the column of its name, else of its place: Flyte names outputs `o0`, `o1`, … when the function does not. An output
/// that is a JSON object takes all that SQL returned.
///
/// # Errors
///
/// Which output has no value, and why.
pub(crate) fn from_returned(declared: &Declared, returned: &Returned) -> Result<Outputs, String> {
    let literals = match returned {
        Returned::Text(text) => from_text(declared, text)?,
        Returned::Row { columns, whole } => declared
            .iter()
            .map(|(name, kind)| {
                if *kind == OutputType::Struct {
                    named(name, *kind, &Value::Object(whole.clone()))
                } else {
                    let text = in_row(columns, name, declared.len()).ok_or_else(|| {
                        format!("the SQL returned nothing for the output `{name}`")
                    })?;
                    named(name, *kind, &read(text, *kind))
                }
            })
            .collect::<Result<_, _>>()?,
    };
    let outputs = Outputs { literals, ..Outputs::default() };
    let size = outputs.encoded_len();
    if size > MAX_BYTES {
        return Err(format!(
            "what it returned has {size} bytes, more than the {MAX_BYTES} that Flyte can be told; \
             write it to storage and return its address"
        ));
    }
    Ok(outputs)
}

fn from_text(declared: &Declared, text: &str) -> Result<Vec<NamedLiteral>, String> {
    if let (1, Some((name, kind))) = (declared.len(), declared.first_key_value()) {
        return Ok(vec![named(name, *kind, &read(text, *kind))?]);
    }
    let Ok(Value::Object(values)) = serde_json::from_str::<Value>(text) else {
        return Err("the task declares several outputs, but the run did not return a JSON object"
            .to_owned());
    };
    let value = |(name, kind): (&String, &OutputType)| {
        let value = values
            .get(name)
            .ok_or_else(|| format!("the run returned nothing for the output `{name}`"))?;
        named(name, *kind, value)
    };
    declared.iter().map(value).collect()
}

/// The value of the column of this name, else of the place that the name says. A null is none.
fn in_row<'a>(columns: &'a [Column], name: &str, declared: usize) -> Option<&'a str> {
    let place = || match name.strip_prefix('o').map(str::parse) {
        Some(Ok(place)) => Some(place),
        _ if declared == 1 => Some(0),
        _ => None,
    };
    let column = columns.iter().find(|column| column.name == name);
    column.or_else(|| columns.get(place()?))?.value.as_deref()
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

    fn returned(text: &str) -> Returned {
        Returned::Text(text.to_owned())
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
        let outputs = from_returned(&declared(&[("o0", kind)]), &returned(text)).ok()?;
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
                from_returned(&declared(&[("o0", kind)]), &returned(text)).is_err(),
                "{kind:?} {text}"
            );
        }
    }

    #[test]
    fn several_outputs_come_from_a_json_object() {
        let wanted = declared(&[("a", OutputType::Integer), ("b", OutputType::Struct)]);
        let outputs =
            from_returned(&wanted, &returned(r#"{"a": 1, "b": {"c": true}, "more": 0}"#)).unwrap();
        assert_eq!(
            scalars(&outputs).into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert!(from_returned(&wanted, &returned(r#"{"a": 1}"#)).unwrap_err().contains("`b`"));
        assert!(from_returned(&wanted, &returned("7")).unwrap_err().contains("JSON object"));
    }

    fn row(columns: &[(&str, Option<&str>)]) -> Returned {
        let column = |(name, value): &(&str, Option<&str>)| Column {
            name: (*name).to_owned(),
            value: value.map(str::to_owned),
        };
        let whole = serde_json::Map::from_iter([("rows".to_owned(), Value::from(1))]);
        Returned::Row { columns: columns.iter().map(column).collect(), whole }
    }

    #[test]
    fn outputs_take_the_columns_of_their_names_and_else_of_their_places() {
        let row = row(&[("sum(n)", Some("385")), ("o0", Some("by name")), ("c", None)]);
        let primitives = |wanted: &[(&str, OutputType)]| {
            let outputs = from_returned(&declared(wanted), &row)?;
            let value = |(_, value): (String, Option<scalar::Value>)| match value {
                Some(scalar::Value::Primitive(primitive)) => primitive.value,
                _ => None,
            };
            Ok::<_, String>(scalars(&outputs).into_iter().filter_map(value).collect::<Vec<_>>())
        };
        let text = |text: &str| primitive::Value::StringValue(text.to_owned());
        let (s, i) = (OutputType::String, OutputType::Integer);
        assert_eq!(primitives(&[("total", i)]), Ok(vec![primitive::Value::Integer(385)]));
        assert_eq!(primitives(&[("o0", s), ("sum(n)", s)]), Ok(vec![text("by name"), text("385")]));
        assert_eq!(primitives(&[("o1", s)]), Ok(vec![text("by name")]));
        for (wanted, name) in
            [("c", "`c`"), ("o2", "`o2`"), ("o3", "`o3`"), ("o99999999999999999999", "`o9")]
        {
            let wanted = [(wanted, s), ("o1", s)];
            assert!(primitives(&wanted).unwrap_err().contains(name), "{wanted:?}");
        }
        assert!(primitives(&[("o1", i)]).unwrap_err().contains("not of its type"));
    }

    #[test]
    fn a_json_object_takes_all_that_sql_returned() {
        let outputs =
            from_returned(&declared(&[("o0", OutputType::Struct)]), &row(&[("n", Some("1"))]))
                .unwrap();
        let Some(scalar::Value::Generic(whole)) = scalars(&outputs).remove(0).1 else {
            panic!("not an object")
        };
        assert!(whole.fields.contains_key("rows"));
    }

    #[test]
    fn more_than_an_answer_to_flyte_can_hold_is_refused_with_the_figure() {
        let told = from_returned(
            &declared(&[("o0", OutputType::String)]),
            &returned(&"x".repeat(MAX_BYTES)),
        )
        .unwrap_err();
        assert!(told.contains("more than the 3145728"), "{told}");
    }

    #[test]
    fn what_is_declared_is_bounded_because_it_travels_with_every_call() {
        use flyteidl2::core::{Variable, VariableEntry, VariableMap};
        let told = |names: &[String]| {
            let entry =
                |key: &String| VariableEntry { key: key.clone(), value: Some(Variable::default()) };
            let variables = names.iter().map(entry).collect();
            let mut cx = crate::fixtures::create_context("40_executor_first_attempt");
            cx.template.interface = Some(TypedInterface {
                outputs: Some(VariableMap { variables }),
                ..TypedInterface::default()
            });
            super::declared(&cx).map(|declared| declared.len()).map_err(|error| error.to_string())
        };
        let names = |count: usize| (0..count).map(|n| format!("o{n}")).collect::<Vec<_>>();
        assert_eq!(told(&names(100)), Ok(100));
        assert!(told(&names(101)).unwrap_err().contains("declares 101 outputs"));
        assert!(told(&["x".repeat(10_001)]).unwrap_err().contains("have 10001 bytes"));
    }

    #[test]
    fn an_unknown_type_in_stored_meta_is_read() {
        let stored: Declared =
            serde_json::from_str(r#"{"a": "integer", "b": "hologram"}"#).unwrap();
        assert_eq!(stored, declared(&[("a", OutputType::Integer), ("b", OutputType::Other)]));
    }
}
