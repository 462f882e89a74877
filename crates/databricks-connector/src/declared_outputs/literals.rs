//! Converts the result of a task to the literals of its declared outputs. Pure.

use connector_core::value;
use flyteidl2::{
    core::{Literal, Primitive, Scalar, literal, primitive, scalar},
    task::{NamedLiteral, Outputs},
};
use prost::Message as _;
use serde_json::Value;

use super::{
    DeclaredOutputs, OutputType,
    task_result::{Column, TaskResult},
};

/// The largest outputs sent to Flyte, in bytes. Flyte rejects messages over 4 MiB, and a response holds more than outputs
/// (flyte-contract.md#connection).
const MAX_BYTES: usize = 3 * 1024 * 1024;

/// Converts the result of a task to the declared outputs.
///
/// Text is the value of a single output, or a JSON object with a value per name if there are several. From a row, each
/// output takes the column of its name, else of its index: Flyte names unnamed outputs `o0`, `o1` and so on. An output
/// that is a JSON object takes the whole result.
///
/// # Errors
///
/// The output that cannot be filled, and the reason.
pub(super) fn to_outputs(
    declared: &DeclaredOutputs,
    result: &TaskResult,
) -> Result<Outputs, String> {
    let literals = match result {
        TaskResult::Text(text) => from_text(declared, text)?,
        TaskResult::Row { columns, object } => declared
            .iter()
            .map(|(name, kind)| {
                if *kind == OutputType::Struct {
                    named_literal(name, *kind, &Value::Object(object.clone()))
                } else {
                    let text = column_value(columns, name, declared.len()).ok_or_else(|| {
                        format!("the SQL result has no value for the output `{name}`")
                    })?;
                    named_literal(name, *kind, &parse(text, *kind))
                }
            })
            .collect::<Result<_, _>>()?,
    };
    let outputs = Outputs { literals, ..Outputs::default() };
    let size = outputs.encoded_len();
    if size > MAX_BYTES {
        return Err(format!(
            "the result has {size} bytes; the limit is {MAX_BYTES}. Write it to storage and return its URL"
        ));
    }
    Ok(outputs)
}

fn from_text(declared: &DeclaredOutputs, text: &str) -> Result<Vec<NamedLiteral>, String> {
    if let (1, Some((name, kind))) = (declared.len(), declared.first_key_value()) {
        return Ok(vec![named_literal(name, *kind, &parse(text, *kind))?]);
    }
    let Ok(Value::Object(values)) = serde_json::from_str::<Value>(text) else {
        return Err(
            "the task declares several outputs, but the result is not a JSON object".to_owned()
        );
    };
    let value = |(name, kind): (&String, &OutputType)| {
        let value = values
            .get(name)
            .ok_or_else(|| format!("the result has no value for the output `{name}`"))?;
        named_literal(name, *kind, value)
    };
    declared.iter().map(value).collect()
}

/// Returns the value of the column of this name, else of the index in the name. Returns `None` for null.
fn column_value<'a>(columns: &'a [Column], name: &str, declared: usize) -> Option<&'a str> {
    let index = || match name.strip_prefix('o').map(str::parse) {
        Some(Ok(index)) => Some(index),
        _ if declared == 1 => Some(0),
        _ => None,
    };
    let column = columns.iter().find(|column| column.name == name);
    column.or_else(|| columns.get(index()?))?.value.as_deref()
}

/// Parses text as JSON of the type; text that does not parse stays a string.
fn parse(text: &str, kind: OutputType) -> Value {
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

fn named_literal(name: &str, kind: OutputType, value: &Value) -> Result<NamedLiteral, String> {
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
    // The message omits the value: it may be large or secret.
    let scalar =
        scalar.ok_or_else(|| format!("the value for the output `{name}` has the wrong type"))?;
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

    fn declared(outputs: &[(&str, OutputType)]) -> DeclaredOutputs {
        outputs.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()
    }

    fn text_result(text: &str) -> TaskResult {
        TaskResult::Text(text.to_owned())
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
        let outputs = to_outputs(&declared(&[("o0", kind)]), &text_result(text)).ok()?;
        match scalars(&outputs).remove(0).1 {
            Some(scalar::Value::Primitive(primitive)) => primitive.value,
            _ => None,
        }
    }

    #[test]
    fn single_output_is_the_text() {
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
                to_outputs(&declared(&[("o0", kind)]), &text_result(text)).is_err(),
                "{kind:?} {text}"
            );
        }
    }

    #[test]
    fn several_outputs_are_fields_of_a_json_object() {
        let wanted = declared(&[("a", OutputType::Integer), ("b", OutputType::Struct)]);
        let outputs =
            to_outputs(&wanted, &text_result(r#"{"a": 1, "b": {"c": true}, "more": 0}"#)).unwrap();
        assert_eq!(
            scalars(&outputs).into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert!(to_outputs(&wanted, &text_result(r#"{"a": 1}"#)).unwrap_err().contains("`b`"));
        assert!(to_outputs(&wanted, &text_result("7")).unwrap_err().contains("JSON object"));
    }

    fn row(columns: &[(&str, Option<&str>)]) -> TaskResult {
        let column = |(name, value): &(&str, Option<&str>)| Column {
            name: (*name).to_owned(),
            value: value.map(str::to_owned),
        };
        let object = serde_json::Map::from_iter([("rows".to_owned(), Value::from(1))]);
        TaskResult::Row { columns: columns.iter().map(column).collect(), object }
    }

    #[test]
    fn outputs_take_the_column_of_their_name_else_of_their_index() {
        let row = row(&[("sum(n)", Some("385")), ("o0", Some("by name")), ("c", None)]);
        let primitives = |wanted: &[(&str, OutputType)]| {
            let outputs = to_outputs(&declared(wanted), &row)?;
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
        assert!(primitives(&[("o1", i)]).unwrap_err().contains("the wrong type"));
    }

    #[test]
    fn json_object_output_takes_the_whole_sql_result() {
        let outputs =
            to_outputs(&declared(&[("o0", OutputType::Struct)]), &row(&[("n", Some("1"))]))
                .unwrap();
        let Some(scalar::Value::Generic(object)) = scalars(&outputs).remove(0).1 else {
            panic!("not an object")
        };
        assert!(object.fields.contains_key("rows"));
    }

    #[test]
    fn oversized_outputs_are_rejected_with_the_limit() {
        let error = to_outputs(
            &declared(&[("o0", OutputType::String)]),
            &text_result(&"x".repeat(MAX_BYTES)),
        )
        .unwrap_err();
        assert!(error.contains("the limit is 3145728"), "{error}");
    }
}
